"""Time as an argument: the system's clock, and a virtual one that tests and replays turn by hand."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """Where the time comes from. All times are UTC."""

    def time(self) -> float:
        """Return seconds since the Unix epoch."""
        ...

    def monotonic(self) -> float:
        """Return seconds of a clock that never goes backwards."""
        ...


class SystemClock:
    """The machine's own clock."""

    def time(self) -> float:
        """Return seconds since the Unix epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds of a clock that never goes backwards."""
        return time.monotonic()


@dataclass(slots=True)
class VirtualClock:
    """A clock that stands still until it is moved."""

    now: float = 1_750_000_000.0

    def time(self) -> float:
        """Return seconds since the Unix epoch."""
        return self.now

    def monotonic(self) -> float:
        """Return seconds of a clock that never goes backwards."""
        return self.now

    def advance(self, duration_s: float) -> None:
        """Move the clock forwards.

        Raises:
            ValueError: If ``duration_s`` is negative.
        """
        if duration_s < 0:
            raise ValueError(f"a clock does not go backwards: {duration_s} s")
        self.now += duration_s
