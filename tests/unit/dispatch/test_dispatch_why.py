"""One sentence a group."""

from __future__ import annotations

import datetime

import numpy as np
import pytest

from hashwerk.dispatch.policies.always_on import AlwaysOn
from hashwerk.dispatch.policies.marginal import MarginalStrike
from hashwerk.dispatch.policies.optimiser import Optimiser
from hashwerk.dispatch.problem import GroupHistory, Limit
from hashwerk.dispatch.why import explain, summarise
from support.dispatch import group, problem


def test_the_sentence_of_the_page() -> None:
    groups = [group("old", 1_240, ((3_000, 130.0),)), group("new", 3_560, ((3_000, 190.0),))]
    asked = problem(groups, [92.0] * 14 + [70.0] * 3, start_s=1_750_032_000.0)
    plan = MarginalStrike().plan(asked)
    assert explain(asked, plan)[0].sentence == (
        "all 1,240 machines sleep: price 92 €/MWh is above their 81; they wake at 14:00"
    )
    assert explain(asked, plan)[1].sentence == "all 3,560 machines run: price 92 €/MWh is below their 119"
    assert summarise(asked, plan) == (
        "1,240 of 4,800 machines sleep: price 92 €/MWh is above their 81; they wake at 14:00"
    )


def test_hours_are_local() -> None:
    asked = problem([group()], [200.0, 20.0])
    zone = datetime.timezone(datetime.timedelta(hours=2))
    assert explain(asked, MarginalStrike().plan(asked), zone=zone)[0].sentence.endswith("they wake at 03:00")


@pytest.mark.parametrize(
    ("price", "more", "expected"),
    [
        (
            70.0,
            {},
            "all 10 machines run in m0: price 70 €/MWh is below their 94, the next mode's watts earn 56",
        ),
        (50.0, {}, "all 10 machines run in m1: price 50 €/MWh is below their 56"),
        (np.nan, {}, "all 10 machines sleep: the price is missing"),
        (
            20.0,
            {"limits": [Limit(name="order 17", limit_w=np.array([9_000.0]))]},
            "4 of 10 machines sleep: “order 17” leaves no room for more",
        ),
        (20.0, {"available": np.array([[7]])}, "3 of 10 machines sleep: the others cannot be told to run"),
        (
            500.0,
            {"local_w": 15_000.0},
            "all 10 machines run in m0: own generation carries them, price 500 €/MWh",
        ),
        (500.0, {"currency": "USD"}, "all 10 machines sleep: price 500 $/MWh is above their 94"),
    ],
)
def test_each_cause_has_its_words(price: float, more: dict[str, object], expected: str) -> None:
    asked = problem([group()], [price], **more)
    assert explain(asked, MarginalStrike().plan(asked))[0].sentence == expected


def test_minimum_times_are_causes() -> None:
    fresh = GroupHistory(on_for_s=np.zeros(10), off_for_s=np.zeros(0))
    asked = problem([group(min_on_s=7_200.0)], [500.0], histories=[fresh])
    sentence = explain(asked, MarginalStrike().plan(asked))[0].sentence
    assert sentence == "all 10 machines run in m0: they are held by their minimum time on"


def test_stopping_that_would_cost_more_is_said() -> None:
    asked = problem([group(wear_per_start=1.0)], [50.0, 94.0, 50.0], running=[10])
    sentence = explain(asked, Optimiser().plan(asked), at=1)[0].sentence
    assert "above their 94, but stopping would cost more" in sentence


def test_nothing_asleep_is_a_sentence_too() -> None:
    asked = problem([group()], [20.0])
    assert (
        summarise(asked, AlwaysOn().plan(asked))
        == "all 10 machines run: price 20 €/MWh is below what they earn"
    )
