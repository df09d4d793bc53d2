"""The parts of the running energy: who makes up a plan's counts, what is kept, what a month comes to, what is asked of feeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest

from hashwerk.clock import VirtualClock
from hashwerk.dispatch.modes import Mode
from hashwerk.dispatch.orders import Order, OrderBook, OrderKind
from hashwerk.dispatch.settings import DispatchSettings, HashpriceSettings
from hashwerk.energy.ports import Signal
from hashwerk.energy.series import SeriesInfo, make_series
from hashwerk.energy.tariff import load_tariff
from hashwerk.energy.usage import BillingFacts
from hashwerk.errors import ConfigError, DispatchError, StoreError
from hashwerk.feeds.settings import FeedSettings
from hashwerk.fleet.commands import SetMode, Sleep, Wake
from hashwerk.fleet.limits import Limits
from hashwerk.fleet.machine import Capability
from hashwerk.fleet.states import State
from hashwerk.site.energy.accounts import month_begin_s, month_bill
from hashwerk.site.energy.groups import Wanted, assign, command_for, make_herds
from hashwerk.site.energy.planning import Known, make_plan, make_policy, make_problem_of
from hashwerk.site.energy.ports import MachineNow
from hashwerk.site.energy.present import Integrator
from hashwerk.site.energy.record import EnergyRecord, Moment, OrderRecord, Quarter, as_columns
from hashwerk.site.energy.signals import Signals

NOW = 1_751_932_800.0  # Tuesday, 8 July 2025, 00:00 UTC
MODES = (
    Mode(name="Eco", power_w=843, hashrate_hs=54.2e12),
    Mode(name="Super", power_w=1_674, hashrate_hs=90e12),
)
LIMITS = Limits()


def machine(number: int, state: State = State.HASHING, **changes: Any) -> MachineNow:
    values: dict[str, Any] = {
        "key": f"m{number}",
        "model": "Avalon Q",
        "state": state,
        "since": NOW - 86_400,
        "capabilities": Capability.SLEEP | Capability.MODE,
        "modes": MODES,
        "mode": "Super",
        "power_w": 1_674.0 if state is State.HASHING else 146.0,
        "idle_w": 146.0,
    }
    return MachineNow(**(values | changes))


def known(herds: Any, **changes: Any) -> Known:
    values: dict[str, Any] = {
        "now": NOW,
        "herds": tuple(herds),
        "orders": OrderBook(),
        "price": None,
        "carbon": None,
        "generation": None,
        "hashprice_per_ph_day": 45.0,
        "generation_w": 0.0,
        "auxiliary_w": 0.0,
        "cooling_share": 0.0,
        "import_w": None,
        "month_peaks_w": {},
        "forbidden": (),
    }
    return Known(**(values | changes))


def prices(values: list[float], resolution_s: int = 3_600) -> Any:
    info = SeriesInfo(name="p", unit="EUR/MWh", resolution_s=resolution_s, source="test", currency="EUR")
    starts = NOW + resolution_s * np.arange(len(values))
    return make_series(info, starts, values, published_s=int(NOW) - 86_400)


def test_groups_are_of_like_machines_and_remember_what_they_did() -> None:
    machines = [
        machine(0, started_at=NOW - 100, starts=3),
        machine(1, State.ASLEEP, slept_at=NOW - 50, starts=12),
        machine(2, feeder="F2"),
        machine(3, State.UNREACHABLE),
        machine(4, capabilities=Capability.NONE),
        machine(5, modes=()),
        machine(6, held_by="operator ann"),
    ]
    herds = make_herds(machines, LIMITS, NOW)
    assert {herd.group.name: herd.keys for herd in herds} == {
        "Avalon Q, no feeder": ("m0", "m1"),
        "Avalon Q, feeder F2": ("m2",),
    }
    first = next(herd for herd in herds if "m0" in herd.keys)
    assert first.history.on_for_s.tolist() == [100]
    assert first.history.off_for_s.tolist() == [50]
    assert first.history.starts_left is not None
    assert first.history.starts_left.tolist() == [9, 0]
    reasons = [one.reason_not_ours for one in machines[3:]]
    assert reasons == [
        "it is unreachable",
        "its firmware cannot be told to sleep",
        "nobody knows what it draws",
        "held by operator ann",
    ]


def test_a_group_counts_with_what_its_own_machines_draw() -> None:
    machines = [
        machine(0, power_w=1_800.0),
        machine(1, power_w=1_700.0),
        machine(2, mode="Eco", power_w=900.0),
    ]
    herd = make_herds(machines, LIMITS, NOW)[0]
    assert [mode.power_w for mode in herd.group.modes] == [900, 1_750]
    strange = make_herds([machine(0, power_w=500.0)], LIMITS, NOW)[0]  # less than Eco: not believed of Super
    assert [mode.power_w for mode in strange.group.modes] == [843, 1_674]


def test_as_few_as_possible_change_to_make_up_a_plan() -> None:
    machines = [
        machine(0, started_at=NOW - 100),  # may not sleep yet
        machine(1, mode="Eco", power_w=843.0),
        machine(2),
        machine(3, State.ASLEEP, slept_at=NOW - 10),  # may not wake yet
        machine(4, State.ASLEEP, slept_at=NOW - 9_000),
    ]
    herd = make_herds(machines, LIMITS, NOW)[0]
    by_key = {one.key: one for one in machines}

    def made(eco: int, super_: int) -> dict[str, str | None]:
        found = assign(herd, [eco, super_], by_key, limits=LIMITS, now=NOW)
        return {key: wanted.mode for key, wanted in sorted(found.items())}

    assert made(1, 2) == {"m0": "Super", "m1": "Eco", "m2": "Super", "m3": None, "m4": None}
    assert made(0, 4) == {"m0": "Super", "m1": "Super", "m2": "Super", "m3": None, "m4": "Super"}
    assert made(0, 1) == {"m0": "Super", "m1": None, "m2": None, "m3": None, "m4": None}
    del by_key["m0"]  # it has gone: another takes its place
    assert sum(mode is not None for mode in made(0, 1).values()) == 1


@pytest.mark.parametrize(
    ("state", "mode", "wanted", "command"),
    [
        (State.HASHING, "Super", None, Sleep()),
        (State.FALLING_ASLEEP, "Super", None, None),
        (State.ASLEEP, None, "Eco", Wake("Eco")),
        (State.WAKING, "Super", "Eco", None),
        (State.HASHING, "Super", "Eco", SetMode("Eco")),
        (State.HASHING, "super", "Super", None),
    ],
)
def test_a_command_changes_something_or_is_not_given(
    state: Any, mode: Any, wanted: Any, command: Any
) -> None:
    assert command_for(machine(0, state, mode=mode), Wanted(wanted)) == command


def test_a_plan_reaches_as_far_as_prices_are_known() -> None:
    herds = make_herds([machine(0)], LIMITS, NOW)
    settings = DispatchSettings()
    full, _ = make_problem_of(known(herds), settings, None, BillingFacts())
    assert full.grid.ends_s[-1] >= NOW + 48 * 3_600
    problem, remarks = make_problem_of(known(herds, price=prices([10.0] * 7)), settings, None, BillingFacts())
    assert problem.grid.ends_s[-1] == NOW + 7 * 3_600
    assert "known until 2025-07-08T07:00Z" in remarks[0]
    missing, _ = make_problem_of(known(herds, price=prices([])), settings, None, BillingFacts())
    assert np.isnan(missing.buy_per_mwh).all()


@pytest.mark.parametrize("price", [-500.0, 9_000.0])
def test_prices_that_have_happened(price: float) -> None:
    herds = make_herds([machine(0), machine(1)], LIMITS, NOW)
    problem, schedule, _ = make_plan(
        known(herds, price=prices([price] * 60)), DispatchSettings(), make_policy(DispatchSettings())
    )
    assert schedule.origin.value == "optimiser"
    assert schedule.on[0, 0] == (2 if price < 0 else 0)
    assert problem.buy_per_mwh[0] == price


def test_a_plan_that_cannot_be_made_falls_to_the_ladder_and_says_why() -> None:
    herds = make_herds([machine(0), machine(1)], LIMITS, NOW)
    settings = DispatchSettings()
    gap = known(herds, price=prices([10.0, float("nan"), 10.0]))
    _, schedule, remarks = make_plan(gap, settings, make_policy(settings))
    assert schedule.origin.value == "ladder"
    assert "the buying price is missing" in remarks[0]
    impossible = OrderBook()
    impossible.receive(
        Order(id="x", source="t", kind=OrderKind.REDUCE_TO, received_s=NOW, start_s=NOW, amount_w=0.0)
    )
    _, schedule, remarks = make_plan(known(herds, orders=impossible), settings, make_policy(settings))
    assert schedule.on[0, 0] == 0
    assert any("order x" in remark for remark in remarks)
    with pytest.raises(DispatchError, match="no machine"):
        make_plan(known([]), settings, make_policy(settings))
    yuan = load_tariff("sichuan-time-of-use")
    with pytest.raises(DispatchError, match=r"CNY.*EUR"):
        make_plan(known(herds), settings, make_policy(settings), yuan)


def test_the_record_survives_and_gives_back_means(tmp_path: Path) -> None:
    record = EnergyRecord(tmp_path / "energy.sqlite")
    record.open()
    integrator = Integrator(10.0)
    quarters: list[Quarter] = []
    moments = []
    for step in range(200):
        moment = Moment(
            at_s=NOW + step * 10,
            measured_w=None if 90 <= step < 100 else 1_000.0,
            setpoint_w=900.0,
            price_per_mwh=float(step),
            hashrate_hs=None,
            sources={"Dam": 500.0},
        )
        moments.append(moment)
        quarters += integrator.take(moment)
    record.add(moments, quarters)
    assert [quarter.start_s - NOW for quarter in quarters] == [0, 900]
    assert quarters[0].import_wh == pytest.approx(1_000 * 890 / 3_600)
    assert quarters[1].covered_s == pytest.approx(900 - 90)
    assert quarters[0].sources["Dam"] == pytest.approx(125.0, rel=0.02)
    order = Order(id="o", source="api:x", kind=OrderKind.ALL, received_s=NOW, start_s=NOW)
    record.put_order(OrderRecord(order=order, baseline_w=5.0))
    record.keep("words", ["a", "b"])
    record.close()
    with pytest.raises(StoreError, match="not open"):
        record.kept("words", list[str])
    record.open()
    assert record.orders()[0].baseline_w == 5.0
    assert record.kept("words", list[str]) == ["a", "b"]
    columns = as_columns(record.moments(NOW, NOW + 2_000), NOW, NOW + 2_000, 100)
    assert len(columns.at_s) == 20
    assert columns.measured_w[9] is None
    assert columns.price_per_mwh[1] == pytest.approx(14.5)
    assert columns.sources["Dam"][0] == 500.0
    record.close()


def test_the_month_as_the_tariff_has_it(tmp_path: Path) -> None:
    tariff = load_tariff("germany-day-ahead-2025")
    begin_s = month_begin_s(NOW, ZoneInfo(tariff.zone))
    quarters = [
        Quarter(start_s=int(begin_s) + 900 * n, covered_s=900.0, import_wh=250_000.0, market_per_mwh=80.0)
        for n in range(96)
        if n != 10
    ]
    bill = month_bill(tariff, BillingFacts(authorised_w=2_000_000), quarters, begin_s)
    assert bill is not None
    assert bill.import_wh == 95 * 250_000
    assert "0.25 h were not measured" in bill.missing[1]
    assert month_bill(tariff, BillingFacts(), [], begin_s) is None
    assert bill.total != "unknown", bill.missing
    assert float(bill.total) > 95 * 0.25 * 80


async def test_hashprice_is_computed_and_says_what_was_assumed() -> None:
    signals = Signals((), VirtualClock(NOW), "EUR")
    fixed = signals.hashprice(HashpriceSettings(per_ph_day=50.0, pool_fee=0.02, reject_share=0.0))
    assert fixed.per_ph_day == pytest.approx(49.0)
    none = signals.hashprice(HashpriceSettings())
    assert none.per_ph_day is None
    assert "no feed tells the coin's price" in none.text
    # facts of economics: 31,338 USD, D 14,363,025,673,659, fees 1.57 % gave 0.2787 USD/TH/day
    then = HashpriceSettings(
        coin_price=31_338,
        difficulty=14_363_025_673_659,
        fee_share=0.0157,
        subsidy_btc=6.25,
        pool_fee=0.0,
        reject_share=0.0,
    )
    computed = signals.hashprice(then)
    assert computed.per_ph_day == pytest.approx(278.7, abs=0.1)
    assert len(computed.assumptions) == 3


async def test_offline_the_typical_day_stands_in_and_is_said_to() -> None:
    feeds = msgspec.convert(
        [
            {
                "kind": "energy-charts",
                "name": "prices",
                "zone": "FR",
                "base_url": "http://127.0.0.1:9",
                "watch": {"when_stale": "typical"},
            }
        ],
        tuple[FeedSettings, ...],
    )
    signals = Signals(feeds, VirtualClock(NOW), "EUR")
    await signals.poll_all()
    series = await signals.series(Signal.PRICE, int(NOW) - 3_600, int(NOW) + 86_400)
    shown = signals.plotted(series)
    assert shown is not None
    assert shown.is_typical
    assert all(value is not None for value in shown.values)
    assert await signals.series(Signal.CARBON_AVERAGE, int(NOW), int(NOW) + 3_600) is None
    assert signals.feeds()[0].state == "silent"
    assert "typical day" in signals.feeds()[0].instead
    with pytest.raises(ConfigError, match="typical day"):
        Signals(
            msgspec.convert(
                [{"kind": "exchange", "name": "k", "watch": {"when_stale": "typical"}}],
                tuple[FeedSettings, ...],
            ),
            VirtualClock(NOW),
            "EUR",
        )
