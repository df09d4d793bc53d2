"""A plan and the present as pages and API are told of them: columns, sums and sentences."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal

import numpy as np

from hashwerk.dispatch.accounts import settle
from hashwerk.dispatch.modes import hull_steps
from hashwerk.dispatch.orders import Order
from hashwerk.dispatch.policies.clean import SurplusOnly
from hashwerk.dispatch.policies.prices import marginal_buy_per_mwh
from hashwerk.dispatch.safety import Stance
from hashwerk.dispatch.schedule import machine_power_w
from hashwerk.dispatch.why import explain, summarise
from hashwerk.energy.factors import CARBON_FREE, Fuel
from hashwerk.energy.settings import EnergySettings
from hashwerk.site.energy.order_figures import words
from hashwerk.site.energy.planning import Plan
from hashwerk.site.energy.ports import MachineNow
from hashwerk.site.energy.view import GroupPlan, GroupView, PlanView, SourcePower


def plan_view(plan: Plan) -> PlanView:
    """Return a plan as columns."""
    problem, schedule = plan.problem, plan.schedule
    grid = schedule.grid
    drawn_w = machine_power_w(problem, schedule.running)
    load_w = drawn_w.sum(axis=0) * (1 + problem.cooling_share) + problem.auxiliary_w
    price = np.nan_to_num(marginal_buy_per_mwh(problem))
    margin = settle(problem, schedule).margin
    return PlanView(
        made_s=plan.made_s,
        origin=schedule.origin.value,
        policy=plan.policy,
        took_s=plan.took_s,
        starts_s=_numbers(grid.starts_s),
        ends_s=_numbers(grid.ends_s),
        load_w=_numbers(load_w),
        import_w=_numbers(schedule.import_w),
        price_per_mwh=_numbers(price),
        battery_w=None if problem.battery is None else _numbers(schedule.charge_w - schedule.discharge_w),
        groups=tuple(
            GroupPlan(name=group.name, running=_numbers(schedule.on[g]), power_w=_numbers(drawn_w[g]))
            for g, group in enumerate(problem.groups)
        ),
        margin=money(margin) if np.isfinite(margin) else "unknown",
        remarks=tuple(dict.fromkeys(plan.remarks)),
    )


def _numbers(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> tuple[float, ...]:
    return tuple(round(float(value), 3) for value in values)


def group_views(
    plan: Plan | None, machines: Sequence[MachineNow], now: float, zone: datetime.tzinfo
) -> tuple[GroupView, ...]:
    """Return every group now and why it runs; machines that are not ours to switch make a group of their own."""
    found: list[GroupView] = []
    by_key = {machine.key: machine for machine in machines}
    counted: set[str] = set()
    if plan is not None:
        at = plan.at(now)
        reasons = explain(plan.problem, plan.schedule, at=at, zone=zone)
        wanted_w = machine_power_w(plan.problem, plan.schedule.running)[:, at]
        for g, (herd, reason) in enumerate(zip(plan.herds, reasons, strict=True)):
            members = [by_key[key] for key in herd.keys if key in by_key]
            counted.update(machine.key for machine in members)
            step = hull_steps(herd.group.modes, herd.group.residual_w)[0]
            hashprice = float(plan.problem.hashprice_per_ph_day[at])
            strike = step.break_even_per_mwh(hashprice) / (1 + float(plan.problem.cooling_share[at]))
            if plan.policy == SurplusOnly.name:
                found.append(_on_surplus(herd.group.name, members, float(wanted_w[g])))
                continue
            found.append(
                GroupView(
                    name=herd.group.name,
                    machines=len(members),
                    running=reason.running,
                    power_w=_sum_w(members),
                    wanted_w=float(wanted_w[g]),
                    strike_per_mwh=strike if np.isfinite(strike) else None,
                    action=_action(reason.running, reason.asleep),
                    sentence=_sentence(_with_limit(reason.sentence, plan, at)),
                )
            )
    others = [machine for machine in machines if machine.key not in counted]
    return (*found, *_not_ours(others))


def _with_limit(sentence: str, plan: Plan, at: int) -> str:
    """Name the limit that binds, where the optimiser has left machines asleep for it and no price has."""
    head, _, cause = sentence.partition(": ")
    limits = [limit for limit in plan.problem.limits if limit.feeder is None]
    lowest = min(limits, key=lambda limit: float(limit.limit_w[at]), default=None)
    if lowest is None or "for better hours" not in cause:
        return sentence
    is_bound = float(plan.schedule.import_w[at]) >= 0.8 * float(lowest.limit_w[at])
    return f"{head}: “{lowest.name}” leaves no room for more" if is_bound else sentence


def _on_surplus(name: str, members: Sequence[MachineNow], wanted_w: float) -> GroupView:
    """Return a group that follows own surplus: what the meter allows decides, and no price."""
    running = sum(1 for machine in members if machine.is_on)
    return GroupView(
        name=name,
        machines=len(members),
        running=running,
        power_w=_sum_w(members),
        wanted_w=wanted_w,
        strike_per_mwh=None,
        action=_action(running, len(members) - running),
        sentence=f"{running:,} of {len(members):,} machines run on own surplus: the house comes first, and nothing is bought.",
    )


def _not_ours(machines: Sequence[MachineNow]) -> list[GroupView]:
    by_reason: dict[str, list[MachineNow]] = {}
    for machine in machines:
        reason = machine.reason_not_ours or "it was not there when the plan was made"
        by_reason.setdefault(reason, []).append(machine)
    return [
        GroupView(
            name=f"Not in the plan: {reason}",
            machines=len(members),
            running=sum(1 for machine in members if machine.is_on),
            power_w=_sum_w(members),
            wanted_w=_sum_w(members) or 0.0,
            strike_per_mwh=None,
            action="not ours",
            sentence=f"{len(members):,} {'machine is' if len(members) == 1 else 'machines are'} not in the plan: {reason}.",
        )
        for reason, members in by_reason.items()
    ]


def _action(running: int, asleep: int) -> str:
    if not asleep:
        return "runs"
    return "runs in part" if running else "sleeps"


def _sum_w(machines: Sequence[MachineNow]) -> float | None:
    known = [machine.power_w for machine in machines if machine.power_w is not None]
    return sum(known) if known else None


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


def site_sentence(
    plan: Plan | None,
    now: float,
    *,
    stance: Stance,
    reasons: Sequence[str],
    orders: Sequence[Order],
    trouble: str | None,
    controls: bool,
    zone: datetime.tzinfo,
) -> str:
    """Return what is happening and why, the first thing that people read."""
    if stance in {Stance.STOP, Stance.CURTAIL} and reasons:
        text = f"machines sleep: {reasons[0]}"
    elif orders:
        order = orders[0]
        text = f"order {order.id} of {order.source} is in force: {words(order)}"
    elif trouble is not None:
        text = f"there is no plan: {trouble}; machines stay as they are"
    elif plan is None:
        text = "the first plan is being made"
    elif plan.policy == SurplusOnly.name and stance is Stance.FREE:
        text = "machines follow own surplus: the house comes first, and nothing is bought for them"
    else:
        at = plan.at(now)
        text = _with_limit(summarise(plan.problem, plan.schedule, at=at, zone=zone), plan, at)
        if stance is Stance.KEEP and reasons:
            text = f"nothing is changed: {reasons[0]}"
    shown = _sentence(text)
    return shown if controls or plan is None else f"{shown} This is shown only: nothing is commanded."


def source_powers(
    settings: EnergySettings, import_w: float | None, own_w: dict[str, float]
) -> tuple[SourcePower, ...]:
    """Return where the power comes from now: own plants by their meters, the rest from the grid."""
    found = [
        SourcePower(
            name=source.name,
            fuel=source.fuel,
            is_clean=None if source.fuel in {"unknown", "other"} else Fuel(source.fuel) in CARBON_FREE,
            power_w=own_w[source.name],
        )
        for source in settings.sources
        if source.name in own_w
    ]
    if import_w is not None:
        found.append(SourcePower(name="grid", fuel="mix", is_clean=None, power_w=max(0.0, import_w)))
    return tuple(found)


def money(amount: float) -> str:
    """Return an amount in whole cents."""
    return str(Decimal(repr(amount)).quantize(Decimal("0.01"), rounding=ROUND_HALF_EVEN))
