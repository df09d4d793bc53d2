"""The table of duplicates: what it remembers, and that it forgets."""

from __future__ import annotations

import numpy as np
import pytest

from hashwerk.work.batch import ROW_DTYPE
from hashwerk.work.duplicates import FIRST_CAPACITY, DuplicateTable
from hashwerk.work.share import Verdict


def _rows(keys: list[int]) -> np.ndarray:
    rows = np.zeros(len(keys), ROW_DTYPE)
    rows["hash_key"][:, 0] = np.array(keys, np.uint64)
    rows["hash_key"][:, 1] = 7
    return rows


def _judge(table: DuplicateTable, keys: list[int], generation: int = 1) -> list[int]:
    rows = _rows(keys)
    table.judge(generation, rows, np.full(len(keys), generation, np.uint32))
    return [int(verdict) for verdict in rows["verdict"]]


def test_the_second_of_two_is_a_duplicate_within_and_across_batches() -> None:
    table = DuplicateTable()
    assert _judge(table, [1, 2, 1]) == [Verdict.ACCEPTED, Verdict.ACCEPTED, Verdict.DUPLICATE]
    assert _judge(table, [2, 3]) == [Verdict.DUPLICATE, Verdict.ACCEPTED]
    assert len(table) == 3


def test_only_accepted_rows_are_remembered() -> None:
    table = DuplicateTable()
    rows = _rows([5])
    rows["verdict"] = Verdict.LOW_DIFFICULTY
    table.judge(1, rows, np.ones(1, np.uint32))
    assert _judge(table, [5]) == [Verdict.ACCEPTED]


def test_rows_of_other_generations_are_left_alone() -> None:
    table = DuplicateTable()
    rows = _rows([5, 6])
    table.judge(1, rows, np.array([1, 2], np.uint32))
    assert len(table) == 1
    assert _judge(table, [6], generation=2) == [Verdict.ACCEPTED]


def test_it_grows_without_forgetting_and_is_dropped_with_its_generation() -> None:
    table = DuplicateTable()
    keys = list(range(1, 6 * FIRST_CAPACITY))
    for start in range(0, len(keys), 1000):
        assert set(_judge(table, keys[start : start + 1000])) == {Verdict.ACCEPTED}
    assert set(_judge(table, keys)) == {Verdict.DUPLICATE}
    assert len(table) == len(keys)
    table.drop_before(2)
    assert len(table) == 0
    assert table.size_bytes == 0


def test_the_next_generation_begins_at_the_size_of_the_last() -> None:
    table = DuplicateTable()
    _judge(table, list(range(1, 50_000)))
    table.drop_before(2)
    _judge(table, [1], generation=2)
    assert table.size_bytes >= 16 * 2 * 49_999


@pytest.mark.parametrize("count", [10, 30_000])
def test_what_could_not_be_stored_can_be_handed_in_again(count: int) -> None:
    table = DuplicateTable()
    keys = list(range(1, count))
    _judge(table, keys)
    table.forget_rows(_rows(keys[::2]))
    assert len(table) == len(keys) - len(keys[::2])
    verdicts = _judge(table, keys)
    assert set(verdicts[::2]) == {Verdict.ACCEPTED}
    assert set(verdicts[1::2]) == {Verdict.DUPLICATE}
