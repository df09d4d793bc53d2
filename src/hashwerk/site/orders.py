"""What the supervisor tells each process when it starts it."""

from __future__ import annotations

import msgspec

from hashwerk.config.origin import Origins
from hashwerk.config.site import SiteConfig


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a process of the mine needs to know; sent as one line of JSON."""

    config: SiteConfig
    data_dir: str
    link: str  # the local socket on which serve publishes
    handover: str  # the local socket on which serve hands its connections to a successor
    take_over: str | None = None  # serve: the hand-over socket of the predecessor that it replaces
    stratum_url: str | None = None  # mine: where to connect
    stratum_port: int | None = None  # serve: the port it had before, when the configured one is 0
    web_port: int | None = None  # site: likewise
    origins: Origins = Origins()  # of the settings
