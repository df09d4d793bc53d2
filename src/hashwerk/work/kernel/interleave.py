"""Computations that are written a step at a time, so that several can be written side by side."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TypeVar

_Result = TypeVar("_Result")
_First = TypeVar("_First")
_Second = TypeVar("_Second")

Steps = Generator[None, None, _Result]


def side_by_side(first: Steps[_First], second: Steps[_Second]) -> Steps[tuple[_First, _Second]]:
    """Do a step of each in turn until both have ended; return both results."""
    first_done: list[_First] = []
    second_done: list[_Second] = []
    while True:
        _advance(first, first_done)
        _advance(second, second_done)
        if first_done and second_done:
            return first_done[0], second_done[0]
        yield


def one_after_another(first: Steps[_First], second: Steps[_Second]) -> Steps[tuple[_First, _Second]]:
    """Do all steps of the first, then all of the second; return both results."""
    first_result = yield from first
    second_result = yield from second
    return first_result, second_result


def write_out(streams: Sequence[Steps[_Result]]) -> list[_Result]:
    """Do all steps of all computations, a step of each in turn; return their results."""
    done: list[list[_Result]] = [[] for _ in streams]
    while not all(done):
        for steps, result in zip(streams, done, strict=True):
            _advance(steps, result)
    return [result[0] for result in done]


def _advance(steps: Steps[_Result], done: list[_Result]) -> None:
    if not done:
        try:
            next(steps)
        except StopIteration as end:
            done.append(end.value)
