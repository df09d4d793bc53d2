"""The demonstration hall is given addresses that are free, before any process is started."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from hashwerk.config.demo import BASES, demo_hall, demo_places, demo_site
from hashwerk.config.site import SiteConfig
from hashwerk.errors import ConfigError
from hashwerk.twin.addresses import Reserved, reserve

PLACES: Final = "demo-places.csv"


def wants_demo(config: SiteConfig) -> bool:
    """Say whether a mine without a site file has a hall: the embedded node's testnet4, and hashing is allowed here."""
    node = config.node
    return node.kind == "kernel" and node.network == "testnet4" and config.miner.enabled


def with_demo(config: SiteConfig, folder: Path) -> tuple[SiteConfig, Reserved]:
    """Return the configuration with a demonstration hall, and what holds its addresses.

    Args:
        config: What the command line said.
        folder: Where the list of the machines' places is written.

    Raises:
        ConfigError: If no addresses are free; the message says what helps.
    """
    reserved = reserve(demo_hall(), BASES)
    places = folder / PLACES
    try:
        places.write_text(demo_places(reserved.settings), encoding="utf-8")
    except OSError as error:
        reserved.close()
        raise ConfigError(f"{places}: cannot be written: {error.strerror}") from error
    return demo_site(config, reserved.settings, str(places)), reserved
