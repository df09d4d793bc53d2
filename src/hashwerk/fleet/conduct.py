"""What comes next in an order: the pure half of commanding.

`next_events` looks at an order and at the fleet and returns what happens now, as events. Among them are the commands that go
out (`Sent`); whoever calls stores the events, applies them, and only then sends. So the order can be taken up by another
process at any point.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol

import msgspec

from hashwerk.fleet.batch import Candidate, Plan, ReduceAll, ReduceBy, ReduceTo, Skip, Step, plan_reduction
from hashwerk.fleet.commands import Command, Sleep, Wake
from hashwerk.fleet.identity import MachineKey
from hashwerk.fleet.limits import Limits, words
from hashwerk.fleet.machine import WorkState
from hashwerk.fleet.measure import Basis, Effect, MeterReading, Verdict, Vote
from hashwerk.fleet.orders import (
    Deferred,
    Drifted,
    Ended,
    GaveUp,
    Missed,
    Order,
    OrderEvent,
    OrderSpec,
    OrderState,
    Phase,
    Planned,
    Progress,
    Reached,
    Reduce,
    RestoreAsked,
    Sent,
    Stopped,
    Tell,
    Verified,
    is_repeatable,
    lacks_secrets,
    planned,
)
from hashwerk.fleet.ramp import next_wave, rest_s
from hashwerk.fleet.states import CHANGE_OF, State
from hashwerk.fleet.timing import Change
from hashwerk.fleet.verify import CHANGES, Look, effect_of, machine_says
from hashwerk.work.poisson import Rate


class View(Protocol):
    """The fleet as an order sees it."""

    def look(self, key: MachineKey) -> Look | None:
        """Return a machine as it is known now."""
        ...

    def candidates(self, spec: OrderSpec) -> list[Candidate]:
        """Return every machine that an order concerns; those that cannot be told anything with the reason."""
        ...

    def why_not(self, key: MachineKey, command: Command, spec: OrderSpec) -> str | None:
        """Say why a machine is not to be told this now; None if it may be."""
        ...

    def ready_at(self, key: MachineKey, command: Command, spec: OrderSpec) -> float | None:
        """Return when a machine has run or slept out its time for a command; None if nothing has to be waited for."""
        ...

    def rate(self, key: MachineKey, since: float, until: float) -> Rate | None:
        """Return a machine's hash rate by its shares over an interval; None where that is not known."""
        ...

    def meter(self) -> MeterReading | None:
        """Return what the site's meter shows; None where there is none, or it is silent."""
        ...

    def deadline_s(self, key: MachineKey, change: Change) -> float:
        """Return after how long a change of this machine has failed."""
        ...

    def settles_s(self, key: MachineKey, change: Change) -> float:
        """Return after how long a change of this machine is expected to be over, its power included."""
        ...


class Conduct(msgspec.Struct, frozen=True, kw_only=True):
    """How orders are carried out."""

    limits: Limits = Limits()
    verify_s: float = 180.0  # so long measurements are waited for before a machine's own word stands alone
    settle_s: float = 15.0  # until the site's meter shows what was done
    tolerance: float = 0.01  # of the baseline: a target counts as met so near
    disagreement: float = 0.5  # stop if the meter shows less than this of what machines say they saved
    noise: float = 0.03  # of the baseline: what the meter moves by itself
    max_plans: int = 4
    max_drifts: int = 5
    drift_after_s: float = 5.0
    at_once_s: float = 60.0  # for whatever needs no time
    flight_s: float = 2.0  # so long shares of work begun before it slept still come in


_TERMINAL: Final = (Phase.DONE, Phase.GAVE_UP)


def next_events(order: Order, view: View, conduct: Conduct, now: float) -> list[OrderEvent]:
    """Return what happens now. Empty: nothing, until somebody learns something new or time passes."""
    match order.state:
        case OrderState.NEW:
            return [_first_plan(order, view, now)]
        case OrderState.REDUCING | OrderState.RESTORING:
            return _go_on(order, view, conduct, now)
        case OrderState.STOPPED:
            return [*_check_all(order, view, conduct, now)]
        case OrderState.HOLDING:
            return _hold(order, view, conduct, now)
        case OrderState.ENDED | OrderState.ABORTED:
            return []


def make_plan(spec: OrderSpec, view: View, now: float) -> Plan:
    """Return who would be told what now."""
    candidates = [_who_waits(candidate, spec, view, now) for candidate in view.candidates(spec)]
    meter = view.meter() if spec.group is None and spec.keys is None else None
    if isinstance(spec.task, Reduce):
        return plan_reduction(
            spec.task.goal,
            candidates,
            total_w=None if meter is None else meter.power_w,
            partial=spec.task.partial,
        )
    command = spec.task.command
    steps = tuple(
        Step(
            key=candidate.key,
            command=command,
            before_w=candidate.power.power_w,
            after_w=None,
            place=candidate.place,
            mode_before=candidate.mode,
        )
        for candidate in candidates
        if candidate.skip is None
    )
    return Plan(
        goal=ReduceAll(),
        steps=steps,
        skips=tuple(Skip(key=c.key, reason=c.skip) for c in candidates if c.skip is not None),
        total_w=sum(c.power.power_w or 0.0 for c in candidates) if meter is None else meter.power_w,
        total_basis=Basis.REPORTED if meter is None else Basis.METER,
        unknown=sum(1 for c in candidates if c.power.power_w is None),
        wanted_w=None,
        expected_w=0.0,
    )


def _who_waits(candidate: Candidate, spec: OrderSpec, view: View, now: float) -> Candidate:
    """Return a candidate; not left out if the order waits for it to run or to sleep out its time."""
    if candidate.skip is None or not spec.waits or not isinstance(spec.task, Tell):
        return candidate
    ready_at = view.ready_at(candidate.key, spec.task.command, spec)
    return (
        msgspec.structs.replace(candidate, skip=None)
        if ready_at is not None and ready_at > now
        else candidate
    )


def _first_plan(order: Order, view: View, now: float) -> OrderEvent:
    plan = make_plan(order.spec, view, now)
    target_w: float | None = None
    if isinstance(order.spec.task, Reduce):
        match order.spec.task.goal:
            case ReduceTo(power_w):
                target_w = power_w
            case ReduceBy(power_w):
                target_w = max(0.0, plan.total_w - power_w)
            case ReduceAll():
                target_w = None
    return planned(plan, now, target_w)


def _go_on(order: Order, view: View, conduct: Conduct, now: float) -> list[OrderEvent]:
    """Check those that were told, tell those that failed again, then the next wave; at last see what came of it."""
    if order.spec.dry_run:
        return [Ended(at=now, text="dry run: nothing was sent")]
    events = [*_check_all(order, view, conduct, now), *_retries(order, view, conduct, now)]
    if events:
        return events  # the order looks different now; the rest is decided on that
    if order.state is OrderState.REDUCING and (reason := _disagreement(order, view, conduct, now)):
        return [Stopped(at=now, reason=reason)]
    wave = list(_wave(order, view, now))
    if wave:
        return wave
    if any(progress.phase not in _TERMINAL for progress in order.machines.values()):
        return []
    if order.state is OrderState.RESTORING or isinstance(order.spec.task, Tell):
        meter = view.meter()
        text = _summary(order)
        return [Ended(at=now, text=text, measured_w=None if meter is None else meter.power_w)]
    return _conclude(order, view, conduct, now)


def _check_all(order: Order, view: View, conduct: Conduct, now: float) -> Iterator[OrderEvent]:
    for progress in order.machines.values():
        if progress.phase in (Phase.SENT, Phase.ACCEPTED):
            event = _check(progress, view, conduct, now)
            if event is not None:
                yield event


def _check(progress: Progress, view: View, conduct: Conduct, now: float) -> OrderEvent | None:
    """See whether a machine has done what it was told; None while that is not clear yet."""
    key, sent_at = progress.step.key, progress.sent_at
    look = view.look(key)
    if look is None or sent_at is None:
        return GaveUp(at=now, key=key, reason="it is no longer in the fleet")
    if look.is_awaited:
        return None
    command = progress.command
    change = CHANGES.get(type(command))
    deadline = sent_at + (conduct.at_once_s if change is None else view.deadline_s(key, change))
    effect = _effect(progress, look, view, conduct, now, is_late=now >= deadline)
    verdict = effect.verdict
    if verdict is Verdict.CONFIRMED:
        return _verified(progress, effect, now)
    if effect.machine is not Vote.YES and progress.awaits_restart:
        return _verified(progress, _taken(command), now)
    if effect.machine is Vote.YES:
        if change is None:
            return _verified(progress, effect, now)  # nothing else could be measured of it
        if verdict is Verdict.CLAIMED and not _can_be_measured(progress, view, key, sent_at):
            return _verified(progress, effect, now)
        waited_enough = now >= max(deadline, look.since + conduct.verify_s)
        return _verified(progress, effect, now) if waited_enough else None
    if now < deadline:
        if change is None and progress.phase is Phase.ACCEPTED and effect.machine is Vote.CANNOT_SAY:
            return _verified(progress, effect, now) if now - sent_at > conduct.settle_s else None
        return None
    if verdict is Verdict.OPEN:
        if change is None and progress.phase is Phase.ACCEPTED:
            return _verified(progress, effect, now)
        return Missed(
            at=now, key=key, attempt=progress.attempts, reason="nothing shows that it did as told in time"
        )
    return _verified(progress, effect, now)


def _taken(command: Command) -> Effect:
    """Return what is known of a command that comes into force when the machine starts again: that it was taken."""
    nobody = Vote.CANNOT_SAY
    text = f"{words(command)}: taken, in force once it has started again"
    return Effect(machine=nobody, shares=nobody, meter=nobody, text=text)


def _verified(progress: Progress, effect: Effect, now: float) -> Verified:
    """Return that a machine did as told; what takes time shows in its power only later."""
    return Verified(
        at=now, key=progress.step.key, effect=effect, awaits_power=type(progress.command) in CHANGES
    )


def _effect(
    progress: Progress, look: Look, view: View, conduct: Conduct, now: float, *, is_late: bool = True
) -> Effect:
    is_down, sent_at = not progress.is_restore, progress.sent_at or now
    since = max(sent_at, look.since) + conduct.flight_s  # from when it said that it was done
    return effect_of(
        progress.command,
        look,
        sent_at=sent_at,
        before_w=progress.step.before_w if is_down else progress.step.after_w,
        expected_w=progress.step.saves_w if is_down else None,
        before=view.rate(progress.step.key, sent_at - 600.0, sent_at),
        since=view.rate(progress.step.key, since, now) if now > since else None,
        is_late=is_late,
    )


def _can_be_measured(progress: Progress, view: View, key: MachineKey, sent_at: float) -> bool:
    """Say whether a meter or shares of this machine can ever tell."""
    look = view.look(key)
    if look is not None and look.measured is not None and look.measured.power_w is not None:
        return True
    if not isinstance(progress.command, Sleep | Wake):
        return False  # shares tell sleep from work, not one mode from another
    before = view.rate(key, sent_at - 600.0, sent_at)
    return before is not None and (before.shares > 0 or progress.is_restore)


def _retries(order: Order, view: View, conduct: Conduct, now: float) -> Iterator[OrderEvent]:
    for key, progress in order.machines.items():
        if progress.phase is not Phase.RETRY or _is_awaited(view, key) or _waits(progress, now):
            continue
        if progress.attempts >= conduct.limits.attempts or not is_repeatable(progress.command):
            yield GaveUp(at=now, key=key, reason=f"{progress.reason} ({progress.attempts} attempts)".strip())
        elif lacks_secrets(progress.command):
            yield GaveUp(at=now, key=key, reason="its pool's password is not kept; give the order again")
        elif (
            progress.sent_at is None
            or now >= progress.sent_at + conduct.limits.retry_s(progress.attempts)
            or not progress.attempts
        ):
            yield _tell(order, key, progress, view, now)


def _tell(order: Order, key: MachineKey, progress: Progress, view: View, now: float) -> OrderEvent:
    """Tell a machine, unless it has done so by itself or may not be told now."""
    command = progress.command
    look = view.look(key)
    attempt = progress.attempts + 1
    is_steady = look is not None and look.state not in CHANGE_OF
    if (
        look is not None
        and is_steady
        and attempt == 1
        and machine_says(command, look.reading, progress.told_at) is Vote.YES
    ):
        effect = Effect(
            machine=Vote.YES, shares=Vote.CANNOT_SAY, meter=Vote.CANNOT_SAY, text="it is so already"
        )
        return Verified(at=now, key=key, effect=effect, told=False)
    reason = view.why_not(key, command, order.spec)
    if reason is not None and (until := _later(order, progress, view, now)) is not None:
        return Deferred(at=now, key=key, until=until, reason=reason)
    if reason is not None and not (attempt > 1 and "already" in reason):
        return Missed(at=now, key=key, attempt=attempt, reason=reason, unsent=command)
    return Sent(at=now, key=key, command=command, attempt=attempt, is_restore=progress.is_restore)


def _later(order: Order, progress: Progress, view: View, now: float) -> float | None:
    """Return when a machine may be told that has to run or to sleep out its time; None if that is not what it waits for.

    On the way down others take its place at once, unless the order says that it waits.
    """
    if order.state is OrderState.REDUCING and not order.spec.waits:
        return None
    until = view.ready_at(progress.step.key, progress.command, order.spec)
    return until if until is not None and until > now else None


def _waits(progress: Progress, now: float) -> bool:
    return progress.not_before is not None and now < progress.not_before


def _is_awaited(view: View, key: MachineKey) -> bool:
    look = view.look(key)
    return look is not None and look.is_awaited


def _wave(order: Order, view: View, now: float) -> Iterator[OrderEvent]:
    """Tell the next wave of machines, if the last one is long enough ago."""
    waiting = [
        p.step
        for p in order.machines.values()
        if p.phase is Phase.WAITING and not _is_awaited(view, p.step.key) and not _waits(p, now)
    ]
    if not waiting:
        return
    told = [p for p in order.machines.values() if p.sent_at is not None and p.sent_at >= order.begun_at]
    if told:
        last = max(p.sent_at or 0.0 for p in told)
        latest = [p.step for p in told if p.sent_at == last]
        if now < last + rest_s(latest, order.spec.ramp):
            return
    wave, _ = next_wave(waiting, order.spec.ramp)
    for step in wave:
        yield _tell(order, step.key, order.machines[step.key], view, now)


def _disagreement(order: Order, view: View, conduct: Conduct, now: float) -> str | None:
    """Say how the measurements contradict what machines say they saved; None while they do not."""
    settled = [
        p
        for p in order.machines.values()
        if p.phase is Phase.DONE and p.done_at is not None and now - p.done_at >= conduct.settle_s
    ]
    claimed_w = sum(p.step.saves_w or 0.0 for p in settled)
    meter = view.meter()
    if order.is_metered and order.baseline_w is not None and meter is not None:
        noise_w = conduct.noise * order.baseline_w
        shown_w = order.baseline_w - meter.power_w
        if claimed_w > 2 * noise_w and shown_w < conduct.disagreement * claimed_w - noise_w:
            return f"machines say they saved {claimed_w / 1e3:,.1f} kW, the site's meter shows {shown_w / 1e3:,.1f} kW"
        return None
    judged = [p for p in order.machines.values() if p.effect is not None]
    wrong = sum(1 for p in judged if p.effect is not None and p.effect.verdict is Verdict.CONTRADICTED)
    if len(judged) >= 10 and wrong > conduct.disagreement * len(judged):
        return f"measurements contradict {wrong} of {len(judged)} machines"
    return None


def _conclude(order: Order, view: View, conduct: Conduct, now: float) -> list[OrderEvent]:
    """Every machine was dealt with: compare with the meter, and take more machines where it falls short."""
    meter = view.meter()
    if not order.is_metered or meter is None or order.target_w is None:
        return [Reached(at=now, measured_w=None if meter is None else meter.power_w, text=_summary(order))]
    baseline_w = order.baseline_w or meter.power_w
    if meter.power_w <= order.target_w + conduct.tolerance * baseline_w:
        return [Reached(at=now, measured_w=meter.power_w, text=_summary(order))]
    last = max((p.done_at or p.sent_at or 0.0 for p in order.machines.values()), default=order.begun_at)
    if now < last + conduct.settle_s or meter.at < last:
        return []
    if order.plans < conduct.max_plans:
        more = _more(order, view, meter.power_w, now)
        if more.steps:
            return [more]
    short_w = meter.power_w - order.target_w
    text = f"{_summary(order)}; {short_w / 1e3:,.1f} kW short of what was wanted"
    return [Reached(at=now, measured_w=meter.power_w, text=text)]


def _more(order: Order, view: View, metered_w: float, now: float) -> Planned:
    """Plan further machines, of those that have no part in the order yet."""
    assert order.target_w is not None
    assert isinstance(order.spec.task, Reduce)
    free = [
        msgspec.structs.replace(c, skip=c.skip or ("part of this order" if c.key in order.machines else None))
        for c in view.candidates(order.spec)
    ]
    plan = plan_reduction(ReduceTo(order.target_w), free, total_w=metered_w, partial=order.spec.task.partial)
    skips = tuple(skip for skip in plan.skips if skip.key not in order.machines)
    return planned(msgspec.structs.replace(plan, skips=skips), now, order.target_w)


def _hold(order: Order, view: View, conduct: Conduct, now: float) -> list[OrderEvent]:
    """Keep machines where they were put, and learn late what measurements say."""
    if order.spec.until is not None and now >= order.spec.until:
        return [RestoreAsked(at=now, who="the clock", why="the order's time is over")]
    events = [*_check_all(order, view, conduct, now), *_retries(order, view, conduct, now)]
    for key, progress in order.machines.items():
        if progress.phase is not Phase.DONE or progress.sent_at is None:
            continue
        look = view.look(key)
        if look is None:
            continue
        if text := _drift(progress, look, conduct, now):
            if progress.drifts >= conduct.max_drifts:
                events.append(GaveUp(at=now, key=key, reason=f"{text}, {progress.drifts} times"))
            else:
                events.append(Drifted(at=now, key=key, text=text))
        elif progress.effect is not None and progress.effect.verdict is Verdict.CLAIMED:
            effect = _effect(progress, look, view, conduct, now)
            if effect.verdict is Verdict.CONFIRMED or Vote.NO in (effect.shares, effect.meter):
                events.append(_verified(progress, effect, now))
    return events


def _drift(progress: Progress, look: Look, conduct: Conduct, now: float) -> str | None:
    reading = look.reading
    if reading is None or look.state is not State.HASHING or now - look.since < conduct.drift_after_s:
        return None
    if isinstance(progress.command, Sleep) and reading.state is WorkState.HASHING:
        return "it woke by itself"
    if machine_says(progress.command, reading, progress.sent_at) is Vote.NO:
        return f"it is in mode {reading.mode}"
    return None


def _summary(order: Order) -> str:
    done = [p for p in order.machines.values() if p.phase is Phase.DONE]
    confirmed = sum(1 for p in done if p.effect is not None and p.effect.verdict is Verdict.CONFIRMED)
    given_up = sum(1 for p in order.machines.values() if p.phase is Phase.GAVE_UP)
    parts = [f"{len(done)} of {len(order.machines)} machines did as told, {confirmed} of them measured"]
    if given_up:
        parts.append(f"{given_up} given up")
    if order.skips:
        parts.append(f"{len(order.skips)} left out")
    return ", ".join(parts)
