"""Three truths, what is believed of them, and curves that have to earn their place."""

from __future__ import annotations

import random

import msgspec
import pytest

from hashwerk.fleet.learning import LearnedMode, Period, SteadyWatch
from hashwerk.fleet.machine import WorkState
from hashwerk.fleet.measure import (
    Basis,
    Effect,
    Measured,
    Verdict,
    Vote,
    believe_power,
    drop_by_meter,
    hashrate_claim,
    sleep_by_shares,
)
from hashwerk.fleet.modes import PointSource, published_points
from hashwerk.work.poisson import rate_interval
from support.fleet import TH, identity, reading

POINTS = published_points(identity())


def measured(rate_th: float | None = None, shares: int = 400, power_w: float | None = None) -> Measured:
    """Return what ``shares`` shares that show about so many TH/s say."""
    rate = None
    if rate_th is not None:
        rate = rate_interval({42: shares}, shares * 2.0**42 / (rate_th * TH) if shares else 600.0)
    return Measured(at=1000.0, hashrate=rate, window_s=600.0, power_w=power_w)


def test_a_meter_is_believed_before_the_machine() -> None:
    believed = believe_power(reading(power_w=700.0), measured(power_w=1_400.0), POINTS)
    assert (believed.power_w, believed.basis) == (1_400.0, Basis.METER)
    assert believed.doubt == "says it draws 700 W, but its meter shows 1,400 W"


def test_without_a_meter_its_word_counts_while_its_curve_bears_it_out() -> None:
    honest = believe_power(reading(power_w=1_350.0), measured(79.0), POINTS)
    assert (honest.power_w, honest.basis, honest.doubt) == (1_350.0, Basis.REPORTED, None)
    liar = believe_power(reading(power_w=702.0), measured(80.0), POINTS)
    assert liar.basis is Basis.CURVE
    assert liar.power_w == pytest.approx(1_403, rel=0.02)
    assert "what it does takes about" in liar.doubt
    half = believe_power(reading(power_w=702.0, hashrate_hs=40.3 * TH), measured(40.3), POINTS)
    assert half.basis is Basis.REPORTED, "half a machine draws half"


def test_chance_makes_nobody_a_liar() -> None:
    unlucky = believe_power(reading(power_w=1_403.0), measured(55.0, shares=25), POINTS)
    assert (unlucky.basis, unlucky.doubt) == (Basis.REPORTED, None), "25 shares tell 55 from 80 TH/s hardly"
    idle = believe_power(reading(power_w=1_403.0), measured(30.0, shares=200), POINTS)
    assert idle.doubt is not None, "200 shares tell 30 from 80 TH/s"


def test_who_is_just_starting_draws_before_it_hashes_and_is_no_liar() -> None:
    starting = reading(power_w=1_100.0, hashrate_hs=10 * TH)
    fresh = Measured(at=1000.0, is_settled=False)
    believed = believe_power(starting, fresh, POINTS)
    assert (believed.power_w, believed.basis, believed.doubt) == (1_100.0, Basis.REPORTED, None)
    assert believe_power(starting, Measured(at=1000.0), POINTS).doubt is not None, "it had its time"
    too_low = msgspec.structs.replace(starting, power_w=300.0, hashrate_hs=80 * TH)
    assert believe_power(too_low, fresh, POINTS).doubt is not None, "nobody hashes so much on so little"


def test_who_changes_mode_draws_and_hashes_as_before_for_a_while_and_is_no_liar() -> None:
    changing = reading(mode="Eco", power_w=1_300.0, hashrate_hs=76 * TH)
    believed = believe_power(changing, Measured(at=1000.0, is_settled=False), POINTS)
    assert (believed.power_w, believed.basis, believed.doubt) == (1_300.0, Basis.REPORTED, None)
    assert believe_power(changing, Measured(at=1000.0), POINTS).doubt is not None, "it had its time"


def test_missing_is_none() -> None:
    assert believe_power(None, None, POINTS).power_w is None
    nothing = believe_power(reading(power_w=None, mode="?"), None, ())
    assert (nothing.power_w, nothing.basis) == (None, Basis.NOTHING)
    curve = believe_power(reading(power_w=None), None, POINTS)
    assert (curve.power_w, curve.basis) == (1_403.0, Basis.CURVE)
    asleep = reading(state=WorkState.ASLEEP, power_w=None, hashrate_hs=0.0)
    assert believe_power(asleep, None, POINTS).power_w is None
    assert believe_power(asleep, None, POINTS, idle_w=146.0).power_w == 146.0


def test_a_claim_outside_the_interval_of_the_shares_is_told() -> None:
    assert hashrate_claim(reading(), measured(80.0)) is None
    assert "its shares show 40.0" in hashrate_claim(reading(), measured(40.0))
    assert hashrate_claim(reading(), measured(40.0, shares=5)) is None, "five shares accuse nobody"
    assert "at least" in hashrate_claim(reading(hashrate_hs=40 * TH), measured(80.0))
    assert hashrate_claim(reading(), None) is None


@pytest.mark.parametrize(
    ("machine", "shares", "meter", "verdict"),
    [
        (Vote.YES, Vote.YES, Vote.CANNOT_SAY, Verdict.CONFIRMED),
        (Vote.CANNOT_SAY, Vote.CANNOT_SAY, Vote.YES, Verdict.CONFIRMED),
        (Vote.YES, Vote.CANNOT_SAY, Vote.CANNOT_SAY, Verdict.CLAIMED),
        (Vote.YES, Vote.NO, Vote.CANNOT_SAY, Verdict.CONTRADICTED),
        (Vote.YES, Vote.YES, Vote.NO, Verdict.CONTRADICTED),
        (Vote.NO, Vote.YES, Vote.CANNOT_SAY, Verdict.CONTRADICTED),
        (Vote.NO, Vote.CANNOT_SAY, Vote.CANNOT_SAY, Verdict.CONTRADICTED),
        (Vote.CANNOT_SAY, Vote.CANNOT_SAY, Vote.CANNOT_SAY, Verdict.OPEN),
    ],
)
def test_measurements_come_before_words(machine: Vote, shares: Vote, meter: Vote, verdict: Verdict) -> None:
    assert Effect(machine=machine, shares=shares, meter=meter).verdict is verdict


def test_silence_proves_sleep_only_when_it_is_long_enough() -> None:
    before_hs = 80.7 * TH
    a_share_s = 2.0**46 / before_hs
    for missing, vote in ((3.0, Vote.CANNOT_SAY), (8.0, Vote.YES)):
        rate = rate_interval({46: 0}, missing * a_share_s)
        assert sleep_by_shares(rate, before_hs) is vote
    assert sleep_by_shares(rate_interval({46: 60}, 60 * a_share_s), before_hs) is Vote.NO
    assert sleep_by_shares(None, before_hs) is Vote.CANNOT_SAY


def test_a_meter_says_nothing_within_its_noise() -> None:
    assert drop_by_meter(1_400.0, 60.0, 1_340.0, 25.0) is Vote.YES
    assert drop_by_meter(1_400.0, 1_390.0, 1_340.0, 25.0) is Vote.NO
    assert drop_by_meter(100.0, 90.0, 40.0, 25.0) is Vote.CANNOT_SAY
    assert drop_by_meter(None, 60.0, 1_340.0, 25.0) is Vote.CANNOT_SAY


def look(watch: SteadyWatch, now: float, power_w: float | None = 1_400.0, **changes) -> Period | None:
    values = {"steady": True, "mode": "Eco", "inlet_c": 20.0, "shares": int(now / 10), "work": now * 1e12}
    return watch.add(now, power_w=power_w, **(values | changes))


def test_a_steady_period_takes_fifteen_minutes_without_a_stir() -> None:
    watch = SteadyWatch()
    periods = [look(watch, float(at)) for at in range(0, 2_000, 10)]
    found = [period for period in periods if period is not None]
    assert len(found) == 2
    assert found[0].end - found[0].start == 900.0
    assert found[0].power_w == 1_400.0
    assert found[0].inlet_c == 20.0
    assert found[0].work == pytest.approx(900e12)
    assert found[0].shares == 90


@pytest.mark.parametrize(
    "stir",
    [
        {"power_w": 1_100.0},
        {"power_w": None},
        {"steady": False},
        {"mode": "Super"},
    ],
)
def test_whatever_stirs_begins_the_period_anew(stir: dict) -> None:
    watch = SteadyWatch()
    for at in range(0, 800, 10):
        assert look(watch, float(at)) is None
    look(watch, 800.0, **stir)
    assert all(look(watch, float(at)) is None for at in range(810, 1_700, 10))


def learned(rng: random.Random, periods: int, *, noise: float = 0.004, shares: int = 90) -> LearnedMode:
    mode = LearnedMode(mode="Eco")
    for number in range(periods):
        inlet_c = 15.0 + 20.0 * rng.random()
        true_w = 850.0 * (1 + 0.0015 * (inlet_c - 25.0))
        mode.add(
            Period(
                mode="Eco",
                start=number * 1_000.0,
                end=number * 1_000.0 + 900.0,
                power_w=rng.gauss(true_w, noise * true_w),
                inlet_c=inlet_c,
                shares=shares,
                work=900.0 * 54.2e12,
            )
        )
    return mode


def test_a_curve_has_to_earn_its_place() -> None:
    rng = random.Random(4)
    assert learned(rng, 3).missing(3_000.0) == "3 of 4 steady periods"
    assert "hash rate rests on 360 shares" in learned(rng, 4).missing(4_000.0)
    mode = learned(rng, 24)
    point = mode.point(25_000.0)
    assert point.source is PointSource.LEARNED
    assert point.power_w == pytest.approx(850.0, rel=0.01)
    assert point.power_w_per_k == pytest.approx(0.0015 * 850, rel=0.35)
    assert point.power_at_w(35.0) > point.power_w
    assert point.hashrate_hs == pytest.approx(54.2e12)
    assert mode.point(25_000.0 + 100 * 86_400) is None, "what is old loses its place"
    assert "±3% is needed" in learned(rng, 5, noise=0.12, shares=2_000).missing(6_000.0)


def test_the_air_is_not_taken_for_the_machine() -> None:
    cold = learned(random.Random(1), 0)
    for number in range(20):  # a winter: all periods at 5 °C
        cold.add(
            Period(
                mode="Eco",
                start=number * 1_000.0,
                end=number * 1_000.0 + 900.0,
                power_w=850.0 * (1 - 0.0012 * 20),
                inlet_c=5.0,
                shares=200,
                work=900.0 * 54.2e12,
            )
        )
    assert cold.point(20_000.0).power_w == pytest.approx(850.0, rel=0.005)
