"""Everything that is known of every machine right now, in one place. It touches no socket and no file.

Watcher and commander write to it; pages, alarms and orders read it. It is what an order sees (`hashwerk.fleet.conduct.View`).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from hashwerk.clock import Clock
from hashwerk.fleet.batch import Candidate
from hashwerk.fleet.causes import Subject, commanded_state
from hashwerk.fleet.commands import Command, Reboot, SetMode, Sleep, Wake
from hashwerk.fleet.conduct import Conduct
from hashwerk.fleet.identity import MachineKey
from hashwerk.fleet.learning import LearnedMode, SteadyWatch
from hashwerk.fleet.lease import Leases
from hashwerk.fleet.limits import DAY_S, Limits, Wear, ready_at, why_not
from hashwerk.fleet.machine import Capability, Reading, WorkState
from hashwerk.fleet.measure import Basis, Believed, Measured, MeterReading, believe_power
from hashwerk.fleet.modes import ModePoint, best_points, published_points
from hashwerk.fleet.orders import OrderSpec, Reduce
from hashwerk.fleet.place import Place
from hashwerk.fleet.ports import Address
from hashwerk.fleet.record import HistoryPoint, MachineRecord
from hashwerk.fleet.registry import CHANGED, Finding, Member, Registry
from hashwerk.fleet.settings import FleetSettings
from hashwerk.fleet.states import Condition, State, Transition, Trigger
from hashwerk.fleet.timing import Change, Timings, prior_s
from hashwerk.fleet.verify import CHANGES, Look
from hashwerk.site.fleet.meters import MeterBook
from hashwerk.site.fleet.shares import WINDOW_S, ShareMeter
from hashwerk.work.poisson import Rate

#: A difficulty-1 share is so much work; hardware errors are counted in these.
_ERROR_WORK: Final = 2.0**32
#: So many of its last answers are looked at to tell a machine that talks nonsense,
_ANSWERS: Final = 8
#: and so many of them make one.
_TOO_MANY: Final = 3
#: So many findings of who a machine is are kept of each,
_FINDINGS: Final = 8
#: and when the same is found again, it is stored anew so often.
_SAID_AGAIN_S: Final = 3_600.0
#: What a machine hashes is compared with its shares only when it has warmed up.
_RAMP_S: Final = 300.0
_TRIGGER_OF: Final[dict[type, Trigger]] = {
    Sleep: Trigger.TOLD_SLEEP,
    Wake: Trigger.TOLD_WAKE,
    SetMode: Trigger.TOLD_MODE,
    Reboot: Trigger.TOLD_REBOOT,
}


@dataclass(slots=True)
class Unit:
    """One machine as it is known now. Owned by the fleet's loop."""

    member: Member
    condition: Condition = field(default_factory=Condition)
    wear: Wear = field(default_factory=Wear)
    reading: Reading | None = None
    read_at: float | None = None  # when it last answered
    tried_at: float | None = None
    failure: str | None = None  # why the last try came to nothing
    is_unreadable: bool = False  # it answers, but with nothing that can be read
    spoilt: deque[bool] = field(default_factory=lambda: deque(maxlen=_ANSWERS))  # of its last answers
    worker: str | None = None  # the name under which it mines; None if it never said
    measured: Measured | None = None
    commanded: Command | None = None
    commanded_at: float | None = None
    learned: dict[str | None, LearnedMode] = field(default_factory=dict)
    watch: SteadyWatch = field(default_factory=SteadyWatch)
    idle_w: float | None = None
    points: tuple[ModePoint, ...] = ()
    error_share: float | None = None
    findings: deque[Finding] = field(default_factory=lambda: deque(maxlen=_FINDINGS))
    changed: bool = False  # since it was stored

    @property
    def key(self) -> MachineKey:
        """By what it is known."""
        return self.member.key

    @property
    def is_displaced(self) -> bool:
        """Whether another machine answers where it did, and nobody knows where it is."""
        return self.member.address is None

    @property
    def heard(self) -> Reading | None:
        """What it says of itself; None once it does not answer: what it said before is not what it says now."""
        return None if self.condition.state is State.UNREACHABLE else self.reading

    def note_finding(self, finding: Finding) -> None:
        """Take in something odd about who it is; what is said again and again is kept once."""
        same = next((one for one in self.findings if one.text == finding.text), None)
        if same is not None:
            self.findings.remove(same)
        self.findings.append(finding)
        self.changed = self.changed or same is None or finding.at - same.at > _SAID_AGAIN_S

    def note_worker(self, reading: Reading) -> None:
        """Take in the name under which it mines; asleep, many name no pool, and it keeps the one it had."""
        pools = reading.pools
        active = next((slot for slot in pools if slot.active), None)
        if active is None and pools and all(slot.active is None for slot in pools):
            active = pools[0]
        if active is not None and active.user and active.user != self.worker:
            self.worker, self.changed = active.user, True

    def believed(self) -> Believed:
        """Return its power now, and what that rests on. What does not answer has unknown power."""
        if self.condition.state is State.UNREACHABLE and (
            self.measured is None or self.measured.power_w is None
        ):
            return Believed(power_w=None, basis=Basis.NOTHING)
        return believe_power(self.reading, self.measured, self.points, idle_w=self.idle_w)


class Roster:
    """All machines of a site. Owned by the fleet's loop."""

    def __init__(
        self, settings: FleetSettings, clock: Clock, shares: ShareMeter, meters: MeterBook, timings: Timings
    ) -> None:
        limits = settings.limits
        self.settings = settings
        self.clock = clock
        self.shares = shares
        self.meters = meters
        self.timings = timings
        self.leases = Leases()
        self.registry = Registry()
        self.units: dict[MachineKey, Unit] = {}
        self.begun_at = clock.time()
        self.transitions: list[tuple[MachineKey, Transition]] = []  # not stored yet
        self.limits = Limits(
            min_on_s=limits.min_on_s,
            min_off_s=limits.min_off_s,
            starts_a_day=limits.starts_a_day,
            attempts=limits.attempts,
            first_retry_s=limits.first_retry_s,
        )
        self.conduct = Conduct(
            limits=self.limits,
            verify_s=limits.verify_s,
            settle_s=limits.settle_s,
            drift_after_s=min(5.0, settings.poll_s),
            at_once_s=max(5.0, 3 * settings.poll_s),
            flight_s=max(0.5, 2.0 * min(1.0, settings.pace)),
        )

    @property
    def patience_s(self) -> float:
        """How long a new process needs to hear of every machine, or to know that it is silent."""
        settings = self.settings
        return settings.silences * (1.1 * settings.poll_s + 2 * settings.timeout_s) + settings.poll_s

    # --- in ---

    def restore(self, records: Iterable[MachineRecord]) -> None:
        """Take up machines as they were kept."""
        for record in records:
            member = record.member()
            self.registry.adopt(member)
            unit = Unit(
                member=member,
                wear=record.wear(),
                commanded=record.commanded,
                commanded_at=record.commanded_at,
                idle_w=record.idle_w,
                worker=record.worker,
                learned={mode.mode: mode for mode in record.learned},
                findings=deque(record.findings, maxlen=_FINDINGS),
            )
            self._set_points(unit)
            self.units[record.key] = unit

    def heard(self, address: Address, reading: Reading, driver: str | None) -> tuple[Unit | None, bool]:
        """Take in a reading; return the machine that it is of, and whether that is new.

        None: what answers there has no name, and is not taken into the fleet.
        """
        now = self.clock.time()
        sighting = self.registry.observe(address, reading, now, driver)
        if sighting.key is None:
            return None, False
        unit = self.units.get(sighting.key)
        is_new = unit is None
        if unit is None:
            unit = self.units[sighting.key] = Unit(member=self.registry[sighting.key])
        for finding in sighting.findings:
            unit.note_finding(finding)
        self._take(unit, reading, now)
        return unit, is_new

    def _take(self, unit: Unit, reading: Reading, now: float) -> None:
        before = unit.reading
        unit.reading, unit.read_at, unit.tried_at = reading, now, now
        unit.failure, unit.is_unreadable = None, False
        unit.spoilt.append(False)
        unit.note_worker(reading)
        if not unit.points or before is None or before.identity != reading.identity:
            self._set_points(unit)
        deadline_s = self.timings.deadline_s(reading.identity, Change.WAKE)
        self._note(unit, unit.condition.see(reading.state, reading.mode, now, deadline_s))
        unit.error_share = _error_share(before, reading)
        self._learn(unit, reading, now)

    def missed(self, unit: Unit, reason: str, *, is_unreadable: bool) -> None:
        """Take in that a machine did not answer, or with nothing that can be read."""
        now = self.clock.time()
        unit.tried_at, unit.failure, unit.is_unreadable = now, reason, is_unreadable
        if is_unreadable:
            unit.spoilt.append(True)
        self._note(unit, unit.condition.miss(now, self.settings.silences))

    def forget(self, key: MachineKey) -> None:
        """Let go of a machine that was sold or scrapped."""
        self.registry.forget(key)
        del self.units[key]

    def wanted(self, unit: Unit, command: Command, at: float | None = None) -> None:
        """Take in how somebody wants a machine to be, from ``at`` or from now on."""
        if (lasting := commanded_state(command)) is not None:
            unit.commanded, unit.commanded_at = lasting, self.clock.time() if at is None else at
            unit.changed = True

    def told(self, unit: Unit, command: Command) -> None:
        """Take in that a machine was told something and may have taken it."""
        now = self.clock.time()
        self.wanted(unit, command)
        trigger = _TRIGGER_OF.get(type(command))
        if trigger is not None:
            change = CHANGES[type(command)]
            mode = command.mode if isinstance(command, SetMode) else None
            deadline_s = self.deadline_s(unit.key, change)
            self._note(unit, unit.condition.tell(trigger, now, deadline_s, mode))

    def measure(self) -> None:
        """Renew what shares and meters say of every machine; once a poll is enough."""
        now, pace = self.clock.time(), self.settings.pace
        names = self._names()
        begins = {key: self._window_start(unit, now) for key, unit in self.units.items()}
        rates = self.shares.rates({name: (begins[key], now) for name, key in names.items()})
        by_key = {key: rates[name] for name, key in names.items() if name in rates}
        for key, unit in self.units.items():
            rate, meter = by_key.get(key), self.meters.get(f"machine:{key}")
            unit.measured = Measured(
                at=now,
                hashrate=rate,
                window_s=None if rate is None else now - begins[key],
                power_w=None if meter is None else meter.power_w,
                power_at=None if meter is None else meter.at,
                is_settled=now - unit.condition.since >= 2 * _RAMP_S * pace,
            )

    def _window_start(self, unit: Unit, now: float) -> float:
        """Return since when a machine's shares are counted: since it runs as it does now, once that is long enough without
        its first minutes."""
        ramp_s, since = _RAMP_S * self.settings.pace, unit.condition.since
        return max(now - WINDOW_S, since + ramp_s if now - since >= 2 * ramp_s else since)

    def _names(self) -> dict[str, MachineKey]:
        """Return the machine of each worker name; a name that two machines use says nothing of either."""
        counts = self._name_counts()
        return {
            unit.worker: key
            for key, unit in self.units.items()
            if unit.worker is not None and counts[unit.worker] == 1 and not unit.is_displaced
        }

    def shared_names(self) -> set[str]:
        """Return the worker names that more than one machine uses."""
        return {name for name, count in self._name_counts().items() if name is not None and count > 1}

    def _name_counts(self) -> Counter[str | None]:
        return Counter(unit.worker for unit in self.units.values() if not unit.is_displaced)

    # --- what an order sees ---

    def look(self, key: MachineKey) -> Look | None:
        """Return a machine as it is known now."""
        unit = self.units.get(key)
        if unit is None:
            return None
        return Look(
            key=key,
            state=unit.condition.state,
            since=unit.condition.since,
            reading=unit.reading,
            measured=unit.measured,
            power=unit.believed(),
            points=unit.points,
            is_awaited=self._is_awaited(unit),
        )

    def _is_awaited(self, unit: Unit) -> bool:
        """Say whether a machine that was known before this process began may be expected to answer still."""
        if unit.reading is not None or unit.member.address is None:
            return False
        return self.clock.time() - self.begun_at < self.patience_s

    def candidates(self, spec: OrderSpec) -> list[Candidate]:
        """Return every machine that an order concerns; those that cannot be told anything with the reason."""
        command: Command = Sleep() if isinstance(spec.task, Reduce) else spec.task.command
        return [
            Candidate(
                key=unit.key,
                place=unit.member.place,
                power=unit.believed(),
                mode=None if unit.reading is None else unit.reading.mode,
                points=unit.points,
                can_change_mode=unit.reading is not None
                and Capability.MODE in unit.reading.capabilities
                and len(unit.points) > 1,
                idle_w=unit.idle_w,
                skip=self.why_not(unit.key, command, spec),
            )
            for unit in self._chosen(spec)
        ]

    def why_not(self, key: MachineKey, command: Command, spec: OrderSpec) -> str | None:
        """Say why a machine is not to be told this now; None if it may be."""
        unit, now = self.units.get(key), self.clock.time()
        if unit is None:
            return "it is not in the fleet"
        if unit.member.address is None:
            return "nobody knows where it is"
        if unit.reading is None:
            return "it has not answered yet"
        refused = self.leases.may_take(key, spec.holder, spec.id, now)
        if refused is not None:
            return refused.text
        if (strange := _strange_mode(command, unit.reading)) is not None:
            return strange
        return why_not(
            command,
            state=unit.condition.state,
            capabilities=unit.reading.capabilities,
            wear=unit.wear,
            limits=self.limits,
            now=now,
            is_ambiguous=unit.member.is_ambiguous,
            must=spec.must,
        )

    def ready_at(self, key: MachineKey, command: Command, spec: OrderSpec) -> float | None:
        """Return when a machine has run or slept out its time for a command; None if nothing has to be waited for."""
        unit = self.units.get(key)
        return None if unit is None or spec.must else ready_at(command, unit.wear, self.limits)

    def rate(self, key: MachineKey, since: float, until: float) -> Rate | None:
        """Return a machine's hash rate by its shares over an interval; None where that is not known."""
        unit = self.units.get(key)
        name = None if unit is None else unit.worker
        return None if name is None else self.shares.rate(name, since, until)

    def meter(self) -> MeterReading | None:
        """Return what the site's meter shows."""
        return self.meters.get("site")

    def deadline_s(self, key: MachineKey, change: Change) -> float:
        """Return after how long a change of this machine has failed; polls come on top."""
        unit = self.units.get(key)
        if unit is None:
            return self.conduct.at_once_s
        return self.timings.deadline_s(unit.member.identity, change) + 2 * self.settings.poll_s

    def settles_s(self, key: MachineKey, change: Change) -> float:
        """Return after how long a change is expected to be over, its power included.

        That is the published time, not the learned one: many say that they are done long before they are.
        """
        unit = self.units.get(key)
        return self.conduct.settle_s + (
            0.0 if unit is None else prior_s(unit.member.identity, change) * self.settings.pace
        )

    # --- what alarms and pages see ---

    def subjects(self) -> Iterator[Subject]:
        """Yield every machine as it is judged."""
        now = self.clock.time()
        for unit in self.units.values():
            yield Subject(
                key=unit.key,
                state=unit.condition.state,
                since=unit.condition.since,
                reading=unit.reading,
                measured=unit.measured,
                believed=unit.believed(),
                commanded=unit.commanded,
                error_share=unit.error_share,
                is_unreadable=unit.is_unreadable or sum(unit.spoilt) >= _TOO_MANY,
                is_ambiguous=unit.member.is_ambiguous,
                is_displaced=unit.is_displaced,
                changed=tuple(f for f in unit.findings if f.kind in CHANGED and now - f.at < DAY_S),
            )

    def place(self, subject: str) -> Place | None:
        """Return where a machine stands; None for what is no machine."""
        unit = self.units.get(subject)
        return None if unit is None else unit.member.place

    def population(self, name: str) -> int:
        """Return how many machines there are on ``breaker B1``, on ``feeder F1``, or on the ``site``."""
        level, _, value = name.partition(" ")
        if level == "site":
            return len(self.units)
        return sum(1 for unit in self.units.values() if getattr(unit.member.place, level, None) == value)

    def _chosen(self, spec: OrderSpec) -> list[Unit]:
        if spec.keys is not None:
            return [self.units[key] for key in spec.keys if key in self.units]
        return [unit for unit in self.units.values() if spec.group is None or unit.member.group == spec.group]

    # --- what outlives the process ---

    def records(self, *, changed_only: bool = True) -> list[MachineRecord]:
        """Return machines as they are to be kept, and take note that they are."""
        found = []
        for unit in self.units.values():
            if changed_only and not unit.changed:
                continue
            unit.changed = False
            member = unit.member
            found.append(
                MachineRecord(
                    key=member.key,
                    identity=member.identity,
                    address=member.address,
                    first_seen_at=member.first_seen_at,
                    seen_at=member.seen_at,
                    driver=member.driver,
                    place=member.place,
                    owner=member.owner,
                    group=member.group,
                    chips_by_slot=dict(member.chips_by_slot),
                    commanded=unit.commanded,
                    commanded_at=unit.commanded_at,
                    started_at=unit.wear.started_at,
                    slept_at=unit.wear.slept_at,
                    starts=tuple(unit.wear.starts),
                    worker=unit.worker,
                    idle_w=unit.idle_w,
                    learned=tuple(unit.learned.values()),
                    findings=tuple(unit.findings),
                )
            )
        return found

    def moment(self) -> list[tuple[MachineKey, HistoryPoint]]:
        """Return what is known of every machine now, for its history. What was not heard of lately has said nothing."""
        now = self.clock.time()
        found = []
        for unit in self.units.values():
            is_fresh = unit.read_at is not None and now - unit.read_at <= 3 * self.settings.poll_s
            reading = unit.reading if is_fresh else None
            rate = None if unit.measured is None else unit.measured.hashrate
            point = HistoryPoint(
                at=now,
                reported_w=None if reading is None else reading.power_w,
                power_w=unit.believed().power_w,
                metered_w=None if unit.measured is None else unit.measured.power_w,
                inlet_c=None if reading is None else reading.inlet_c,
                chip_c=None if reading is None else reading.chip_max_c,
                measured_hs=None if rate is None else rate.hs,
            )
            found.append((unit.key, point))
        return found

    # --- inside ---

    def _note(self, unit: Unit, transition: Transition | None) -> None:
        if transition is None:
            return
        unit.wear.note(transition)
        unit.changed = True
        self.transitions.append((unit.key, transition))
        if transition.took_s is not None and transition.change is not None:
            self.timings.of(unit.member.identity, transition.change).observe(transition.took_s)

    def _set_points(self, unit: Unit) -> None:
        now = self.clock.time()
        learned = [point for mode in unit.learned.values() if (point := mode.point(now)) is not None]
        unit.points = best_points(published_points(unit.member.identity), learned)

    def _learn(self, unit: Unit, reading: Reading, now: float) -> None:
        """Learn the curve from metered steady periods, and what it draws asleep."""
        own_w = self.meters.machine_w(unit.key)
        condition = unit.condition
        if own_w is not None and condition.state is State.ASLEEP and now - condition.since > 60.0:
            unit.idle_w = own_w if unit.idle_w is None else 0.9 * unit.idle_w + 0.1 * own_w
        shares, work = self.shares.lifetime(unit.worker) if unit.worker else (0, 0.0)
        period = unit.watch.add(
            now,
            steady=reading.state is WorkState.HASHING and condition.state is State.HASHING,
            mode=reading.mode,
            power_w=own_w,
            inlet_c=reading.inlet_c,
            shares=shares,
            work=work,
            max_gap_s=6 * self.settings.poll_s,
        )
        if period is not None:
            unit.learned.setdefault(period.mode, LearnedMode(mode=period.mode)).add(period)
            unit.changed = True
            self._set_points(unit)


def _strange_mode(command: Command, reading: Reading) -> str | None:
    """Say that a machine has no such mode; None if it has, if none is asked for, or if it does not tell its modes."""
    mode = command.mode if isinstance(command, SetMode | Wake) else None
    if mode is None or not reading.modes or mode.casefold() in {name.casefold() for name in reading.modes}:
        return None
    return f"it has no mode {mode!r}; it has {', '.join(reading.modes)}"


def _error_share(before: Reading | None, now: Reading) -> float | None:
    """Return hardware errors over all work between two readings; None where that cannot be known."""
    if before is None or before.hardware_errors is None or now.hardware_errors is None:
        return None
    errors, elapsed_s = now.hardware_errors - before.hardware_errors, now.at - before.at
    if errors < 0 or elapsed_s <= 0 or not now.hashrate_hs:
        return None
    found = now.hashrate_hs * elapsed_s / _ERROR_WORK
    return errors / (errors + found) if found > 0 else None
