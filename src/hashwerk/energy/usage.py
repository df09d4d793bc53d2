"""What was taken and fed in over a billing period, as a meter settled it, and what a contract knows besides."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import msgspec
import numpy as np
import numpy.typing as npt

from hashwerk.energy.series import Aggregate, Gap, Quality, Series
from hashwerk.energy.tariff import TariffError

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Usage:
    """Energy of consecutive intervals of one length, in whole Wh.

    Args:
        start_s: Beginning of the period, Unix seconds.
        interval_s: Length of the intervals.
        import_wh: Taken from the grid, shape (N,).
        export_wh: Fed in, shape (N,); None: nothing.
        estimated: How many intervals rest on an estimate.
    """

    start_s: int
    interval_s: int
    import_wh: IntArray
    export_wh: IntArray | None = None
    estimated: int = 0

    def __post_init__(self) -> None:
        arrays = [self.import_wh] if self.export_wh is None else [self.import_wh, self.export_wh]
        if len(self.import_wh) == 0 or self.interval_s <= 0:
            raise ValueError("a period has intervals, and they last longer than nothing")
        if any(array.shape != self.import_wh.shape or array.min() < 0 for array in arrays):
            raise ValueError("import and export are of one length and not negative")

    @property
    def stop_s(self) -> int:
        """End of the period."""
        return self.start_s + self.interval_s * len(self.import_wh)

    @property
    def starts_s(self) -> IntArray:
        """Beginnings of the intervals."""
        return self.start_s + self.interval_s * np.arange(len(self.import_wh), dtype=np.int64)

    @property
    def days(self) -> Decimal:
        """Length in days of 24 hours."""
        return Decimal(self.stop_s - self.start_s) / 86_400


class BillingFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a bill needs to know that no meter of this period shows."""

    authorised_w: int | None = None  # of the contract; None: no bound
    curtailments: tuple[Gap, ...] = ()  # spans in which the grid's operator had called for less
    peak_12_months_w: int | None = None  # the highest mean power before this period
    year_to_date_kwh: Decimal = Decimal(0)  # taken since the beginning of the year, before this period
    coincident_peaks: tuple[Gap, ...] = ()  # when the grid had its peaks, told afterwards
    circumstances: frozenset[str] = frozenset()  # "own power", "no meter": what a tax asks for
    account_from: date | None = None  # the first local day of a surcharge on the account
    account_to: date | None = None  # the first local day without it any more
    price_paid_per_kwh: Decimal | None = None  # for planning: what is expected to be paid on average


def usage_of(imported: Series, start_s: int, stop_s: int, exported: Series | None = None) -> Usage:
    """Return the usage of a period from series of energy in Wh.

    Raises:
        TariffError: If an interval is missing: a bill is not made from what is not known.
    """
    arrays = [_whole_wh(series, start_s, stop_s) for series in (imported, exported) if series is not None]
    estimated = int((imported.between(start_s, stop_s).quality > Quality.MEASURED).sum())
    return Usage(
        start_s=start_s,
        interval_s=imported.info.resolution_s,
        import_wh=arrays[0],
        export_wh=arrays[1] if len(arrays) > 1 else None,
        estimated=estimated,
    )


def _whole_wh(series: Series, start_s: int, stop_s: int) -> IntArray:
    if series.info.aggregate is not Aggregate.SUM or series.info.unit != "Wh":
        raise TariffError(f"{series.info.name} is no energy in Wh but {series.info.unit}")
    gaps = series.gaps(start_s, stop_s)
    if gaps:
        at = np.datetime_as_string(np.datetime64(gaps[0].start_s, "s"), unit="m")
        missing_h = sum(gap.stop_s - gap.start_s for gap in gaps) / 3_600
        raise TariffError(f"{series.info.name} lacks {missing_h:g} h of the period, first at {at}Z")
    values = series.between(start_s, stop_s).values
    return np.rint(values).astype(np.int64)
