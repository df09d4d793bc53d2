"""Who could know what, and when."""

from __future__ import annotations

import datetime

import numpy as np
import pytest

from hashwerk.dispatch.backtest.history import History, NotYetPublishedError, Published, publication_times
from hashwerk.dispatch.backtest.leak import find_leak
from hashwerk.dispatch.backtest.run import make_policy, refuse_leaks
from hashwerk.dispatch.backtest.scenario import PRICE, Scenario
from hashwerk.dispatch.backtest.settings import BatterySettings, PublicationSettings
from hashwerk.dispatch.enforce import keep_limits
from hashwerk.dispatch.grid import uniform_grid
from hashwerk.dispatch.merit import merit_order
from hashwerk.dispatch.policies.optimiser import Optimiser
from hashwerk.dispatch.policies.port import Policy
from hashwerk.dispatch.problem import Problem
from hashwerk.dispatch.schedule import Schedule
from hashwerk.errors import DispatchError
from support.backtests import START_S, machines, scenario, waves

DAY_S = 86_400.0


def utc(*parts: int) -> float:
    return datetime.datetime(*parts, tzinfo=datetime.UTC).timestamp()  # type: ignore[arg-type]


def test_a_day_ahead_price_is_known_at_a_local_time_before_the_local_day() -> None:
    # On 30 March 2025 the clocks in Berlin went forward: the local day has 23 hours.
    grid = uniform_grid(utc(2025, 3, 29, 22), 3_600.0, 30)
    known = publication_times(grid, PublicationSettings(at="13:00", zone="Europe/Berlin"))
    by_start = dict(zip(grid.starts_s.tolist(), known.tolist(), strict=True))
    assert by_start[utc(2025, 3, 29, 22)] == utc(2025, 3, 28, 12)
    assert by_start[utc(2025, 3, 29, 23)] == utc(2025, 3, 29, 12)  # midnight in Berlin
    assert by_start[utc(2025, 3, 30, 21)] == utc(2025, 3, 29, 12)
    assert by_start[utc(2025, 3, 30, 22)] == utc(
        2025, 3, 30, 11
    )  # summer time: midnight is an hour earlier, 13:00 as well


def test_a_real_time_price_is_known_after_its_interval() -> None:
    grid = uniform_grid(0.0, 900.0, 3)
    after = PublicationSettings(kind="after", lag_min=5)
    assert publication_times(grid, after).tolist() == [1_200, 2_100, 3_000]
    hourly = publication_times(uniform_grid(0.0, 900.0, 5), PublicationSettings(kind="after"), 3_600.0)
    assert hourly.tolist() == [3_600, 3_600, 3_600, 3_600, 7_200]


def test_an_unknown_zone_is_said() -> None:
    with pytest.raises(DispatchError, match="Europe/Atlantis"):
        publication_times(uniform_grid(0.0, 900.0, 3), PublicationSettings(zone="Europe/Atlantis"))


def make_history() -> History:
    grid = uniform_grid(0.0, 900.0, 4)
    values = np.array([10.0, 20.0, np.nan, 40.0])
    return History(grid, {"p": Published("p", values, np.array([0.0, 1_800.0, 0.0, 2_700.0]))})


def test_a_view_refuses_what_was_not_yet_published() -> None:
    view = make_history().at(900.0)
    assert view.value("p", 0) == 10.0
    with pytest.raises(
        NotYetPublishedError, match="published at 1970-01-01T00:30Z and asked for at 1970-01-01T00:15Z"
    ):
        view.value("p", 1)
    assert np.isnan(view.known("p", 0, 4)).tolist() == [False, True, True, True]


def test_a_late_value_is_bridged_by_the_last_known_one_and_a_missing_one_is_not() -> None:
    known = make_history().as_known("p")
    assert known[[0, 1, 3]].tolist() == [10.0, 10.0, 40.0]
    assert np.isnan(known[2])


def test_what_is_expected_is_the_same_time_of_the_last_known_day_and_a_difference_that_fades() -> None:
    grid = uniform_grid(0.0, 3_600.0, 96)
    daily = np.tile(np.arange(24.0), 4)
    values = daily + np.where(
        np.arange(96) == 47, 10.0, 0.0
    )  # the last known value is 10 above the day before
    history = History(grid, {"p": Published("p", values, np.where(np.arange(96) < 48, 0.0, 1e9))})
    expected = history.at(30 * 3_600.0).expected("p", 46, 58, daily=True)
    assert expected[:2].tolist() == [22.0, 33.0]
    fading = 10 * np.exp(-np.arange(1, 11) / 2)
    np.testing.assert_allclose(expected[2:], daily[48:58] + fading)
    assert history.at(30 * 3_600.0).expected("p", 46, 50, daily=False).tolist() == [22, 33, 33, 33]
    assert (
        history.at(-1.0).known("p", 0, 96).size
        == np.isnan(history.at(-1.0).expected("p", 0, 96, daily=True)).sum()
    )


def test_one_odd_day_is_not_what_is_usual() -> None:
    grid = uniform_grid(0.0, 3_600.0, 24 * 9)
    values = np.tile(np.arange(24.0), 9)
    values[24 * 6 : 24 * 7 - 1] = 500.0  # yesterday, all but the last hour
    history = History(grid, {"p": Published("p", values, np.where(np.arange(24 * 9) < 24 * 7, 0.0, 1e9))})
    expected = history.at(0.0).expected("p", 24 * 7, 24 * 8, daily=True)
    np.testing.assert_allclose(expected, np.arange(24.0))
    # Of the first days there are fewer before: the middle of what there is, by day and hour.
    early = History(grid, {"p": Published("p", values, np.where(np.arange(24 * 9) < 30, 0.0, 1e9))})
    np.testing.assert_allclose(
        early.at(0.0).expected("p", 30, 60, daily=True), values[(np.arange(30, 60) % 24)], atol=1e-9
    )


class Peeking:
    """Runs in the next hour's price instead of this one's, taken from behind the history's back."""

    name = "peeking"
    looks_ahead = False

    def __init__(self, scenario: Scenario) -> None:
        self._future = np.roll(scenario.history.settled(PRICE), -4)

    def plan(self, problem: Problem) -> Schedule:
        order = merit_order(problem)
        want = order.available(problem) * (self._future < 75)[None, :]
        return keep_limits(problem, want, order=order)


class PeekingAhead(Optimiser):
    """An optimiser that knows tomorrow before the auction."""

    name = "peeking ahead"

    def __init__(self, scenario: Scenario) -> None:
        super().__init__()
        self._scenario = scenario

    def plan(self, problem: Problem) -> Schedule:
        from dataclasses import replace

        places = np.searchsorted(self._scenario.grid.starts_s, problem.grid.starts_s)
        return super().plan(replace(problem, buy_per_mwh=self._scenario.history.settled(PRICE)[places]))


REAL_TIME = PublicationSettings(kind="after")


def test_a_planted_leak_is_found() -> None:
    replayed = scenario(waves(96 * 4), publication=REAL_TIME)
    leak = find_leak(replayed, Peeking, [START_S + 1.5 * DAY_S, START_S + 2 * DAY_S])
    assert leak is not None
    assert leak.policy == "peeking"
    assert "peeking knew at" in str(leak)


def test_a_leak_planted_in_a_rolling_policy_is_found() -> None:
    # A battery of many hours: what tomorrow costs matters today.
    battery = BatterySettings(capacity_kwh=600, power_kw=40)
    replayed = scenario(waves(96 * 4, 3), battery=battery)
    cuts = [START_S + hours * 3_600 for hours in (10.9, 21.9, 34.9, 45.9, 58.9)]
    leak = find_leak(replayed, PeekingAhead, cuts)
    assert leak is not None
    assert leak.decided_s < leak.cut_s
    assert find_leak(replayed, lambda _: Optimiser(), cuts) is None


@pytest.mark.parametrize("publication", [REAL_TIME, PublicationSettings(at="13:00", zone="Europe/Berlin")])
@pytest.mark.parametrize("name", ["always on", "one strike", "marginal strike", "clean only", "surplus only"])
def test_none_of_ours_leaks(name: str, publication: PublicationSettings) -> None:
    coupled = [machines(min_on_s=1_800.0, min_off_s=1_800.0, starts_per_day=3)]
    sun_kw = np.maximum(0.0, np.sin(np.arange(96 * 3) / 96 * 2 * np.pi - 1.5)) * 40
    replayed = scenario(waves(96 * 3, 5), groups=coupled, publication=publication, local_kw=sun_kw)

    def make(_: Scenario) -> Policy:
        return make_policy(name, replayed.settings)  # type: ignore[arg-type]

    assert find_leak(replayed, make, [START_S + 0.7 * DAY_S, START_S + 1.6 * DAY_S]) is None
    refuse_leaks(replayed, name)  # type: ignore[arg-type]
