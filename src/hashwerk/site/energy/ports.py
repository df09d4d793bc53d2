"""What planning and steering need of the fleet: machines as they are now, meters, and somebody who tells machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from hashwerk.dispatch.modes import Mode
from hashwerk.fleet.commands import Command
from hashwerk.fleet.identity import MachineKey
from hashwerk.fleet.limits import Limits
from hashwerk.fleet.machine import Capability
from hashwerk.fleet.measure import MeterReading
from hashwerk.fleet.states import State

#: States in which a machine draws the power of work, or is about to.
ON = (State.HASHING, State.WAKING, State.CHANGING_MODE)
OFF = (State.ASLEEP, State.FALLING_ASLEEP)


class MachineNow(msgspec.Struct, frozen=True, kw_only=True):
    """A machine as dispatch needs to know it. Missing is None."""

    key: MachineKey
    model: str  # make, model and firmware
    state: State
    since: float  # Unix seconds
    capabilities: Capability
    modes: tuple[Mode, ...] = ()  # rising in power; empty: nobody knows what it draws
    mode: str | None = None
    power_w: float | None = None  # what is believed
    hashrate_hs: float | None = None
    idle_w: float = 15.0
    power_limit_w: float | None = None
    group: str | None = None
    feeder: str | None = None
    chip_max_c: float | None = None
    inlet_c: float | None = None
    started_at: float | None = None
    slept_at: float | None = None
    starts: int = 0  # within a day
    wake_s: float = 240.0
    sleep_s: float = 30.0
    mode_s: float = 90.0
    held_by: str | None = None  # by whom, where it is not ours to switch
    is_busy: bool = False  # what we told it last has not been verified yet

    @property
    def is_on(self) -> bool:
        """Whether it works or is about to."""
        return self.state in ON

    @property
    def reason_not_ours(self) -> str | None:
        """Why plans leave it out; None if they do not."""
        if self.held_by is not None:
            return f"held by {self.held_by}"
        if self.state not in ON and self.state not in OFF:
            return f"it is {self.state.value}"
        if not Capability.SLEEP & self.capabilities:
            return "its firmware cannot be told to sleep"
        return None if self.modes else "nobody knows what it draws"


class FleetPort(Protocol):
    """The fleet, as far as energy goes."""

    @property
    def limits(self) -> Limits:
        """What machines bear."""
        ...

    @property
    def may_command(self) -> bool:
        """Whether commands are sent at all."""
        ...

    @property
    def pace(self) -> float:
        """How much faster than real ones machines live, as a factor on times; 1 for real ones."""
        ...

    @property
    def scale(self) -> float:
        """Hash rate of a machine over that of its twin; 1 for real machines."""
        ...

    def machines(self) -> Sequence[MachineNow]:
        """Return all machines as they are known now."""
        ...

    def meter(self, scope: str) -> MeterReading | None:
        """Return what a meter shows: ``site``, ``feeder:F1``, ``source:Dam``; None where there is none or it is silent."""
        ...

    async def tell(
        self, command: Command, machines: Sequence[MachineKey], *, why: str, is_hard: bool
    ) -> None:
        """Tell machines something, as one order of the fleet; it is verified there.

        Args:
            command: What they are told.
            machines: Whom.
            why: For the record.
            is_hard: A grid order or safety: it comes before people's minimum times, starts and staggering.

        Raises:
            FleetError: If a machine is not known.
            StoreError: If the order cannot be recorded: then nothing was sent.
        """
        ...
