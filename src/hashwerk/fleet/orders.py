"""An order and everything that happened to it, as events. The events are what is stored; the rest follows from them.

An order that was under way when the process died is found again by folding its events: what was sent without an answer may
or may not have been taken, and only a measurement will tell. So nothing is sent before the event that says so is on disk.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import assert_never

import msgspec

from hashwerk.fleet.batch import Goal, Plan, Skip, Step
from hashwerk.fleet.commands import Command, PoolTarget, Reboot, SetMode, SetPools, Sleep, Wake
from hashwerk.fleet.identity import MachineKey
from hashwerk.fleet.lease import Holder
from hashwerk.fleet.machine import Outcome, OutcomeKind
from hashwerk.fleet.measure import Effect, Verdict
from hashwerk.fleet.ramp import Ramp


class Reduce(msgspec.Struct, frozen=True, kw_only=True, tag="reduce"):
    """Bring power down."""

    goal: Goal
    partial: bool = True


class Tell(msgspec.Struct, frozen=True, kw_only=True, tag="tell"):
    """Tell each machine the same."""

    command: Command


class OrderSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What is wanted, by whom and why."""

    id: str
    at: float
    who: str
    why: str
    holder: Holder
    task: Reduce | Tell
    group: str | None = None
    keys: tuple[MachineKey, ...] | None = None  # None: all of the group, or all
    dry_run: bool = True
    must: bool = False  # comes before wear, as an order of the grid
    until: float | None = None  # restored by itself then
    ramp: Ramp = Ramp()
    waits: bool = False  # whoever has to run or to sleep out its time is told then, and not left out
    keeps_s: float = 0.0  # so long the dispatcher leaves machines as they were told


# --- events ---


class Opened(msgspec.Struct, frozen=True, kw_only=True, tag="opened"):
    """The order was given."""

    at: float
    spec: OrderSpec


class Planned(msgspec.Struct, frozen=True, kw_only=True, tag="planned"):
    """It was worked out who is told what. A later plan adds machines where measurements fell short."""

    at: float
    steps: tuple[Step, ...]
    skips: tuple[Skip, ...]
    total_w: float
    is_metered: bool
    target_w: float | None
    short_w: float = 0.0


class Sent(msgspec.Struct, frozen=True, kw_only=True, tag="sent"):
    """A machine is being told. Written before anything goes out."""

    at: float
    key: MachineKey
    command: Command
    attempt: int
    is_restore: bool = False


class Answered(msgspec.Struct, frozen=True, kw_only=True, tag="answered"):
    """What the machine said to it."""

    at: float
    key: MachineKey
    outcome: Outcome


class Verified(msgspec.Struct, frozen=True, kw_only=True, tag="verified"):
    """What measurements showed afterwards; ``told`` is false where it was so already and nothing had to be sent."""

    at: float
    key: MachineKey
    effect: Effect
    told: bool = True
    awaits_power: bool = False  # what it draws now is still to be seen: `hashwerk.fleet.effects`


class Missed(msgspec.Struct, frozen=True, kw_only=True, tag="missed"):
    """It could not be told, or nothing shows that it did as told in time; it is told again after a while."""

    at: float
    key: MachineKey
    attempt: int
    reason: str
    unsent: Command | None = None  # what it was to be told, where nothing was sent


class Deferred(msgspec.Struct, frozen=True, kw_only=True, tag="deferred"):
    """A machine is told later, because it has to run or to sleep out its time first."""

    at: float
    key: MachineKey
    until: float
    reason: str


class GaveUp(msgspec.Struct, frozen=True, kw_only=True, tag="gave-up"):
    """A machine is left as it is, and why."""

    at: float
    key: MachineKey
    reason: str


class Drifted(msgspec.Struct, frozen=True, kw_only=True, tag="drifted"):
    """A machine no longer does what it was told and had done."""

    at: float
    key: MachineKey
    text: str


class Stopped(msgspec.Struct, frozen=True, kw_only=True, tag="stopped"):
    """Nothing more is sent, because measurements disagree with what machines say."""

    at: float
    reason: str


class Continued(msgspec.Struct, frozen=True, kw_only=True, tag="continued"):
    """Somebody looked and lets it go on."""

    at: float
    who: str


class Reached(msgspec.Struct, frozen=True, kw_only=True, tag="reached"):
    """Every machine of the plan was dealt with; from here on it is held."""

    at: float
    measured_w: float | None
    text: str


class RestoreAsked(msgspec.Struct, frozen=True, kw_only=True, tag="restore"):
    """Everything is to be put back, in the reverse order."""

    at: float
    who: str
    why: str


class Ended(msgspec.Struct, frozen=True, kw_only=True, tag="ended"):
    """The order is done with."""

    at: float
    text: str
    measured_w: float | None = None


class Aborted(msgspec.Struct, frozen=True, kw_only=True, tag="aborted"):
    """Somebody ended it at once; machines stay as they are."""

    at: float
    who: str
    why: str


OrderEvent = (
    Opened
    | Planned
    | Sent
    | Answered
    | Verified
    | Missed
    | Deferred
    | GaveUp
    | Drifted
    | Stopped
    | Continued
    | Reached
    | RestoreAsked
    | Ended
    | Aborted
)

# --- what follows from them ---


class OrderState(enum.Enum):
    """Where an order is."""

    NEW = "new"
    REDUCING = "under way"
    STOPPED = "stopped"
    HOLDING = "held"
    RESTORING = "restoring"
    ENDED = "ended"
    ABORTED = "aborted"


class Phase(enum.Enum):
    """Where one machine of an order is."""

    WAITING = "waiting"
    SENT = "sent"  # no answer yet, or none that tells
    ACCEPTED = "accepted"
    RETRY = "to be told again"
    DONE = "done"
    GAVE_UP = "given up"


@dataclass(slots=True)
class Progress:
    """One machine's part of an order."""

    step: Step
    phase: Phase = Phase.WAITING
    attempts: int = 0
    sent_at: float | None = None
    done_at: float | None = None
    outcome: Outcome | None = None
    effect: Effect | None = None
    reason: str | None = None
    not_before: float | None = None  # it has to run or to sleep out its time
    drifts: int = 0
    told_at: float | None = None  # when it was last told anything by this order, on the way down
    is_restore: bool = False
    was_reduced: bool = False  # it was told something, so it has to be put back

    @property
    def command(self) -> Command:
        """What it is told: the step's command, or on the way back its opposite."""
        return restoring(self.step) if self.is_restore else self.step.command

    @property
    def awaits_restart(self) -> bool:
        """Whether the machine took what it was told, and does so once it has started again."""
        return self.outcome is not None and self.outcome.awaits_restart


@dataclass(slots=True)
class Order:
    """An order as its events have left it."""

    spec: OrderSpec
    state: OrderState = OrderState.NEW
    machines: dict[MachineKey, Progress] = field(default_factory=dict)
    skips: dict[MachineKey, str] = field(default_factory=dict)
    baseline_w: float | None = None  # of the site's meter, before
    is_metered: bool = False
    target_w: float | None = None
    short_w: float = 0.0
    plans: int = 0
    begun_at: float = 0.0  # of the present way, down or back
    reached_at: float | None = None
    text: str = ""
    measured_w: float | None = None
    ended_at: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether it still has something to do or to hold."""
        return self.state not in (OrderState.ENDED, OrderState.ABORTED)

    def apply(self, event: OrderEvent) -> None:
        """Take in what happened."""
        match event:
            case Opened():
                self.begun_at = event.at
            case Planned():
                self._plan(event)
            case Sent():
                progress = self.machines[event.key]
                progress.phase, progress.sent_at = Phase.SENT, event.at
                progress.attempts, progress.outcome, progress.effect = event.attempt, None, None
                progress.done_at = progress.reason = progress.not_before = None
                progress.was_reduced = progress.was_reduced or not event.is_restore
            case Answered():
                self._answer(self.machines[event.key], event.outcome)
            case Verified():
                progress = self.machines[event.key]
                progress.effect = event.effect
                contradicted = event.effect.verdict is Verdict.CONTRADICTED
                progress.phase = Phase.RETRY if contradicted else Phase.DONE
                progress.reason = event.effect.text if contradicted else None
                progress.done_at = None if contradicted else progress.done_at or event.at
            case Missed():
                progress = self.machines[event.key]
                progress.phase, progress.reason = Phase.RETRY, event.reason
                progress.attempts, progress.sent_at = event.attempt, event.at
            case Deferred():
                self.machines[event.key].reason = event.reason
                self.machines[event.key].not_before = event.until
            case GaveUp():
                self.machines[event.key].phase = Phase.GAVE_UP
                self.machines[event.key].reason = event.reason
            case Drifted():
                progress = self.machines[event.key]
                progress.phase, progress.reason = Phase.RETRY, event.text
                progress.drifts += 1
                progress.attempts = 0
            case Stopped():
                self.state, self.text = OrderState.STOPPED, event.reason
            case Continued():
                self.state, self.text = OrderState.REDUCING, f"{event.who} lets it go on"
            case Reached():
                self.state, self.text = OrderState.HOLDING, event.text
                self.measured_w, self.reached_at = event.measured_w, event.at
            case RestoreAsked():
                self._turn(event.at)
                self.measured_w = None  # it was of the way down
                self.text = f"{event.who}: {event.why}"
            case Ended():
                self.state, self.text, self.ended_at = OrderState.ENDED, event.text, event.at
                self.measured_w = event.measured_w
            case Aborted():
                self.state, self.ended_at = OrderState.ABORTED, event.at
                self.text = f"aborted by {event.who}: {event.why}"
            case _:
                assert_never(event)

    def _plan(self, event: Planned) -> None:
        if not self.plans:
            self.baseline_w, self.is_metered = event.total_w, event.is_metered
            self.target_w = event.target_w
        self.plans += 1
        self.state = OrderState.REDUCING
        self.begun_at = event.at
        self.short_w = event.short_w
        for step in event.steps:
            self.machines[step.key] = Progress(step=step)
        taken = {step.key for step in event.steps}
        self.skips = {skip.key: skip.reason for skip in event.skips if skip.key not in taken}

    @staticmethod
    def _answer(progress: Progress, outcome: Outcome) -> None:
        progress.outcome = outcome
        match outcome.kind:
            case OutcomeKind.ACCEPTED:
                progress.phase = Phase.ACCEPTED
            case OutcomeKind.UNANSWERED:
                progress.phase = Phase.SENT
            case OutcomeKind.REFUSED:
                progress.phase, progress.reason = Phase.RETRY, f"it refused: {outcome.message or 'no reason'}"
            case OutcomeKind.UNSUPPORTED:
                progress.phase, progress.reason = Phase.GAVE_UP, outcome.message or "its firmware cannot"
            case _:
                assert_never(outcome.kind)

    def _turn(self, at: float) -> None:
        """Go back the way: whoever was told something is told the opposite, the last one first."""
        self.state, self.begun_at = OrderState.RESTORING, at
        back = {
            key: Progress(step=progress.step, is_restore=True, told_at=progress.sent_at)
            for key, progress in reversed(self.machines.items())
            if progress.was_reduced and isinstance(progress.step.command, Sleep | SetMode)
        }
        self.machines, self.skips = back, {}

    def counts(self) -> dict[str, int]:
        """Return how many machines are in each phase."""
        found: dict[str, int] = {}
        for progress in self.machines.values():
            found[progress.phase.value] = found.get(progress.phase.value, 0) + 1
        return found


def fold(events: Iterable[OrderEvent]) -> Order:
    """Return the order that its events, from the first on, have led to.

    Raises:
        ValueError: If they do not begin with the order itself.
    """
    iterator = iter(events)
    first = next(iterator, None)
    if not isinstance(first, Opened):
        raise ValueError("an order's events begin with the order")
    order = Order(spec=first.spec)
    order.apply(first)
    for event in iterator:
        order.apply(event)
    return order


def planned(plan: Plan, at: float, target_w: float | None) -> Planned:
    """Return the event that a plan is."""
    from hashwerk.fleet.measure import Basis

    return Planned(
        at=at,
        steps=plan.steps,
        skips=plan.skips,
        total_w=plan.total_w,
        is_metered=plan.total_basis is Basis.METER,
        target_w=target_w,
        short_w=plan.short_w,
    )


def restoring(step: Step) -> Command:
    """Return what puts a machine back to where it was before a step."""
    if isinstance(step.command, SetMode):
        return SetMode(step.mode_before) if step.mode_before else Wake()
    return Wake(step.mode_before)


def without_secrets(command: Command) -> Command:
    """Return a command as it may be stored and shown: with pools, but without their passwords."""
    if not isinstance(command, SetPools):
        return command
    return SetPools(
        tuple(
            PoolTarget(
                url=pool.url.rpartition("@")[2] if "@" in pool.url else pool.url,
                user=pool.user,
                password="x" if pool.password == "x" else "",  # noqa: S105 - "x" is what pools that ask for none get
            )
            for pool in command.pools
        )
    )


def lacks_secrets(command: Command) -> bool:
    """Say whether a command came back from the store without the passwords it needs."""
    return isinstance(command, SetPools) and any(not pool.password for pool in command.pools)


def is_repeatable(command: Command) -> bool:
    """Say whether telling a machine twice does no more than telling it once."""
    return not isinstance(command, Reboot)
