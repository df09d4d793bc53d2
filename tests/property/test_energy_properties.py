"""What holds of series, shares and bills whatever the numbers."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hashwerk.energy.apportion import apportion
from hashwerk.energy.factors import Fuel
from hashwerk.energy.published import PublishedSeries
from hashwerk.energy.series import Aggregate, Quality, SeriesInfo, make_series
from hashwerk.energy.sources import RULES, Attribution, Declaration, Flows, Source, SourceKind

WH = st.integers(0, 10**9)


@given(st.integers(0, 10**12), st.lists(WH, min_size=1, max_size=8))
def test_shares_sum_up_and_nobody_gets_more_than_he_has(total, weights):
    by_name = dict(enumerate(weights))
    whole = sum(weights)
    if whole == 0:
        total = 0
    shares = apportion(min(total, whole), by_name)
    assert sum(shares.values()) == min(total, whole)
    assert all(0 <= shares[name] <= by_name[name] for name in by_name)


@settings(max_examples=60)
@given(
    st.sampled_from(sorted(RULES)),
    st.lists(st.tuples(WH, WH, WH, WH, WH, WH), min_size=1, max_size=6),
)
def test_attributed_energy_is_the_load_and_no_source_exceeds_its_meter(rule, rows):
    sources = (
        Source(name="sun", kind=SourceKind.OWN, fuel=Fuel.SOLAR),
        Source(name="river", kind=SourceKind.OWN, fuel=Fuel.HYDRO),
        Source(name="ppa", kind=SourceKind.CONTRACT, fuel=Fuel.WIND),
    )
    declaration = Declaration(rule=rule, start_s=0, stop_s=10**6, declared_s=0)
    attribution = Attribution(declaration, sources)
    seen = {"sun": 0, "river": 0, "ppa": 0}
    given_out = dict.fromkeys(seen, 0)
    for number, (load, sun, river, ppa, charge, discharge) in enumerate(rows):
        result = attribution.attribute(
            Flows(
                start_s=number * 900,
                stop_s=(number + 1) * 900,
                load_wh=load,
                own_wh={"sun": sun, "river": river},
                contract_wh={"ppa": ppa},
                charge_wh=charge,
                discharge_wh=discharge,
            )
        )
        assert sum(result.by_source.values()) == load
        for name, wh in (("sun", sun), ("river", river), ("ppa", ppa)):
            seen[name] += wh
            given_out[name] += result.by_source.get(name, 0) + result.surplus_wh.get(name, 0)
            assert given_out[name] <= seen[name]


VALUES = st.one_of(st.none(), st.floats(-500, 9_000))


@settings(max_examples=60)
@given(st.lists(VALUES, min_size=1, max_size=40), st.sampled_from([300, 450, 900, 1_800, 3_600, 7_200]))
def test_sums_are_kept_and_means_stay_within_their_parts(values, resolution_s):
    for aggregate in Aggregate:
        info = SeriesInfo(name="x", unit="u", resolution_s=900, source="test", aggregate=aggregate)
        series = make_series(info, np.arange(len(values)) * 900, values, published_s=0)
        other = series.resample(resolution_s)
        assert np.isfinite(other.values).all()
        assert (other.values[~other.known] == 0).all()
        known = [value for value in values if value is not None]
        if aggregate is Aggregate.MEAN and other.known.any():
            assert other.values[other.known].min() >= min(known) - 1e-9
            assert other.values[other.known].max() <= max(known) + 1e-9
        if aggregate is Aggregate.SUM and other.known.all() and len(known) == len(values):
            assert np.isclose(other.values.sum(), sum(known))


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(-30, 30), st.floats(-500, 9_000)), max_size=40),
    st.integers(-40, 40),
)
def test_a_view_holds_the_last_word_said_by_then_and_nothing_later(rows, now):
    info = SeriesInfo(name="x", unit="u", resolution_s=900, source="test")
    series = PublishedSeries(
        info,
        np.array([row[0] * 900 for row in rows], dtype=np.int64),
        np.array([row[2] for row in rows], dtype=np.float64),
        np.full(len(rows), int(Quality.MEASURED), dtype=np.uint8),
        np.array([row[1] for row in rows], dtype=np.int64),
    )
    expected: dict[int, tuple[int, float]] = {}
    for slot, moment, value in rows:
        if moment <= now and (slot not in expected or moment >= expected[slot][0]):
            expected[slot] = (moment, value)
    view = series.as_of(now)
    assert [int(start) // 900 for start in view.starts_s] == sorted(expected)
    assert [float(value) for value in view.values] == [expected[slot][1] for slot in sorted(expected)]


@given(st.lists(st.integers(0, 10**7), min_size=96, max_size=96))
@settings(max_examples=25, deadline=None)
def test_a_bill_of_blocks_is_the_same_as_its_parts(wh):
    from hashwerk.energy.bill import make_bill
    from hashwerk.energy.tariff import load_tariff
    from hashwerk.energy.usage import Usage

    usage = Usage(start_s=1_717_214_400, interval_s=900, import_wh=np.array(wh, dtype=np.int64))
    bill = make_bill(load_tariff("hydro-quebec-cb-medium"), usage)
    kwh = Decimal(sum(wh)) / 1_000
    first = min(kwh, Decimal(7_000))  # 210,000 in 30 days
    exact = first * Decimal("0.05851") + (kwh - first) * Decimal("0.04339")
    exact += Decimal(max(wh)) * 4 / 1_000 * Decimal("16.962") / 30
    assert abs(bill.total - exact) <= Decimal("0.015")
    assert bill.total == sum(line.amount for line in bill.lines)
