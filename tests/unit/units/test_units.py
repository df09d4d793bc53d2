"""Quantities as people read them."""

import pytest

from hashwerk.units import format_duration, format_hashrate, format_si


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0 H/s"),
        (1.0, "1.00 H/s"),
        (999.4, "999 H/s"),
        (999.6, "1.00 kH/s"),
        (48_000_000.0, "48.0 MH/s"),
        (2.34e14, "234 TH/s"),
        (1e18, "1.00 EH/s"),
        (-1500.0, "-1.50 kH/s"),
    ],
)
def test_hash_rates(value: float | None, text: str) -> None:
    assert format_hashrate(value) == text


def test_digits() -> None:
    assert format_si(3_250.0, "W", digits=2) == "3.2 kW"
    assert format_si(float("inf"), "W") == "inf W"


@pytest.mark.parametrize(
    ("duration_s", "text"),
    [
        (None, "–"),
        (0.0123, "12 ms"),
        (59.6, "1 min"),
        (200, "3 min 20 s"),
        (7_200, "2 h"),
        (90_061, "1 d 1 h"),
    ],
)
def test_durations(duration_s: float | None, text: str) -> None:
    assert format_duration(duration_s) == text
