from __future__ import annotations

from typing import Any

import pytest

from hashwerk.stratum.v1.agents import agent_traits
from hashwerk.stratum.v1.limits import CostMeter, SessionLimits


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_line_bytes": 1000},
        {"idle_timeout_s": 0.0},
        {"soft_cost": float("nan")},
        {"soft_cost": 100.0, "hard_cost": 99.0},
        {"submit_cost": 0.5, "accepted_refund": 0.6},
    ],
)
def test_limits_that_cannot_hold(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(reversed(wrong))):
        SessionLimits(**wrong)


def test_cost_decays_and_never_becomes_credit() -> None:
    meter = CostMeter(10.0, 0.0)
    assert meter.add(100.0, 0.0) == 100.0
    assert meter.at(4.0) == 60.0
    assert meter.seconds_until(40.0, 4.0) == 2.0
    assert meter.seconds_until(60.0, 4.0) == 0.0
    assert meter.add(-500.0, 4.0) == 0.0
    assert meter.add(1.0, 100.0) == 1.0
    assert meter.add(1.0, 99.0) == 2.0  # a clock that goes back does not charge anew


def test_what_is_known_of_miners() -> None:
    assert agent_traits("NiceHash/1.0.0").min_work_log2 == 51
    assert agent_traits("whatsminer/v1.1").max_coinbase_bytes == 6_500
    assert agent_traits("bitaxe/BM1370").max_coinbase_bytes is None
    assert agent_traits("").min_work_log2 is None
