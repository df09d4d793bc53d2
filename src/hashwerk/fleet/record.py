"""What outlives the process: a machine as it is kept, and the record of every command."""

from __future__ import annotations

import msgspec

from hashwerk.fleet.commands import Command
from hashwerk.fleet.identity import MachineKey
from hashwerk.fleet.learning import LearnedMode
from hashwerk.fleet.limits import Wear
from hashwerk.fleet.machine import Identity
from hashwerk.fleet.place import Place
from hashwerk.fleet.ports import Address
from hashwerk.fleet.registry import Finding, Member
from hashwerk.fleet.states import State


class MachineRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A machine as it is kept between two runs."""

    key: MachineKey
    identity: Identity
    address: Address | None
    first_seen_at: float
    seen_at: float | None
    driver: str | None
    place: Place = Place()
    owner: str | None = None
    group: str | None = None
    chips_by_slot: dict[int, int] = {}
    commanded: Command | None = None
    commanded_at: float | None = None
    started_at: float | None = None
    slept_at: float | None = None
    starts: tuple[float, ...] = ()
    worker: str | None = None  # the name under which it mines: asleep, many do not say
    idle_w: float | None = None  # what it was seen to draw asleep, by a meter of its own
    learned: tuple[LearnedMode, ...] = ()
    findings: tuple[Finding, ...] = ()  # what was odd about who it is, the newest last

    def member(self) -> Member:
        """Return the registry's entry."""
        return Member(
            key=self.key,
            identity=self.identity,
            address=self.address,
            first_seen_at=self.first_seen_at,
            seen_at=self.seen_at,
            driver=self.driver,
            place=self.place,
            owner=self.owner,
            group=self.group,
            chips_by_slot=dict(self.chips_by_slot),
        )

    def wear(self) -> Wear:
        """Return when it started and slept."""
        wear = Wear(started_at=self.started_at, slept_at=self.slept_at)
        wear.starts.extend(self.starts)
        return wear


class CommandRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One command: who, what, why, what the machine said, and what was measured. Without passwords."""

    id: int
    at: float
    order_id: str
    key: MachineKey
    who: str
    why: str
    holder: str
    command: str  # in words
    attempt: int
    outcome: str | None = (
        None  # what the machine said: accepted, refused, …; None: no answer yet; done: no machine was asked
    )
    message: str | None = None  # its own words
    verdict: str | None = None  # what measurements said: confirmed, claimed, contradicted; None: not yet
    effect: str | None = None  # in words
    before_w: float | None = None
    after_w: float | None = None  # once its power has settled; None: nobody has seen it
    settled_at: float | None = None  # when the last word on it was said
    basis: str | None = None  # who saw ``after_w``: meter, or reported (the machine itself)


class Deed(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody did to the fleet, its orders or its alerts without telling a machine anything; on record like a command."""

    at: float
    subject: str  # a machine's key, "order o-…", "alert a-…", "alerts"
    who: str
    why: str
    what: str  # in words
    effect: str | None = None  # what came of it, in words
    order_id: str = ""  # to which it belongs, if to any
    holder: str = "operator"


class Unsettled(msgspec.Struct, frozen=True):
    """A command on record without a last word."""

    order_id: str
    key: MachineKey
    at: float


class CommandQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which commands are asked for; what is None is no condition."""

    keys: tuple[MachineKey, ...] | None = None
    order_id: str | None = None
    who: str | None = None  # part of who gave it, or why
    command: str | None = None  # how it begins, in words
    result: str | None = None  # confirmed, claimed, contradicted, open, unmeasured, refused
    since: float | None = None
    until: float | None = None


class TransitionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One change of a machine's state, and its cause."""

    id: int
    at: float
    key: MachineKey
    was: State
    now: State
    cause: str


class HistoryPoint(msgspec.Struct, frozen=True, kw_only=True):
    """What was known of a machine at one moment; kept every ten minutes for a day. Missing is None."""

    at: float
    reported_w: float | None = None
    power_w: float | None = None  # what is believed
    metered_w: float | None = None
    inlet_c: float | None = None
    chip_c: float | None = None
    measured_hs: float | None = None
