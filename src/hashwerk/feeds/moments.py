"""Times as feeds write them, made into Unix seconds: the one place where daylight saving exists."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from hashwerk.errors import ConfigError, FeedError


def zone_of(name: str) -> ZoneInfo:
    """Return a time zone.

    Raises:
        ConfigError: If this computer knows none of this name.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError(f"no time zone {name!r} on this computer") from error


def iso_s(name: str, text: object) -> int:
    """Return Unix seconds of a time with its offset: ``2026-03-01T00:00:00Z``.

    Raises:
        FeedError: If it is none, or has no offset.
    """
    if not isinstance(text, str):
        raise FeedError(f"{name} writes {text!r} where a time should be")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise FeedError(f"{name} writes {text!r} where a time should be") from error
    if moment.tzinfo is None:
        raise FeedError(f"{name} writes {text!r}, a time without its offset from UTC")
    return int(moment.timestamp())


def epoch_s(name: str, number: object, per_second: int = 1) -> int:
    """Return Unix seconds of a number of seconds or, with ``per_second`` 1000, milliseconds.

    Raises:
        FeedError: If it is no number, or of a time nobody means.
    """
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise FeedError(f"{name} writes {number!r} where a time should be")
    seconds = int(number) // per_second
    if not 0 <= seconds < 4_102_444_800:  # until 2100: beyond it milliseconds were taken for seconds
        raise FeedError(f"{name} writes {number!r}, which is no time in seconds · {per_second}")
    return seconds


def local_rows_s(name: str, texts: Sequence[str], zone: str, pattern: str | None = None) -> list[int]:
    """Return Unix seconds of local times in their order, an hour that exists twice told apart by coming twice.

    Raises:
        FeedError: If a time cannot be read or does not exist, or comes a third time.
        ConfigError: If there is no such zone.
    """
    info, seen, found = zone_of(zone), dict[datetime, int](), []
    for text in texts:
        try:
            naive = datetime.strptime(text, pattern) if pattern else datetime.fromisoformat(text)  # noqa: DTZ007
        except ValueError as error:
            raise FeedError(f"{name} writes {text!r} where a time should be") from error
        if naive.tzinfo is not None:
            found.append(int(naive.timestamp()))
            continue
        times = seen.get(naive, 0)
        seen[naive] = times + 1
        first, second = (naive.replace(tzinfo=info, fold=fold) for fold in (0, 1))
        if not _exists(first):
            raise FeedError(f"{name} writes {text!r}, which daylight saving leaves out in {zone}")
        is_double = first.utcoffset() != second.utcoffset()
        if times > (1 if is_double else 0):
            raise FeedError(f"{name} has {text!r} {times + 1} times")
        found.append(int((second if times else first).astimezone(UTC).timestamp()))
    return found


def day_ahead_published_s(start_s: int, zone: str, at: time) -> int:
    """Return when an interval's day-ahead price was published: on the local day before, at a local time."""
    day = datetime.fromtimestamp(start_s, UTC).astimezone(zone_of(zone)).date() - timedelta(days=1)
    return int(datetime.combine(day, at, zone_of(zone)).astimezone(UTC).timestamp())


def local_day_s(day: date, zone: str) -> int:
    """Return when a local day begins."""
    return int(datetime.combine(day, time(), zone_of(zone)).astimezone(UTC).timestamp())


def iso_text(moment_s: float) -> str:
    """Return a moment as APIs want it: ``2026-03-01T00:00Z``."""
    return datetime.fromtimestamp(moment_s, UTC).strftime("%Y-%m-%dT%H:%MZ")


def _exists(moment: datetime) -> bool:
    return moment.astimezone(UTC).astimezone(moment.tzinfo).replace(tzinfo=None) == moment.replace(
        tzinfo=None
    )
