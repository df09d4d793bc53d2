"""Every make but Avalon, through the `pyasic_rs` library. (The table of makes follows.)"""

from __future__ import annotations

from hashwerk.errors import DeviceError
from hashwerk.fleet.commands import Command
from hashwerk.fleet.machine import Outcome, Reading
from hashwerk.fleet.ports import Address, Credentials


class AsicRsDriver:
    """Speaks to what `pyasic_rs` knows."""

    name = "asic-rs"

    async def identify(self, address: Address, *, timeout_s: float) -> Reading | None:
        """Return a first reading if a known machine answers there, else None."""
        return None

    async def read(
        self, address: Address, *, timeout_s: float, credentials: Credentials | None = None
    ) -> Reading:
        """Return what the machine reports now."""
        raise DeviceError(f"nothing known answers at {address.host}")

    async def execute(
        self, address: Address, command: Command, *, timeout_s: float, credentials: Credentials | None = None
    ) -> Outcome:
        """Tell the machine to do something."""
        raise DeviceError(f"nothing known answers at {address.host}")
