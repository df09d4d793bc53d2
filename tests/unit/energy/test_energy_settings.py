"""What a site file may say about energy, and what becomes of it."""

from __future__ import annotations

import tomllib
from datetime import UTC, date, datetime
from decimal import Decimal

import msgspec
import pytest

from hashwerk.energy.settings import AttributionSettings, EnergySettings, next_month_s
from hashwerk.energy.sources import AttributionError

TEXT = """
[tariff]
name = "kazakhstan-mining-2023"
circumstances = ["own power"]
account_from = 2024-01-02

[[sources]]
name = "river"
kind = "own"
fuel = "hydro"

[[sources]]
name = "wind farm"
kind = "contract"
fuel = "wind"
price_per_mwh = "41.5"
min_take_mwh = "12.5"
shortfall_per_mwh = 20

[attribution]
order = ["river", "wind farm"]
factors = "ccaf-2025"
"""


def decode(text: str) -> EnergySettings:
    return msgspec.convert(tomllib.loads(text, parse_float=Decimal), type=EnergySettings)


def test_a_site_file_becomes_tariff_sources_and_a_declaration():
    settings = decode(TEXT)
    assert settings.tariff.load().currency == "KZT"
    assert settings.tariff.facts().account_from == date(2024, 1, 2)
    assert [source.source().kind.value for source in settings.sources] == ["own", "contract"]
    assert settings.sources[0].take_or_pay("EUR") is None
    assert settings.sources[1].take_or_pay("EUR").min_take_wh == 12_500_000
    assert settings.attribution.factor_set().name == "CCAF"
    assert settings.attribution.declare(100, 200, 99.5).declared_s == 100


def test_nothing_set_is_a_site_on_the_market_alone():
    settings = decode("")
    assert settings.tariff.load() is None
    assert settings.sources == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (TEXT.replace('name = "wind farm"', 'name = "river"'), "two have one name"),
        (TEXT.replace('name = "wind farm"', 'name = "grid"'), "called 'grid'"),
        (TEXT.replace('"river", "wind farm"', '"sea"'), "no source 'sea'"),
        (TEXT.replace('fuel = "hydro"', 'fuel = "love"'), "love"),
        ("unknown = 1", "unknown"),
        (TEXT.replace('min_take_mwh = "12.5"', 'min_take_mwh = "-1"'), "not negative"),
        ("[grid]\ng_per_kwh = -1", "not negative"),
    ],
)
def test_what_cannot_be_is_refused_with_its_name(text, says):
    with pytest.raises(msgspec.ValidationError, match=says):
        decode(text)


def test_a_rule_cannot_be_declared_for_a_period_that_has_begun():
    with pytest.raises(AttributionError, match="declared 1 s after"):
        AttributionSettings().declare(100, 200, 100.5)


@pytest.mark.parametrize(
    ("today", "begin", "end"),
    [
        ((2026, 11, 23), (2026, 12), (2027, 1)),
        ((2026, 12, 31), (2027, 1), (2027, 2)),
        ((2026, 1, 1), (2026, 2), (2026, 3)),
    ],
)
def test_the_next_month_is_a_period_that_can_be_declared(today, begin, end):
    now_s = datetime(*today, 5, tzinfo=UTC).timestamp()
    expected = tuple(int(datetime(*month, 1, tzinfo=UTC).timestamp()) for month in (begin, end))
    assert next_month_s(now_s) == expected


def test_the_grid_is_counted_by_its_factor_or_by_its_mix():
    factors = AttributionSettings(factors="ccaf-2025").factor_set()
    assert decode("[grid]\ng_per_kwh = 380").grid.intensity_g_per_kwh(factors) == 380
    assert decode("[grid.mix]\ncoal = 1\nhydro = 3").grid.intensity_g_per_kwh(factors) == Decimal("266")
    assert decode("").grid.intensity_g_per_kwh(factors) is None
