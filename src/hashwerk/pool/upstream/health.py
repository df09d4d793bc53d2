"""Whether a pool's connection does what it should. No sockets, no clock.

A live TCP connection says nothing: pools hang, go on sending work of an old block, refuse everything, or count with another
difficulty than they announce. Each of these is a failure like a closed connection, with its own name.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from hashwerk.pool.upstream.settings import UpstreamSettings

#: The rhythm of a pool is known after so many jobs; then silence of several of its longest pauses is a failure.
_RHYTHM_JOBS: Final = 5
_RHYTHM_FACTOR: Final = 4.0
_LEAST_SILENCE_S: Final = 30.0
#: A storm: so many answers, and more than half of them refusals.
_STORM_ANSWERS: Final = 20
_STORM_WINDOW_S: Final = 300.0
_WRONG_DIFFICULTY: Final = 5  # refusals in a row for a difficulty that the share met
_CODE_LOW_DIFFICULTY: Final = 23
_LOW_DIFFICULTY_WORDS: Final = ("low diff", "high-hash", "high hash", "above target", "low difficulty")


class LinkHealth:
    """What one connection has shown so far. Times are monotonic seconds."""

    def __init__(self, settings: UpstreamSettings, now: float) -> None:
        """Begin when the connection is attempted."""
        self._settings = settings
        self._began_at = now
        self._last_job_at: float | None = None
        self._pauses: deque[float] = deque(maxlen=10)
        self._answers: deque[tuple[float, bool]] = deque(maxlen=_STORM_ANSWERS)
        self._wrong_difficulty = 0
        self._oldest_unanswered_at: float | None = None
        self._behind_since: float | None = None

    def on_job(self, now: float) -> None:
        """A job came."""
        if self._last_job_at is not None:
            self._pauses.append(now - self._last_job_at)
        self._last_job_at = now

    def on_waiting(self, sent_at: float | None) -> None:
        """The oldest share without an answer was sent then; None: all are answered."""
        self._oldest_unanswered_at = sent_at

    def on_answer(self, now: float, *, accepted: bool, code: int | None = None, reason: str = "") -> None:
        """An answer to a share came."""
        self._answers.append((now, accepted))
        low = code == _CODE_LOW_DIFFICULTY or any(words in reason.lower() for words in _LOW_DIFFICULTY_WORDS)
        self._wrong_difficulty = self._wrong_difficulty + 1 if not accepted and low else 0

    def on_height(self, now: float, *, behind: bool) -> None:
        """Whether the connection works on a block that others have left already."""
        if not behind:
            self._behind_since = None
        elif self._behind_since is None:
            self._behind_since = now

    @property
    def silence_limit_s(self) -> float:
        """How long this pool may send no job."""
        if len(self._pauses) < _RHYTHM_JOBS:
            return self._settings.silence_timeout_s
        return min(
            self._settings.silence_timeout_s, max(_LEAST_SILENCE_S, _RHYTHM_FACTOR * max(self._pauses))
        )

    def failure(self, now: float) -> str | None:
        """Return what is wrong, in words; None if nothing is."""
        settings = self._settings
        if self._last_job_at is None:
            if now - self._began_at >= settings.connect_timeout_s:
                return f"no job within {settings.connect_timeout_s:g} s"
            return None
        if now - self._last_job_at >= self.silence_limit_s:
            return f"connected, but no new job for {now - self._last_job_at:.0f} s"
        waiting = self._oldest_unanswered_at
        if waiting is not None and now - waiting >= settings.reply_timeout_s:
            return f"a share was not answered within {settings.reply_timeout_s:g} s"
        if self._behind_since is not None and now - self._behind_since >= settings.stale_timeout_s:
            return f"works on an old block for {now - self._behind_since:.0f} s"
        if self._wrong_difficulty >= _WRONG_DIFFICULTY:
            return f"refuses shares that meet the difficulty it announced, {self._wrong_difficulty} in a row"
        recent = [accepted for at, accepted in self._answers if now - at < _STORM_WINDOW_S]
        if len(recent) == _STORM_ANSWERS and 2 * sum(recent) < _STORM_ANSWERS:
            return f"refused {_STORM_ANSWERS - sum(recent)} of the last {_STORM_ANSWERS} shares"
        return None


class Trust:
    """Whether a pool may be used, seen over all its connections: one that failed must first prove itself again.

    The time of proof doubles with each failure within an hour, so that a pool that comes and goes is left alone.
    """

    _FORGET_S: Final = 3_600.0
    _MOST_DOUBLINGS: Final = 6

    def __init__(self, return_after_s: float) -> None:
        self._return_after_s = return_after_s
        self._failures: deque[float] = deque(maxlen=16)
        self._good_since: float | None = None

    def on_working(self, now: float) -> None:
        """It has work for us."""
        if self._good_since is None:
            self._good_since = now

    def on_failure(self, now: float) -> None:
        """It failed."""
        self._failures.append(now)
        self._good_since = None

    def is_usable(self, now: float) -> bool:
        """Return whether machines may work for it."""
        return self._good_since is not None and self.usable_in_s(now) <= 0

    def usable_in_s(self, now: float) -> float:
        """Return how much longer it has to prove itself if it goes on as it is; infinite while it does not work."""
        if self._good_since is None:
            return float("inf")
        recent = sum(now - at < self._FORGET_S for at in self._failures)
        if not recent:
            return 0.0
        proof_s = self._return_after_s * 2.0 ** min(recent - 1, self._MOST_DOUBLINGS)
        return max(0.0, self._good_since + proof_s - now)
