"""What a hall of virtual machines is made of. The site's configuration is composed of these."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from hashwerk.errors import ConfigError
from hashwerk.twin.catalogue import find_model

#: 200 Avalon Q at this scale take less than a fifth of a core (benches/twin.py).
DEFAULT_SCALE: Final = 1e10
_LOOPBACK: Final = ipaddress.IPv4Network("127.0.0.0/8")


class HallSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A simulated hall: virtual machines on loopback addresses of their own, hashing at a stated scale."""

    machines: Annotated[int, Meta(ge=1, le=20_000, description="How many virtual machines.")] = 24
    models: Annotated[
        tuple[str, ...], Meta(description="Their models, taken in turn; `hashwerk twin --help` lists them.")
    ] = ("avalon-q",)
    base: Annotated[
        str, Meta(description="Address of the first one, in 127.0.0.0/8; the others follow it.")
    ] = "127.1.0.1"
    port: Annotated[
        int,
        Meta(ge=0, le=65_535, description="Port of their miner API; real ones use 4028; 0: any free one."),
    ] = 4028
    http_port: Annotated[
        int,
        Meta(ge=0, le=65_535, description="Port of their web servers; real ones use 80; 0: any free one."),
    ] = 80
    control_port: Annotated[
        Annotated[int, Meta(ge=0, le=65_535)] | None,
        Meta(
            description="Loopback port to inject faults and read the truth; 0: any free one; none: no control."
        ),
    ] = None
    meter_port: Annotated[
        Annotated[int, Meta(ge=1, le=65_500)] | None,
        Meta(
            description="Port of its simulated Modbus meter at the base address; feeders' meters follow it; none: no meter."
        ),
    ] = None
    pool: Annotated[
        str | None, Meta(description="Stratum server they hash for; none: they only draw power.")
    ] = None
    user: Annotated[str, Meta(min_length=1, description="Account they hash for.")] = "twin"
    scale: Annotated[
        float, Meta(ge=1e3, description="Hash rate of a real machine over that of its twin.")
    ] = DEFAULT_SCALE
    share_interval_s: Annotated[
        float, Meta(gt=0, description="Seconds between shares that a machine asks its server for.")
    ] = 10.0
    threads: Annotated[int, Meta(ge=1, le=256, description="Hashing threads, shared by all machines.")] = 1
    haste: Annotated[
        float,
        Meta(
            gt=0,
            description="How much faster than real ones they start, sleep and heat up; 1 is true to life.",
        ),
    ] = 1.0
    started: Annotated[
        bool, Meta(description="Whether they hash from the beginning or have to boot first.")
    ] = True
    ambient_c: Annotated[float, Meta(ge=-40, le=60, description="Mean air temperature of the hall.")] = 25.0
    ambient_swing_c: Annotated[
        float, Meta(ge=0, le=30, description="Warmest hour over the mean; warmest at 15 h UTC.")
    ] = 0.0
    per_breaker: Annotated[int, Meta(ge=1, description="Machines on a breaker.")] = 12
    breakers_per_feeder: Annotated[int, Meta(ge=1, description="Breakers on a feeder.")] = 8
    seed: Annotated[int, Meta(ge=0, description="Where the machines' small differences come from.")] = 1

    def __post_init__(self) -> None:
        """Check what types cannot say.

        Raises:
            ConfigError: If a model is unknown or an address is not a loopback one.
        """
        if not self.models:
            raise ConfigError("a hall needs at least one model")
        for key in self.models:
            find_model(key)
        self.address(self.machines - 1)

    def address(self, index: int) -> str:
        """Return the address of machine ``index``; last bytes 0 and 255 are left out, as in real networks.

        Raises:
            ConfigError: If it lies outside 127.0.0.0/8.
        """
        try:
            base = ipaddress.IPv4Address(self.base)
        except ValueError as error:
            raise ConfigError(f"not an address: {self.base!r}") from error
        number = int(base) >> 8, (int(base) & 0xFF) - 1 + index
        if base not in _LOOPBACK or not 1 <= int(base) & 0xFF <= 254:
            raise ConfigError(f"the twin keeps to 127.0.0.0/8, from .1 to .254: {self.base}")
        row, place = divmod(number[1], 254)
        found = ipaddress.IPv4Address((number[0] + row) << 8 | (place + 1))
        if found not in _LOOPBACK:
            raise ConfigError(f"{index + 1} machines from {self.base} do not fit into 127.0.0.0/8")
        return str(found)
