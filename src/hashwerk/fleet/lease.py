"""One writer a machine at a time: leases with priorities and an end, and an abort that always works."""

from __future__ import annotations

import enum
from collections.abc import Iterable

import msgspec

from hashwerk.fleet.identity import MachineKey


class Holder(enum.IntEnum):
    """Who may command machines; a higher one takes a machine from a lower one."""

    DISPATCHER = 1  # the schedule
    OPERATOR = 2  # a person
    CURTAILMENT = 3  # an order with a promise to the grid behind it
    MAINTENANCE = 4  # somebody's hands are in the machine


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """The right to command one machine until a moment."""

    key: MachineKey
    holder: Holder
    name: str  # of the order or the person
    since: float
    until: float | None  # None: until it is given back
    is_wish: bool = False  # somebody's word on how it is to run: the dispatcher leaves it alone, everybody else may take it


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """A machine that somebody else holds."""

    lease: Lease

    @property
    def text(self) -> str:
        """Return who holds it."""
        return f"held by {self.lease.holder.name.lower()} {self.lease.name}"


class Leases:
    """All leases of a site. Owned by one task; time is an argument."""

    def __init__(self, leases: Iterable[Lease] = ()) -> None:
        self._by_key = {lease.key: lease for lease in leases}

    def of(self, key: MachineKey, now: float) -> Lease | None:
        """Return who holds a machine now."""
        lease = self._by_key.get(key)
        if lease is not None and lease.until is not None and lease.until <= now:
            del self._by_key[key]
            return None
        return lease

    def may_take(self, key: MachineKey, holder: Holder, name: str, now: float) -> Refused | None:
        """Say why a machine cannot be taken; None if it can."""
        lease = self.of(key, now)
        if lease is None or lease.name == name or holder > lease.holder:
            return None
        if lease.is_wish and holder is not Holder.DISPATCHER:
            return None
        return Refused(lease=lease)

    def take(
        self, key: MachineKey, holder: Holder, name: str, now: float, until: float | None
    ) -> Lease | Refused:
        """Take a machine; return the lease, or who holds it. Taking one's own again moves its end."""
        refused = self.may_take(key, holder, name, now)
        if refused is not None:
            return refused
        lease = Lease(key=key, holder=holder, name=name, since=now, until=until)
        self._by_key[key] = lease
        return lease

    def wish(self, key: MachineKey, holder: Holder, name: str, now: float, until: float) -> None:
        """Let a machine be as somebody has just told it, until a moment; only who commands it now may say so."""
        lease = self.of(key, now)
        if lease is not None and lease.name == name:
            self._by_key[key] = Lease(key=key, holder=holder, name=name, since=now, until=until, is_wish=True)

    def give_back(self, key: MachineKey, name: str) -> None:
        """Give a machine back; one that somebody else has taken meanwhile stays theirs."""
        lease = self._by_key.get(key)
        if lease is not None and lease.name == name:
            del self._by_key[key]

    def abort(self, name: str) -> list[MachineKey]:
        """Take back everything of one holder but wishes, whoever asks and whatever its priority; return the machines."""
        mine = [key for key, lease in self._by_key.items() if lease.name == name and not lease.is_wish]
        for key in mine:
            del self._by_key[key]
        return mine

    def all(self, now: float) -> list[Lease]:
        """Return all leases in force."""
        return [lease for key in list(self._by_key) if (lease := self.of(key, now)) is not None]
