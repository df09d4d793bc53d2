from __future__ import annotations

import json
from typing import Any

import pytest

from hashwerk.errors import DecodeError
from hashwerk.stratum.v1.notify import NotifyParams, encode_difficulty, encode_job, swap_prevhash
from support.stratum_sessions import make_job

GOOD: list[Any] = [
    "1a",
    "00" * 32,
    "01",
    "02",
    ["33" * 32],
    "20000000",
    "207fffff",
    "00000102",
    True,
]


def test_the_job_on_the_wire() -> None:
    line = encode_job(make_job(0xBEEF), clean=True)
    assert line.endswith(b"\n")
    assert json.loads(line) == {
        "id": None,
        "method": "mining.notify",
        "params": [
            "beef",
            # each word of 00010203 04050607 … reversed
            "03020100070605040b0a09080f0e0d0c13121110171615141b1a19181f1e1d1c",
            "01" * 10,
            "02" * 5,
            ["33" * 32],
            "20000000",
            "207fffff",
            "00000102",  # eight digits, or cpuminer drops the job
            True,
        ],
    }
    assert json.loads(encode_job(make_job(), clean=False))["params"][8] is False


def test_difficulties_of_whole_numbers_have_no_point() -> None:
    assert b'"params":[1]' in encode_difficulty(32)
    assert b'"params":[524288]' in encode_difficulty(51)
    assert b'"params":[0.5]' in encode_difficulty(31)
    assert json.loads(encode_difficulty(16))["params"] == [2.0**-16]


def test_the_swap_undoes_itself_and_wants_32_bytes() -> None:
    assert swap_prevhash(swap_prevhash(bytes(range(32)))) == bytes(range(32))
    with pytest.raises(ValueError, match="31"):
        swap_prevhash(bytes(31))


def test_reading_is_the_reverse_of_writing() -> None:
    assert NotifyParams.from_params(GOOD).to_params() == GOOD
    assert NotifyParams.from_params([*GOOD, "extra"]).to_params() == GOOD


@pytest.mark.parametrize("clean", [False, "true", 1, None])
def test_clean_is_only_true(clean: Any) -> None:
    assert NotifyParams.from_params([*GOOD[:8], clean]).clean is False
    assert NotifyParams.from_params(GOOD[:8]).clean is False


@pytest.mark.parametrize(
    ("index", "value", "part"),
    [
        (0, 7, "job id"),
        (0, "", "job id"),
        (0, "x" * 129, "job id"),
        (1, "00" * 31, "prevhash has 31 bytes"),
        (1, None, "prevhash is not hex"),
        (2, "0", "coinbase1"),
        (3, "zz", "coinbase2"),
        (4, "33", "merkle branch"),
        (4, ["33" * 31], "merkle branch has 31"),
        (4, ["33" * 32] * 33, "at most 32"),
        (5, "2000000", "version"),
        (6, "0207fffff0", "nbits"),
        (7, 258, "ntime"),
    ],
)
def test_a_bad_part_is_named(index: int, value: Any, part: str) -> None:
    params = list(GOOD)
    params[index] = value
    with pytest.raises(DecodeError, match=part):
        NotifyParams.from_params(params)


def test_too_few_parameters() -> None:
    with pytest.raises(DecodeError, match="7 parameters"):
        NotifyParams.from_params(GOOD[:7])
