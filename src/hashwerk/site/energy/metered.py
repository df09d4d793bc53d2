"""What the site took by the registers of its meters, where these are on record: a bill counts registers, not power."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from hashwerk.energy.registers import Direction, MeterInterval
from hashwerk.meters.settings import MeterSettings
from hashwerk.site.energy.readings import read_intervals
from hashwerk.site.energy.record import QUARTER_S, Quarter


class SiteRegisters:
    """The registers at the site's border, as their record has them. What it reads blocks."""

    def __init__(self, record: Path, meters: Sequence[MeterSettings]) -> None:
        """Take the record of meters, and those of the site file."""
        self._record = record
        self._meters = tuple(meter for meter in meters if meter.scope == "site")

    def counted(self, quarters: Sequence[Quarter]) -> list[Quarter]:
        """Return quarters of an hour with what the registers counted, where they counted the whole of it.

        Raises:
            StoreError: If the record cannot be read.
        """
        if not quarters or not self._meters:
            return list(quarters)
        first_s, stop_s = quarters[0].start_s, quarters[-1].start_s + QUARTER_S
        rows = [read_intervals(self._record, meter.name, first_s, stop_s) for meter in self._meters]
        taken = [by_quarter(one) for one in rows]
        given = [by_quarter(one, Direction.EXPORT) for one in rows]
        return [
            msgspec.structs.replace(
                quarter,
                import_wh=float(sum(one[quarter.start_s] for one in taken)),
                # Where a meter does not count what is fed in, what power integrates to below zero was.
                export_wh=float(sum(one[quarter.start_s] for one in given))
                if all(quarter.start_s in one for one in given)
                else max(0.0, -quarter.import_wh),
                covered_s=float(QUARTER_S),
                is_metered=True,
            )
            if all(quarter.start_s in one for one in taken)
            else quarter
            for quarter in quarters
        ]


def by_quarter(intervals: Sequence[MeterInterval], direction: Direction = Direction.IMPORT) -> dict[int, int]:
    """Return the Wh of a register in each quarter of an hour that these intervals cover whole, by its beginning.

    An interval longer than a quarter of an hour says nothing of its quarters, and one with a gap nothing at all.
    """
    wh: dict[int, int] = {}
    covered_s: dict[int, int] = {}
    for one in intervals:
        start_s = one.start_s // QUARTER_S * QUARTER_S
        if one.direction is not direction or one.wh is None or one.stop_s > start_s + QUARTER_S:
            continue
        wh[start_s] = wh.get(start_s, 0) + one.wh
        covered_s[start_s] = covered_s.get(start_s, 0) + one.stop_s - one.start_s
    return {start_s: value for start_s, value in wh.items() if covered_s[start_s] == QUARTER_S}
