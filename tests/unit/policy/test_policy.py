"""Rules of places: the records are sound, and what they say of a site in an hour is what facts and dates say."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

import pytest

from hashwerk.policy.answer import SiteFacts
from hashwerk.policy.engine import RuleBook
from hashwerk.policy.records import load_rules, read_rules, shipped_rules
from hashwerk.policy.rule import Confidence, PolicyError


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def site(*places: str, power_kw: str = "10000", **facts: object) -> SiteFacts:
    return SiteFacts(places=places, power_kw=Decimal(power_kw), **facts)


@pytest.fixture(scope="module")
def book() -> RuleBook:
    return RuleBook(shipped_rules())


def test_every_record_names_its_source_and_how_sure_it_is(book):
    assert len(book.rules) == 18
    for rule in book.rules:
        assert rule.source
        assert rule.confidence in Confidence


def test_changji_stops_at_two_in_the_afternoon(book):
    mine = site("CN", "CN-XJ", "CN-XJ/Changji", connected=date(2019, 1, 1))
    assert book.answer(mine, at("2021-06-09T13:59:59+08:00")).may_run
    stopped = book.answer(mine, at("2021-06-09T14:00:00+08:00"))
    assert not stopped.may_run
    assert "Changji" in stopped.reasons[0].text


def test_the_rest_of_the_province_is_not_bound_by_a_prefecture(book):
    mine = site("CN", "CN-XJ", connected=date(2019, 1, 1))
    assert book.answer(mine, at("2021-06-10T12:00+08:00")).may_run


def test_a_rule_for_new_projects_binds_new_ones_only(book):
    moment = at("2021-10-01T00:00+08:00")
    assert not book.answer(site("CN", connected=date(2021, 9, 24)), moment).may_run
    assert book.answer(site("CN", connected=date(2021, 9, 23)), moment).may_run


def test_who_may_be_bound_and_does_not_know_it_is_told(book):
    answer = book.answer(site("CN"), at("2021-10-01T00:00+08:00"))
    assert answer.may_run
    assert "depends on when the site was connected" in answer.unknown[0]


def test_yunnan_binds_private_lines(book):
    moment = at("2021-07-01T00:00+08:00")
    assert not book.answer(site("CN-YN", connection="private line"), moment).may_run
    assert book.answer(site("CN-YN", connection="grid"), moment).may_run


def test_sichuan_costs_two_yuan_more(book):
    answer = book.answer(site("CN-SC"), at("2023-01-01T00:00+08:00"))
    assert answer.extra_per_kwh("CNY") == 2
    assert answer.extra_per_kwh("KZT") == 0


class TestKazakhstan:
    WEEK = tuple(at("2022-03-07T00:00+06:00") + 3_600 * hour for hour in range(168))

    @pytest.mark.parametrize(("number", "hours"), [(0, 64), (1, 88)])
    def test_both_readings_of_the_hours_are_kept(self, book, number, hours):
        rule = next(rule for rule in book.rules if rule.id == "kz-2022-hours")
        read = RuleBook(book.rules, {rule.id: rule.readings[number]})
        assert sum(read.may_run(site("KZ"), self.WEEK)) == hours
        assert read.answer(site("KZ"), self.WEEK[0]).readings[rule.id].startswith(str(hours))

    def test_where_the_readings_differ_the_answer_says_so(self, book):
        saturday = at("2022-03-12T12:00+06:00")
        answer = book.answer(site("KZ"), saturday)
        assert not answer.may_run
        assert any("88 hours" in text and "it may run" in text for text in answer.otherwise)

    @pytest.mark.parametrize(
        ("paid", "reading", "fee"),
        [
            ("24", "falling by one per tenge", "1"),
            ("23.99", "falling by one per tenge", "2"),
            ("0.5", "falling by one per tenge", "25"),
            ("23.99", "highest below 24", "25"),
            ("30", "highest below 24", "1"),
        ],
    )
    def test_the_fee_falls_with_the_price_paid(self, book, paid, reading, fee):
        read = RuleBook(book.rules, {"kz-2023-fee": reading})
        mine = site("KZ", price_paid_per_kwh=Decimal(paid))
        assert read.answer(mine, at("2023-06-01T00:00+06:00")).extra_per_kwh("KZT") == Decimal(fee)

    @pytest.mark.parametrize(
        ("circumstances", "fee"),
        [
            (("own power",), 10),
            (("own renewables",), 1),
            (("no meter", "own renewables"), 25),
            (("own power", "own renewables"), 10),
        ],
    )
    def test_of_several_reasons_the_highest_holds(self, book, circumstances, fee):
        mine = site("KZ", circumstances=frozenset(circumstances), price_paid_per_kwh=Decimal(30))
        assert book.answer(mine, at("2023-06-01T00:00+06:00")).extra_per_kwh("KZT") == fee

    def test_without_a_price_the_highest_fee_is_told_as_such(self, book):
        cost = book.answer(site("KZ"), at("2023-06-01T00:00+06:00")).costs[0]
        assert cost.per_kwh == 25
        assert "the price paid is not known" in cost.reason

    def test_the_flat_fee_of_2022_ended_with_its_year(self, book):
        assert book.answer(site("KZ"), at("2022-12-31T23:59+06:00")).extra_per_kwh("KZT") == 1
        assert [cost.rule for cost in book.answer(site("KZ"), at("2023-01-01T00:00+06:00")).costs] == [
            "kz-2023-fee"
        ]


def test_quebec_by_size(book):
    moment = at("2024-06-01T00:00-04:00")
    large = book.answer(site("CA-QC"), moment)
    assert large.tariffs == ("hydro-quebec-cb-large",)
    assert large.caps[0].share_of_peak == Decimal("0.05")
    assert large.caps[0].on_call
    assert book.answer(site("CA-QC", power_kw="4999"), moment).tariffs == ("hydro-quebec-cb-medium",)
    assert book.answer(site("CA-QC", power_kw="49"), moment).tariffs == ()


def test_texas_binds_large_new_loads(book):
    moment = at("2026-06-01T00:00-05:00")
    new = book.answer(site("US-TX", power_kw="75000", connected=date(2026, 1, 15)), moment)
    assert new.may_run
    assert len([duty for duty in new.duties if duty.rule.startswith("us-tx-sb6")]) == 4
    assert not book.answer(site("US-TX", power_kw="74999", connected=date(2026, 1, 15)), moment).duties
    old = book.answer(site("US-TX", power_kw="80000", connected=date(2022, 1, 1)), moment)
    assert [duty.rule for duty in old.duties] == ["us-tx-pura-39-361"]


def test_new_york_exempts_hydro_and_ends_after_two_years(book):
    gas = site("US-NY", connected=date(2023, 1, 1), fuels=frozenset({"gas"}))
    hydro = site("US-NY", connected=date(2023, 1, 1), fuels=frozenset({"hydro"}))
    moment = at("2023-06-01T00:00-04:00")
    assert not book.answer(gas, moment).may_run
    assert book.answer(hydro, moment).may_run
    assert book.answer(gas, at("2024-11-22T00:00-05:00")).may_run


def test_what_is_only_announced_is_pending_and_not_in_force(book):
    moment = at("2025-07-01T00:00+02:00")
    assert book.answer(site("NO", connected=date(2025, 6, 30)), moment).may_run
    outlook = book.outlook(("NO",), moment, at("2020-07-01T00:00+02:00"))
    assert len(outlook.pending) == 1
    assert outlook.changes == 0
    assert outlook.chance_of_change(1) == pytest.approx(0.095, abs=0.001)  # 1 − exp(−½/5)


def test_an_outlook_knows_no_more_than_its_day(book):
    since = at("2018-01-01T00:00+08:00")
    before = book.outlook(("CN", "CN-NM"), at("2021-02-24T00:00+08:00"), since)
    after = book.outlook(("CN", "CN-NM"), at("2021-02-27T00:00+08:00"), since)
    assert before.pending == ()
    assert len(after.pending) == 1


RULE = """
[[rules]]
id = "x"
places = ["X"]
title = "x"
zone = "UTC"
announced = 2024-01-02
effective = 2024-01-03
source = "s"
confidence = "seen"
"""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (RULE + "until = 2024-01-03\neffects = [{kind='forbid'}]", "ends before it begins"),
        (RULE.replace("2024-01-02", "2024-01-04") + "effects = [{kind='forbid'}]", "before it was announced"),
        (RULE + "effects = [{kind='forbid', reading='a'}]", "declares the readings"),
        (RULE + "readings = ['a']\neffects = [{kind='forbid', reading='a'}]", "declares the readings"),
        (RULE + "effects = []", "no effect"),
        (RULE + "effects = [{kind='cap'}]", "one of both"),
        (RULE + "effects = [{kind='hours', spans=[{days=['mon'], from_hour=8, to_hour=8}]}]", "span"),
        (
            RULE + "effects = [{kind='tax', currency='X', brackets=[{below_per_kwh=1, per_kwh=1}]}]",
            "brackets",
        ),
        (RULE.replace("UTC", "Nowhere/Town") + "effects = [{kind='forbid'}]", "rule x"),
        (RULE + "effects = [{kind='perhaps'}]", "cannot be read"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(text, says):
    with pytest.raises(PolicyError, match=says):
        read_rules(text, "test")


def test_readings_that_do_not_exist_are_refused(book):
    with pytest.raises(PolicyError, match="no reading 'mine'"):
        RuleBook(book.rules, {"kz-2022-hours": "mine"})


def test_an_operators_own_rules_are_read_beside_the_shipped(book, tmp_path):
    path = tmp_path / "rules.toml"
    path.write_text(RULE + "effects = [{kind='cap', power_kw=100}]", encoding="utf-8")
    both = RuleBook([*book.rules, *load_rules(path)])
    assert both.answer(site("X"), at("2024-01-03T00:00+00:00")).caps[0].power_kw == 100
    with pytest.raises(PolicyError, match="no rules in"):
        load_rules(tmp_path / "absent.toml")
