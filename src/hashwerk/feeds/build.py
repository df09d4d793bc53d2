"""Rows of an answer made into series, checked: what is empty, double, unordered or no number is one clear error."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from hashwerk.energy.published import PublishedSeries
from hashwerk.energy.series import Quality, SeriesInfo
from hashwerk.errors import FeedError


def series_from_rows(
    info: SeriesInfo,
    starts_s: Sequence[int],
    values: Sequence[float | None],
    published_s: Sequence[int] | int,
    *,
    quality: Quality = Quality.MEASURED,
) -> PublishedSeries:
    """Return a series of what a feed listed; None is missing. Rows that repeat are taken once.

    Raises:
        FeedError: If there is no row, times and values do not pair, a row contradicts another, lies between two intervals, or
            has a value that is no finite number.
    """
    if len(starts_s) != len(values):
        raise FeedError(f"{info.name} lists {len(starts_s)} times and {len(values)} values")
    if not any(value is not None for value in values):
        raise FeedError(f"{info.name} answers with nothing: {len(values)} rows without a value")
    for start, value in zip(starts_s, values, strict=True):
        if value is not None and not math.isfinite(value):
            raise FeedError(f"{info.name} says {value} for {_text(start)}")
        if (start - starts_s[0]) % info.resolution_s:
            raise FeedError(
                f"{info.name}: {_text(start)} lies between two intervals of {info.resolution_s} s from"
                f" {_text(starts_s[0])}"
            )
    moments = (
        np.full(len(starts_s), published_s, dtype=np.int64)
        if isinstance(published_s, int)
        else np.array(published_s, dtype=np.int64)
    )
    _refuse_contradictions(info, starts_s, values, moments.tolist())
    known = np.array([value is not None for value in values])
    return PublishedSeries(
        info,
        np.array(starts_s, dtype=np.int64),
        np.array([value if value is not None else 0.0 for value in values], dtype=np.float64),
        np.where(known, int(quality), int(Quality.MISSING)).astype(np.uint8),
        moments,
    )


def _refuse_contradictions(
    info: SeriesInfo, starts_s: Sequence[int], values: Sequence[float | None], moments: Sequence[int]
) -> None:
    seen: dict[tuple[int, int], float | None] = {}
    for start, value, moment in zip(starts_s, values, moments, strict=True):
        if seen.setdefault((start, moment), value) != value:
            raise FeedError(
                f"{info.name} has two values for {_text(start)}: {seen[start, moment]} and {value}"
            )


def _text(start_s: int) -> str:
    return f"{np.datetime_as_string(np.datetime64(start_s, 's'), unit='m')}Z"
