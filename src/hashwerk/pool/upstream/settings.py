"""What the operator says of an upstream pool."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from hashwerk.client.settings import ServerUrl
from hashwerk.errors import ConfigError


class UpstreamSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One pool that machines may work for. Times in seconds."""

    name: Annotated[
        str, Meta(min_length=1, max_length=40, description="What pages and the record call this pool.")
    ]
    url: Annotated[
        str, Meta(description="Where it listens: stratum+tcp://HOST:PORT or stratum+ssl://HOST:PORT.")
    ]
    user: Annotated[
        str,
        Meta(
            min_length=1, max_length=128, description="The user at the pool, often an account or an address."
        ),
    ]
    password: Annotated[str, Meta(description="Most pools ask for none. Never logged or shown.")] = "x"  # noqa: S105 - what is sent where none is asked for
    priority: Annotated[
        int,
        Meta(ge=1, le=100, description="Lower first; pools of equal priority split the hash rate by share."),
    ] = 1
    share: Annotated[float, Meta(gt=0, description="Weight of this pool among those of equal priority.")] = (
        1.0
    )
    accounts: Annotated[
        tuple[str, ...], Meta(description="The accounts whose machines work for it; empty: all.")
    ] = ()
    connections: Annotated[
        int,
        Meta(
            ge=1,
            le=1_000,
            description="Connections that the machines are spread over; more are made if needed.",
        ),
    ] = 1
    worker_names: Annotated[
        bool, Meta(description="Hand each share in under USER.MACHINE, so that the pool shows every machine.")
    ] = True
    suggest_difficulty: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="The share difficulty we ask the pool for; none: what it chooses."),
    ] = None
    version_rolling: Annotated[
        bool, Meta(description="Ask for version bits (BIP-0310); without, machines roll none.")
    ] = True
    tls_verify: Annotated[
        bool, Meta(description="Refuse a certificate that is not trusted or not the host's.")
    ] = True
    tls_ca_file: Annotated[str | None, Meta(description="Certificates to trust instead of the system's.")] = (
        None
    )
    connect_timeout_s: Annotated[
        float, Meta(gt=0, description="From the first packet to the first job; then the attempt has failed.")
    ] = 10.0
    silence_timeout_s: Annotated[
        float,
        Meta(
            gt=0,
            description="No job for so long on a live connection: the pool has failed. Shorter once its rhythm is known.",
        ),
    ] = 120.0
    reply_timeout_s: Annotated[
        float, Meta(gt=0, description="A share unanswered for so long: the pool has failed.")
    ] = 10.0
    stale_timeout_s: Annotated[
        float, Meta(gt=0, description="So long on a block that others have left: the pool has failed.")
    ] = 15.0
    retry_min_s: Annotated[float, Meta(gt=0, description="The shortest rest before another attempt.")] = 1.0
    retry_max_s: Annotated[float, Meta(gt=0, description="The longest rest before another attempt.")] = 60.0
    return_after_s: Annotated[
        float,
        Meta(
            ge=0,
            description="A pool that failed must be faultless for so long before it is used again; doubles with"
            " each failure within an hour.",
        ),
    ] = 60.0

    def __post_init__(self) -> None:
        """Refuse an address that is none.

        Raises:
            ValueError: With what is wrong with it.
        """
        try:
            ServerUrl.parse(self.url)
        except ConfigError as error:
            raise ValueError(str(error)) from None

    @property
    def server(self) -> ServerUrl:
        """The address, read."""
        return ServerUrl.parse(self.url)

    def serves(self, account: str) -> bool:
        """Return whether this account's machines may work for it."""
        return not self.accounts or account in self.accounts

    def __repr__(self) -> str:
        """Leave the password out."""
        return f"UpstreamSettings({self.name!r}, {self.url!r}, {self.user!r})"
