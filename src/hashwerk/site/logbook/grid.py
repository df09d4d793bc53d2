"""What the grid was made of, and its price, as feeds and settings tell: said in words whose factors they are."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from hashwerk.energy.series import Quality, Series
from hashwerk.energy.settings import EnergySettings
from hashwerk.evidence.records import Grid
from hashwerk.site.logbook.words import plain

_SECOND_US: Final = 1_000_000


def grid_record(
    energy: EnergySettings,
    currency: str,
    start_s: int,
    stop_s: int,
    *,
    carbon: Series | None,
    clean_share: Series | None,
    price: Series | None,
) -> Grid | None:
    """Return the grid in an interval; None where nobody tells its intensity.

    A carbon-free part that nobody tells counts as none, which the name of the factors says.
    """
    told = None if carbon is None else carbon.at(start_s)
    fixed = energy.grid.intensity_g_per_kwh(energy.attribution.factor_set())
    if told is not None and carbon is not None:
        g_per_kwh, names = Decimal(repr(told)), [f"location: {_source(carbon, start_s)}"]
    elif fixed is not None:
        g_per_kwh, names = fixed, [f"location: set by the operator ({energy.attribution.factors})"]
    else:
        return None
    residual = energy.grid.residual_g_per_kwh
    names.append("residual: as location" if residual is None else "residual: set by the operator")
    share = None if clean_share is None else clean_share.at(start_s)
    names.append("carbon-free part: not told" if share is None or clean_share is None else
                 f"carbon-free part: {_source(clean_share, start_s)}")  # fmt: skip
    per_mwh = None if price is None else price.at(start_s)
    if price is not None and per_mwh is not None:
        names.append(f"price: {_source(price, start_s)}")
    return Grid(
        factors=plain("; ".join(names)),
        vintage=datetime.fromtimestamp(start_s, UTC).strftime("%Y-%m-%d"),
        start_us=start_s * _SECOND_US,
        end_us=stop_s * _SECOND_US,
        location_mg_per_kwh=_mg(g_per_kwh),
        residual_mg_per_kwh=_mg(g_per_kwh if residual is None else residual),
        carbon_free_ppm=0 if share is None else round(min(max(share, 0.0), 1.0) * 1e6),
        price_micro_per_mwh=None if per_mwh is None else round(per_mwh * 1e6),
        currency=plain(currency),
    )


def _source(series: Series, at_s: int) -> str:
    here = series.between(at_s - series.info.resolution_s + 1, at_s + 1)
    typical = len(here) and int(here.quality[-1]) == int(Quality.TYPICAL)
    return f"{series.info.source}{' (a typical day, not this one)' if typical else ''}"


def _mg(g_per_kwh: Decimal) -> int:
    return max(0, round(g_per_kwh * 1000))
