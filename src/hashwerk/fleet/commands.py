"""What machines can be told. A command says what is wanted, each driver says it in its machine's dialect."""

from __future__ import annotations

import msgspec

from hashwerk.fleet.machine import Capability


class Sleep(msgspec.Struct, frozen=True, tag=True):
    """Stop hashing; stay reachable."""


class Wake(msgspec.Struct, frozen=True, tag=True):
    """Hash again, in ``mode`` if given, else in the one before."""

    mode: str | None = None


class SetMode(msgspec.Struct, frozen=True, tag=True):
    """Switch to one of the modes that the machine's reading lists."""

    mode: str


class SetPowerLimit(msgspec.Struct, frozen=True, tag=True):
    """Draw no more than so much at the wall."""

    power_limit_w: int


class Reboot(msgspec.Struct, frozen=True, tag=True):
    """Start again."""


class Locate(msgspec.Struct, frozen=True, tag=True):
    """Turn the light by which a machine is found in the hall on or off."""

    on: bool


class PoolTarget(msgspec.Struct, frozen=True, kw_only=True):
    """A pool to be written into a machine."""

    url: str
    user: str
    password: str = "x"  # noqa: S105 - what pools that ask for none are given

    def __repr__(self) -> str:
        """Leave the password out."""
        return f"PoolTarget({self.url!r}, {self.user!r})"


class SetPools(msgspec.Struct, frozen=True, tag=True):
    """Write the pools in this order: first, standby, last resort."""

    pools: tuple[PoolTarget, ...]


class SetFan(msgspec.Struct, frozen=True, tag=True):
    """Run fans at a share of their full speed, 0 to 100; None gives control back to the firmware."""

    percent: int | None


Command = Sleep | Wake | SetMode | SetPowerLimit | Reboot | Locate | SetPools | SetFan

NEEDS: dict[type, Capability] = {
    Sleep: Capability.SLEEP,
    Wake: Capability.SLEEP,
    SetMode: Capability.MODE,
    SetPowerLimit: Capability.POWER_LIMIT,
    Reboot: Capability.REBOOT,
    Locate: Capability.LOCATE,
    SetPools: Capability.POOLS,
    SetFan: Capability.FAN,
}
"""The capability that each command needs."""
