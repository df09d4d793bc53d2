"""What a replay carries from one plan to the next: each machine's age, starts left, the battery, the month's peak."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hashwerk.dispatch.grid import DAY_S, FloatArray, Grid
from hashwerk.dispatch.problem import Group, GroupHistory


@dataclass(slots=True)
class GroupState:
    """The machines of a group, by age. Owned by one replay."""

    group: Group
    on_for_s: FloatArray
    off_for_s: FloatArray
    starts_left: int
    day: int

    @staticmethod
    def settled(group: Group, running: int, now: float) -> GroupState:
        """Return a group that has not changed for long."""
        long_s = 365 * DAY_S
        return GroupState(
            group=group,
            on_for_s=np.full(running, long_s),
            off_for_s=np.full(group.count - running, long_s),
            starts_left=(group.starts_per_day or 0) * group.count,
            day=int(now // DAY_S),
        )

    def history(self) -> GroupHistory:
        """Return the state as a problem takes it; the starts left are shared out evenly."""
        left = None
        if self.group.starts_per_day is not None:
            share, rest = divmod(self.starts_left, max(1, self.group.count))
            left = np.full(self.group.count, share)
            left[:rest] += 1
        return GroupHistory(on_for_s=self.on_for_s, off_for_s=self.off_for_s, starts_left=left)

    def follow(self, grid: Grid, on: FloatArray, first: int, last: int) -> None:
        """Live through the intervals [first, last): ``on`` are the machines running in each, shape (T,).

        The oldest stop first and those asleep longest start first, as the fleet does.
        """
        elapsed_s = 0.0
        for t in range(first, last):
            count = round(float(on[t]))
            change = count - len(self.on_for_s)
            if change:
                self._age(elapsed_s)
                elapsed_s = 0.0
                self._turn_day(float(grid.starts_s[t]))
                self._change(change)
            elapsed_s += float(grid.durations_s[t])
        self._age(elapsed_s)
        self._turn_day(float(grid.ends_s[last - 1]))

    def _age(self, seconds: float) -> None:
        self.on_for_s = self.on_for_s + seconds
        self.off_for_s = self.off_for_s + seconds

    def _turn_day(self, time_s: float) -> None:
        if int(time_s // DAY_S) != self.day:
            self.day = int(time_s // DAY_S)
            self.starts_left = (self.group.starts_per_day or 0) * self.group.count

    def _change(self, change: int) -> None:
        fresh = np.zeros(abs(change))
        if change > 0:
            oldest_last = np.sort(self.off_for_s)
            self.off_for_s = oldest_last[: len(oldest_last) - change]
            self.on_for_s = np.concatenate([self.on_for_s, fresh])
            self.starts_left -= change
        else:
            oldest_last = np.sort(self.on_for_s)
            self.on_for_s = oldest_last[: len(oldest_last) + change]
            self.off_for_s = np.concatenate([self.off_for_s, fresh])
