"""Why each group runs or not, in one sentence that a person reads first and believes."""

from __future__ import annotations

import datetime

import msgspec
import numpy as np

from hashwerk.dispatch.modes import hull_steps
from hashwerk.dispatch.policies.prices import marginal_buy_per_mwh
from hashwerk.dispatch.problem import Group, Problem
from hashwerk.dispatch.schedule import Hold, Origin, Schedule


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """What a group does, and why."""

    group: str
    running: int
    asleep: int
    sentence: str


_HELD = {
    Hold.UNAVAILABLE: "the others cannot be told to run",
    Hold.MIN_ON: "they are held by their minimum time on",
    Hold.MIN_OFF: "they are held by their minimum time asleep",
    Hold.STARTS: "they have no start left today",
    Hold.RAMP: "the ramp is as steep as is allowed",
}
_SYMBOLS = {"EUR": "€", "USD": "$", "GBP": "£"}


def explain(
    problem: Problem, schedule: Schedule, *, at: int = 0, zone: datetime.tzinfo = datetime.UTC
) -> tuple[Reason, ...]:
    """Return a sentence for each group.

    Args:
        problem: What was known.
        schedule: What was decided.
        at: The interval that is spoken of.
        zone: The local time in which hours are given.
    """
    return tuple(_explain_group(problem, schedule, g, at=at, zone=zone) for g in range(len(problem.groups)))


def summarise(
    problem: Problem, schedule: Schedule, *, at: int = 0, zone: datetime.tzinfo = datetime.UTC
) -> str:
    """Return one sentence for the whole site: the group of which most machines sleep, with the site's counts."""
    reasons = explain(problem, schedule, at=at, zone=zone)
    asleep, total = sum(reason.asleep for reason in reasons), sum(r.asleep + r.running for r in reasons)
    if not total:
        return "there are no machines"
    price = _money(float(marginal_buy_per_mwh(problem)[at]), problem.currency)
    if not asleep:
        return f"all {total:,} machines run: price {price} is below what they earn"
    most = max(reasons, key=lambda reason: reason.asleep)
    cause = most.sentence.partition(": ")[2]
    return f"{asleep:,} of {total:,} machines sleep: {cause}"


def _explain_group(problem: Problem, schedule: Schedule, g: int, *, at: int, zone: datetime.tzinfo) -> Reason:
    group = problem.groups[g]
    running = round(float(schedule.on[g, at]))
    asleep = group.count - running
    if group.count == 0:
        return Reason(group=group.name, running=0, asleep=0, sentence="there are no machines")
    if asleep == 0:
        text = f"all {group.count:,} machines run{_in_mode(group, schedule, g, at)}"
    elif running == 0:
        text = f"all {group.count:,} machines sleep"
    else:
        text = f"{asleep:,} of {group.count:,} machines sleep"
    cause = _hold(problem, schedule, g, at=at) or _price(problem, schedule, g, at=at)
    sentence = f"{text}: {cause}{_change(schedule, g, at, zone)}"
    return Reason(group=group.name, running=running, asleep=asleep, sentence=sentence)


def _hold(problem: Problem, schedule: Schedule, g: int, *, at: int) -> str | None:
    """Return what keeps the group from what is wanted of it, None if nothing does."""
    if schedule.origin is Origin.SAFETY:
        return "the safety layer decided"
    hold = Hold.NOTHING if schedule.held is None else Hold(int(schedule.held[g, at]))
    if hold in (Hold.SITE, Hold.FEEDER):
        return f"{_binding_limit(problem, problem.groups[g], at, hold)} leaves no room for more"
    return _HELD.get(hold)


def _price(problem: Problem, schedule: Schedule, g: int, *, at: int) -> str:
    """Return how the price stands to what the group's machines earn: the step at which some run and others do not."""
    price = float(marginal_buy_per_mwh(problem)[at])
    if not np.isfinite(price):
        return "the price is missing"
    group, shown = problem.groups[g], _money(price, problem.currency)
    steps = hull_steps(group.modes, group.residual_w)
    hashprice = float(problem.hashprice_per_ph_day[at]) / (1 + float(problem.cooling_share[at]))
    earns = [step.break_even_per_mwh(hashprice) for step in steps]
    in_step = [float(schedule.running[g, step.mode :, at].sum()) for step in steps]
    if in_step[0] < group.count and in_step[0] >= problem.available[g, at]:
        return _HELD[Hold.UNAVAILABLE]
    if in_step[0] < group.count:
        if price >= earns[0]:
            return f"price {shown} is above their {earns[0]:,.0f}"
        return f"price {shown} is below their {earns[0]:,.0f}, but the plan saves them for better hours"
    highest = max(k for k, count in enumerate(in_step) if count > 0)
    if price < earns[highest]:
        text = f"price {shown} is below their {earns[highest]:,.0f}"
        if highest + 1 < len(steps):
            text += f", the next mode's watts earn {earns[highest + 1]:,.0f}"
        return text
    if problem.local_w[at] > 0:
        return f"own generation carries them, price {shown}"
    return f"price {shown} is above their {earns[highest]:,.0f}, but stopping would cost more"


def _binding_limit(problem: Problem, group: Group, at: int, hold: Hold) -> str:
    if hold is Hold.FEEDER:
        limits = [limit for limit in problem.limits if limit.feeder == group.feeder]
    else:
        limits = [limit for limit in problem.limits if limit.feeder is None]
        for event in problem.events:
            if event.emergency and event.committed_w[at] > 0:
                return f"“{event.name}”"
    if not limits:
        return "the clean energy there is" if hold is Hold.SITE else "the feeder"
    lowest = min(limits, key=lambda limit: float(np.nan_to_num(limit.limit_w[at], nan=np.inf)))
    return f"“{lowest.name}”"


def _in_mode(group: Group, schedule: Schedule, g: int, at: int) -> str:
    used = np.flatnonzero(schedule.running[g, : len(group.modes), at])
    return f" in {group.modes[int(used[0])].name}" if len(used) == 1 and len(group.modes) > 1 else ""


def _change(schedule: Schedule, g: int, at: int, zone: datetime.tzinfo) -> str:
    """Return when the group's count next changes, as the plan has it."""
    on = schedule.on[g]
    later = np.flatnonzero(on[at + 1 :] != on[at])
    if not len(later):
        return ""
    then = at + 1 + int(later[0])
    clock = datetime.datetime.fromtimestamp(float(schedule.grid.starts_s[then]), zone).strftime("%H:%M")
    more = round(float(on[then] - on[at]))
    if more > 0:
        return f"; they wake at {clock}" if on[at] == 0 else f"; {more:,} more wake at {clock}"
    return f"; they sleep at {clock}" if on[then] == 0 else f"; {-more:,} sleep at {clock}"


def _money(per_mwh: float, currency: str) -> str:
    if not np.isfinite(per_mwh):
        return "unknown"
    return f"{per_mwh:,.0f} {_SYMBOLS.get(currency, currency)}/MWh"
