"""From recorded days to the words, bars, charts and rows of *Now* and *Energy*."""

from __future__ import annotations

import datetime
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from hashwerk.clock import VirtualClock
from hashwerk.config.site import parse_site
from hashwerk.energy.sources import RULES
from hashwerk.errors import StoreError
from hashwerk.site.energy.view import EnergyView, FeedView, GroupPlan, Moments, SeriesView, SourcePower
from hashwerk.web.board import Board
from hashwerk.web.energy_charts import (
    MOST_STRIPS,
    chart_height,
    day_chart,
    energy_chart,
    night_spans,
    strips_pane,
)
from hashwerk.web.energy_frames import ahead_words, energy_frame, power_bar
from hashwerk.web.energy_words import format_energy, format_money, format_price, true_minus
from hashwerk.web.history import History
from hashwerk.web.open_alerts import alerts_frame
from hashwerk.web.pages import energy as page
from hashwerk.web.state import MineView, Site

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="NO ../shared/data: no recorded day to show")
#: 11 May 2025, 07:30 UTC in the recorded days of `energy_site`.
NOW = 1_750_000_000.0 // 86_400 * 86_400 + 7.5 * 3_600


@pytest.fixture(scope="module")
def energy_site() -> ModuleType:
    path = Path(__file__).parents[2] / "e2e" / "energy_site.py"
    spec = importlib.util.spec_from_file_location("energy_site", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["energy_site"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def view_of(energy_site: ModuleType) -> Callable[[str], EnergyView]:
    return lambda case: energy_site.RecordedEnergy(VirtualClock(NOW), case).view()


def series(*values: float | None, forecast_from_s: float | None = None) -> SeriesView:
    starts = tuple(int(NOW) + 3_600 * (number - 1) for number in range(len(values)))
    return SeriesView(
        name="price",
        unit="EUR/MWh",
        source="test",
        resolution_s=3_600,
        starts_s=starts,
        values=values,
        forecast_from_s=forecast_from_s,
    )


def line(options: dict[str, Any], name: str) -> list[list[float | None]]:
    return next(one["data"] for one in options["series"] if one["name"] == name)


def test_a_day_is_told_in_words(view_of):
    frame = energy_frame(view_of("rich"))
    assert frame["energy.sentence"].startswith("All 500 machines run: price")
    assert frame["energy.price.next"] == "ahead: lowest −250.32 in 4 h, highest 141.15 in 22 h"
    assert frame["energy.power.setpoint"].endswith("+0.4 % off")
    assert frame["energy.margin"].startswith("+")
    assert frame["energy.clean.rule"] == "rule own-first/1, declared before the period"
    (rule,) = frame["rows.energy.clean.rules"]
    assert rule["c"][1]["e"] < rule["c"][0]["e"], "declared before it holds"
    assert rule["c"][2:] == [
        "own-first/1",
        f"{RULES['own-first/1']} Sources: roof (own, solar), engine (own, gas).",
        "IPCC 2014, life cycle",
    ]
    clean_hours = frame["rows.energy.clean.hours"]
    assert clean_hours[0]["c"][1:] == [
        "1,205.100",
        "grid 703.000, roof 412.000, engine 90.100",
        "215",
        "own-first/1",
    ]
    assert clean_hours[2]["c"][2].endswith("engine 90.100; 15 min were not measured")
    assert frame["energy.bill"] == "50,466.34"
    assert (frame["energy.order.state"], frame["energy.controls"]) == ("", "none")
    rows = frame["rows.energy.groups"]
    assert rows[2]["c"][:3] == ["S19j Pro, C", {"t": "● runs", "c": "violet"}, {"t": "150 of 150", "s": 150}]
    hours = frame["rows.energy.hours"]
    assert [row["k"] % 3_600 for row in hours[1:]] == [0.0] * (len(hours) - 1)
    assert len(hours) > 24


def test_what_is_not_known_is_never_zero(view_of):
    frame = energy_frame(view_of("bare"))
    for key in ("price", "margin", "power", "clean", "hashprice"):
        assert frame[f"energy.{key}"] == "–", key
    assert frame["energy.margin.cost"] == "what it burns is not known"
    for key in ("price", "carbon", "plan", "bill", "clean", "hashprice"):
        assert frame[f"energy.{key}.none"] == "", key  # the hint is shown
    assert frame["energy.order.state"] == "none"
    assert "controls = true in [dispatch]" in frame["energy.dry"]


def test_a_silent_feed_is_no_missing_one(view_of):
    feed = FeedView(
        name="FR", state="silent", text="FR cannot be asked", instead="plans use nothing in its place"
    )
    view = msgspec.structs.replace(view_of("rich"), carbon=None, feeds=(feed,))
    frame = energy_frame(view)
    assert frame["energy.carbon.none"] == "none"
    assert frame["energy.unknown"] == "Carbon is not known now: feeds and meters below say why."
    assert frame["rows.energy.feeds"][0]["c"][4] == "nothing"
    (row, *_) = alerts_frame([], None, view)["rows.open_alerts"][-1:]
    assert row["c"][2] == "Feed FR is silent: cannot be asked; plans do without it"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("[Errno -2] Name or service not known", "its host is not found (no network, or a wrong name)"),
        (
            "[Errno 8] nodename nor servname provided, or not known",
            "its host is not found (no network, or a wrong name)",
        ),
        ("[Errno 111] Connection refused", "Connection refused"),
    ],
)
def test_a_feed_that_cannot_be_reached_is_no_errno(view_of, said, shown):
    feed = FeedView(name="FR", state="silent", text=f"FR cannot be asked for /price: {said}")
    frame = energy_frame(msgspec.structs.replace(view_of("rich"), feeds=(feed,)))
    assert frame["rows.energy.feeds"][0]["c"][3] == f"FR cannot be asked for /price: {shown}"


def test_without_energy_the_frame_says_so():
    assert energy_frame(None) == {"energy.shown": "none", "energy.empty": ""}


def test_a_typical_day_and_a_simulation_are_said(view_of):
    frame = energy_frame(view_of("typical"))
    assert (
        frame["energy.typical"] == "Typical day: prices and carbon are the means of the month, not today's."
    )
    assert frame["energy.hatch"] == "hatched-ground"
    chart = energy_chart(view_of("typical").price, None, None, None, NOW)
    assert chart["title"][0]["text"] == "Price, EUR/MWh, typical day of the month"


def test_an_uneasy_stance_says_why(view_of):
    view = msgspec.structs.replace(view_of("rich"), stance="keep", reasons=("the price is 3 h old",))
    frame = energy_frame(view)
    assert frame["energy.stance"] == "Machines stay as they are: the price is 3 h old."
    assert (frame["energy.glyph"], frame["energy.state"]) == ("▲", "attention")


def test_power_stands_by_source_the_cleanest_first():
    bar = power_bar(
        (
            SourcePower(name="engine", fuel="gas", is_clean=False, power_w=100e3),
            SourcePower(name="grid", fuel="mix", is_clean=None, power_w=500e3),
            SourcePower(name="weir", fuel="hydro", is_clean=True, power_w=400e3),
            SourcePower(name="roof", fuel="solar", is_clean=True, power_w=0.0),
        ),
        750e3,
    )
    assert [(part["name"], part["c"], part["share"]) for part in bar["parts"]] == [
        ("weir, hydro", "clean", "40 %"),
        ("grid, mix", "mix", "50 %"),
        ("engine, gas", "fossil", "10 %"),
    ]
    # The set-point is one of the import: 750 kW on top of 500 kW of one's own make the whole bar.
    assert bar["setpoint"] == 100.0
    assert sum(part["width"] for part in bar["parts"]) == pytest.approx(80.0)
    assert power_bar((), None) == {"parts": [], "setpoint": None}


def test_alerts_of_all_parts_stand_oldest_first(view_of):
    view = view_of("rich")
    view = msgspec.structs.replace(
        view, meters=(FeedView(name="site", state="silent", text="it is silent", since_s=NOW - 60),)
    )
    frame = alerts_frame([(NOW - 5_000, "disk is 91 % full")], None, view)
    assert [row["c"][2].partition(":")[0] for row in frame["rows.open_alerts"]] == [
        "Feed carbon is stale",
        "disk is 91 % full",
        "Order event-7",
        "Meter site is silent",
    ]
    assert frame["open_alerts.brief"] == "▲ 4 open alerts"
    assert alerts_frame([], None, None)["open_alerts.state"] == "none"


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (-500.0, "−500.00"), (9_000.0, "9,000.00"), (0.0, "0.00")]
)
def test_prices_are_told_as_they_are(value, text):
    assert format_price(value) == text


def test_money_and_energy_have_their_units():
    assert format_money("-1234.5", signed=True) == "−1,234.50"
    assert format_money("12", signed=True) == "+12.00"
    assert (format_money(None), format_money("unknown")) == ("–", "unknown")
    assert [format_energy(wh) for wh in (12, 1_234, 512_400_000, 3_000_000_000)] == [
        "12 Wh",
        "1.234 kWh",
        "512.4 MWh",
        "3 GWh",
    ]


def test_nothing_ahead_is_said():
    assert ahead_words(series(5.0, 6.0), NOW + 86_400) == "nothing is known of the hours to come"


def test_all_plots_share_one_axis_of_time(view_of, energy_site):
    view = view_of("rich")
    chart = energy_chart(view.price, view.carbon, view.plan, None, NOW)
    assert [title["text"].partition(",")[0] for title in chart["title"]] == [
        "Price",
        "Carbon of the grid",
        "Plan by group: height is the part that runs",
        "Power from the grid",
    ]
    assert len({(axis["min"], axis["max"]) for axis in chart["xAxis"]}) == 1
    assert len({(grid["left"], grid["right"]) for grid in chart["grid"]}) == 1
    tops = [grid["top"] for grid in chart["grid"]]
    assert tops == sorted(tops)
    assert chart_height(chart) > tops[-1]
    assert energy_chart(None, None, None, None, NOW) == {} == day_chart(None, None, NOW)
    assert chart_height({}) == 0


def test_power_is_stacked_by_source_clean_lowest(view_of):
    view = view_of("rich")
    moments = Moments(
        at_s=(NOW - 180, NOW - 120, NOW - 60),
        measured_w=(1_000.0, None, 1_200.0),
        setpoint_w=(None, None, None),
        price_per_mwh=(None, None, None),
        hashrate_hs=(None, None, None),
        sources={"engine": (90.0, 90.0, 0.0), "roof": (200.0, 210.0, None)},
    )
    chart = day_chart(view.price, None, NOW, moments=moments, sources=view.sources)
    assert chart["title"][-1]["text"] == "Power by source: grid over engine over clean"
    layers = [one for one in chart["series"] if one.get("stack") == "sources"]
    assert [(one["name"], one["areaStyle"]["color"]) for one in layers] == [
        ("roof, W", "var(--teal)"),
        ("engine, W", "var(--brown)"),
        ("Grid, W", "var(--blue)"),
    ]
    # Where the grid is not known no layer stands; each value holds to its interval's end.
    assert [value for _, value in layers[0]["data"]] == [200.0, None, None, None, None]
    assert [value for _, value in layers[1]["data"]] == [90.0, None, 0.0, 0.0, None]
    assert layers[2]["data"][-2] == [int(NOW * 1000), 1_200.0]


def test_minus_signs_are_those_of_figures():
    text = "All 5 run: price -18.5 €/MWh is below 3; until 2026-11-23, level -2"
    assert true_minus(text) == "All 5 run: price −18.5 €/MWh is below 3; until 2026-11-23, level −2"


def test_extreme_prices_stand_in_the_plot(view_of):
    view = view_of("extreme")
    chart = energy_chart(view.price, None, None, None, NOW)
    drawn = [
        value for name in ("Price, EUR/MWh", "Price forecast, EUR/MWh") for _, value in line(chart, name)
    ]
    known = [value for value in drawn if value is not None]
    assert (min(known), max(known)) == (-500.0, max(value for value in view.price.values))
    assert max(known) > 7_000
    assert {value for _, value in line(chart, "below zero") if value is not None} == {0.0, -500.0}
    assert "max" not in chart["yAxis"][0]


def test_a_gap_is_a_gap_and_a_forecast_another_line():
    chart = day_chart(series(10.0, None, 30.0, 40.0, forecast_from_s=NOW + 7_200), None, NOW)
    ms = int(NOW * 1_000)
    hour = 3_600_000
    assert line(chart, "Price, EUR/MWh") == [
        [ms - hour, 10.0],
        [ms, 10.0],
        [ms, None],
        [ms + hour, 30.0],
        [ms + 2 * hour, 30.0],
        [ms + 2 * hour, None],
    ]
    assert line(chart, "Price forecast, EUR/MWh") == [
        [ms + 2 * hour, 40.0],
        [ms + 3 * hour, 40.0],
        [ms + 3 * hour, None],
    ]
    dashes = [one["lineStyle"]["type"] for one in chart["series"] if one["name"].startswith("Price")]
    assert dashes == ["solid", "dashed"]


def test_only_missing_values_draw_nothing():
    assert day_chart(series(None, None), None, NOW) == {}


def test_strips_join_what_is_alike_and_leave_out_the_smallest(view_of):
    plan = view_of("rich").plan
    pane = strips_pane(plan, NOW, NOW + 86_400)
    assert len(pane.series[0]["data"]) < len(plan.starts_s) / 2
    assert {row for _, _, row, _ in pane.series[0]["data"]} <= {0, 1, 2, 3}
    assert all(0.0 <= share <= 1.0 for *_, share in pane.series[0]["data"])
    many = tuple(
        GroupPlan(
            name=f"g{number}", running=plan.groups[0].running, power_w=(float(number),) * len(plan.starts_s)
        )
        for number in range(MOST_STRIPS + 5)
    )
    pane = strips_pane(msgspec.structs.replace(plan, groups=many), NOW, NOW + 86_400)
    assert pane.axis["data"] == [f"g{number}" for number in range(5, MOST_STRIPS + 5)]
    assert "5 smaller groups" in pane.title


def test_nights_are_local_and_know_of_summer_time():
    zone = ZoneInfo("Europe/Berlin")
    start = datetime.datetime(2025, 3, 29, 12, tzinfo=zone).timestamp()
    (first, last), _ = night_spans(start, start + 2 * 86_400, zone)
    assert datetime.datetime.fromtimestamp(first, zone).hour == 22
    assert datetime.datetime.fromtimestamp(last, zone).hour == 6
    assert last - first == 7 * 3_600  # the clock is put forward that night


@pytest.mark.parametrize(
    "lines",
    [
        page.PRICE_LINES,
        page.CARBON_LINES,
        page.OFFLINE_LINES,
        page.HASHPRICE_LINES,
        page.DIFFICULTY_LINES,
    ],
)
def test_the_lines_that_pages_name_are_understood(lines):
    assert parse_site(lines + "\n") != parse_site("")


async def test_the_board_sends_charts_only_when_they_change(energy_site, clock: VirtualClock, view: MineView):
    energy = energy_site.RecordedEnergy(clock)
    board = Board(view, History(None, clock), clock, Site(energy=energy))
    sent: list[dict[str, Any]] = []
    board.join(sent.append)
    await board.refresh()
    assert board.frame["chart.energy.whole"]["series"]
    assert board.frame["energy.shown"] == ""
    for _ in range(5):
        sent.clear()
        clock.advance(2.0)
        await board.refresh()
        assert not any(key.startswith("chart.energy") for changes in sent for key in changes)
    clock.advance(61.0)
    await board.refresh()
    assert any("chart.energy.whole" in changes for changes in sent)


async def test_a_record_that_cannot_be_read_is_said(energy_site, clock: VirtualClock, view: MineView):
    energy = energy_site.RecordedEnergy(clock)

    async def fails(*_: float) -> None:
        raise StoreError("the record is locked")

    energy.history = fails
    board = Board(view, History(None, clock), clock, Site(energy=energy))
    board.join(lambda changes: None)
    await board.refresh()
    assert board.frame["history.trouble"] == "History cannot be read now: the record is locked"
    assert board.frame["energy.sentence"]
