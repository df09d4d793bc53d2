"""The plan of a batch takes the worst watts first, and its waves spare breakers, feeders and the grid."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashwerk.fleet.batch import Candidate, ReduceAll, ReduceBy, ReduceTo, Step, plan_reduction
from hashwerk.fleet.commands import SetMode, Sleep
from hashwerk.fleet.measure import Basis, Believed
from hashwerk.fleet.modes import best_points, lower_hull, point_of, published_points
from hashwerk.fleet.place import Place
from hashwerk.fleet.ramp import Ramp, waves
from support.fleet import TH, identity, point

Q = (point("Eco", 843, 54.2), point("Standard", 1403, 80.7), point("Super", 1674, 90.0))


def candidate(number: int, points, mode: str, *, power_w: float | None = -1.0, **changes) -> Candidate:
    found = point_of(points, mode)
    watts = found.power_w if power_w == -1.0 else power_w
    return Candidate(
        key=f"m{number}",
        place=Place(),
        power=Believed(power_w=watts, basis=Basis.REPORTED),
        mode=mode,
        points=points,
        idle_w=20.0,
        **{"can_change_mode": True, **changes},
    )


def test_the_least_efficient_machines_go_first() -> None:
    old = [candidate(n, (point("x", 3000, 100.0),), "x") for n in range(3)]
    new = [candidate(n + 3, (point("x", 3000, 200.0),), "x") for n in range(3)]
    plan = plan_reduction(ReduceBy(5_000), [*new, *old], partial=False)
    assert [step.key for step in plan.steps] == ["m0", "m1"]
    assert plan.expected_w == 2 * 2980
    assert {skip.reason for skip in plan.skips} == {"not needed"}
    assert plan.steps[0].marginal_j_per_th == pytest.approx(29.8)


def test_a_lower_mode_is_taken_before_sleep_where_its_watts_are_worse() -> None:
    plan = plan_reduction(ReduceBy(700), [candidate(1, Q, "Super"), candidate(2, Q, "Super")])
    # From 1674 to 1403 W a terahash costs 29 J, from there to 843 W 21 J, from there to sleep 15 J.
    # Down one step each, then one of them two; of these the other's first step is not needed after all.
    assert {step.key: step.command for step in plan.steps} == {"m1": SetMode("Eco")}
    assert plan.expected_w == 831
    everything = plan_reduction(ReduceAll(), [candidate(1, Q, "Super")])
    assert [step.command for step in everything.steps] == [Sleep()]


def test_what_overshoots_is_given_back() -> None:
    large = candidate(1, (point("x", 5000, 100.0),), "x")
    small = [candidate(n, (point("x", 1000, 25.0),), "x") for n in range(2, 6)]
    plan = plan_reduction(ReduceBy(4_900), [large, *small], partial=False)
    assert [step.key for step in plan.steps] == ["m1"]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(500, 4000), st.integers(20, 250), st.booleans()), min_size=1, max_size=7),
    st.floats(0, 1),
)
def test_no_choice_loses_much_less_hash(machines: list[tuple[int, int, bool]], share: float) -> None:
    candidates = [
        candidate(n, (point("lo", 0.6 * w, 0.66 * th), point("hi", w, th)), "hi", skip="no" if skip else None)
        for n, (w, th, skip) in enumerate(machines)
    ]
    total = sum(w for w, _, skip in machines if not skip)
    goal = ReduceBy(share * 0.9 * total)
    plan = plan_reduction(goal, candidates)
    lost: dict[int, float] = {}
    options = []
    for n, (w, th, skip) in enumerate(machines):
        if skip:
            continue
        ways = [(0.0, 0.0), (0.4 * w, 0.34 * th), (w - 20.0, float(th))]
        options.append(ways)
        step = next((step for step in plan.steps if step.key == f"m{n}"), None)
        lost[n] = 0.0 if step is None else 0.34 * th if isinstance(step.command, SetMode) else th
    best = min(
        (
            sum(h for _, h in choice)
            for choice in itertools.product(*options)
            if sum(w for w, _ in choice) >= goal.power_w
        ),
        default=None,
    )
    assert all(not machines[int(step.key[1:])][2] for step in plan.steps), "nobody with a reason is told"
    if best is None:
        assert plan.short_w > 0
    else:
        assert plan.expected_w >= goal.power_w - 1e-6
        assert (
            sum(lost.values()) <= best + max((th for _, th, skip in machines if not skip), default=0) + 1e-9
        )


def test_unknown_power_is_not_zero() -> None:
    known, unknown = candidate(1, Q, "Standard"), candidate(2, Q, "Standard", power_w=None)
    plan = plan_reduction(ReduceTo(0), [known, unknown])
    assert plan.unknown == 1
    assert {skip.key: skip.reason for skip in plan.skips} == {"m2": "nobody knows what it draws"}
    everything = plan_reduction(ReduceAll(), [known, unknown])
    assert {step.key for step in everything.steps} == {"m1", "m2"}
    assert plan_reduction(ReduceTo(1_000), [known], total_w=5_000).wanted_w == 4_000


def test_a_mode_above_the_hull_is_never_used() -> None:
    points = (point("a", 1000, 40.0), point("b", 1500, 45.0), point("c", 2000, 100.0))
    assert [p.mode for p in lower_hull(points)] == ["a", "c"]
    assert best_points((point("x", 1000, 50.0),), (point("X", 990, 49.0),))[0].power_w == 990


def test_published_points_are_found_by_the_makers_name() -> None:
    assert [p.mode for p in published_points(identity(model="Avalon Q"))] == ["Eco", "Standard", "Super"]
    assert published_points(identity(model="AvalonMiner 1246"))[0].power_w == 3504
    assert published_points(identity(make="antminer", model="Antminer S19j Pro"))[0].hashrate_hs == 100 * TH
    assert published_points(identity(make="antminer", model="S99")) == ()


def step(number: int, watts: float = 1_000.0, breaker: str | None = None, feeder: str | None = None) -> Step:
    place = Place(breaker=breaker, feeder=feeder)
    return Step(key=f"m{number}", command=Sleep(), before_w=watts, after_w=0.0, place=place)


def test_waves_spare_breakers_feeders_and_the_grid() -> None:
    steps = [step(n, 1_000.0, f"B{n % 5}", f"F{n % 2}") for n in range(60)]
    ramp = Ramp(wave_s=5.0, max_w_per_minute=60_000.0, per_breaker=2, per_feeder=4, per_wave=100)
    found = waves(steps, ramp)
    assert sorted(s.key for wave in found for s in wave.steps) == sorted(s.key for s in steps)
    for wave in found:
        assert wave.power_w <= 5_000.0
        for name in ("breaker", "feeder"):
            for value in {getattr(s.place, name) for s in wave.steps}:
                most = 2 if name == "breaker" else 4
                assert sum(getattr(s.place, name) == value for s in wave.steps) <= most
    for first, second in itertools.pairwise(found):
        assert second.after_s - first.after_s >= max(5.0, first.power_w / 1_000.0)
    assert [s.key for s in found[0].steps] == ["m0", "m1", "m2", "m3", "m4"], "the worst go first"


def test_a_machine_above_the_limit_goes_alone_and_slowly() -> None:
    found = waves([step(1, 90_000.0), step(2)], Ramp(max_w_per_minute=30_000.0))
    assert [len(wave.steps) for wave in found] == [1, 1]
    assert found[1].after_s == 180.0
