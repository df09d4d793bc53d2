"""The port of the fleet: what it needs of a driver. Adapters (`devices`) implement it, `site` introduces them."""

from __future__ import annotations

from typing import Protocol

import msgspec

from hashwerk.fleet.commands import Command
from hashwerk.fleet.machine import Outcome, Reading


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """Where a machine answers now; it may be elsewhere tomorrow."""

    host: str  # an IP address
    port: int | None = None  # of its first API; None: the make's usual one


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """What a machine's API asks for; None: the maker's default. Never logged, never shown."""

    user: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        """Show nothing."""
        return "Credentials(…)"


class Driver(Protocol):
    """Speaks to the machines of one or more makes. One driver serves all of them at the same time.

    Every call ends within its deadline, whatever the machine does, and one machine's reply costs nobody else anything.
    Calls to one machine are made one after another by the caller: many controllers have a single thread.
    """

    name: str

    async def identify(self, address: Address, *, timeout_s: float) -> Reading | None:
        """Return a first reading if something this driver speaks to answers there, else None. Never raises for a peer."""
        ...

    async def read(
        self, address: Address, *, timeout_s: float, credentials: Credentials | None = None
    ) -> Reading:
        """Return what the machine reports now.

        Raises:
            DeviceError: If it does not answer in time, or with nothing that can be read.
        """
        ...

    async def execute(
        self, address: Address, command: Command, *, timeout_s: float, credentials: Credentials | None = None
    ) -> Outcome:
        """Tell the machine to do something; the outcome is its answer and no more.

        Raises:
            DeviceError: If it cannot be reached at all: then nothing was sent.
        """
        ...
