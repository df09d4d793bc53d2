"""Each hour's energy by source, a month at a time, as JSON or CSV, and the rules that were declared before."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, HTTPException, Query, Response

from hashwerk.clock import Clock
from hashwerk.energy.hours import EnergyHour
from hashwerk.errors import StoreError
from hashwerk.site.energy.accounts import month_span_s
from hashwerk.site.energy.service import EnergyService

#: One line an hour and source; emissions of the hour stand in each of its lines.
_COLUMNS: Final = (
    "hour_utc",
    "measured_s",
    "is_metered",
    "source",
    "energy_wh",
    "surplus_wh",
    "load_wh",
    "clean_wh",
    "rule",
    "rule_declared_utc",
    "rule_since_utc",
    "factors",
    "grid_g_per_kwh",
    "grid_source",
    "hour_location_g",
    "hour_market_g",
    "hour_own_g",
    "remark",
)


def add_hours(router: APIRouter, service: EnergyService, clock: Clock) -> None:
    """Add the routes of hours and rules."""

    @router.get("/energy/rules", summary="Rules by which energy was, is and will be attributed to sources")
    async def rules() -> Response:
        return _json({"rules": service.rules()})

    @router.get("/energy/hours", summary="Each hour's energy by source, of one month, with rule and factors")
    async def hours(
        month: Annotated[
            str | None, Query(pattern=r"^\d{4}-\d{2}$", description="As 2026-11, local; none: this one.")
        ] = None,
        form: Annotated[str, Query(pattern="^(json|csv)$", alias="format")] = "json",
    ) -> Response:
        zone = service.planner.zone
        named = month or datetime.fromtimestamp(clock.time(), zone).strftime("%Y-%m")
        try:
            start_s, stop_s = month_span_s(named, zone)
        except (ValueError, OverflowError, OSError) as error:
            raise HTTPException(422, f"there is no month {named}") from error
        try:
            found = await service.hours(start_s, stop_s)
        except StoreError as error:
            raise HTTPException(503, str(error)) from error
        if form == "json":
            held = [one for one in service.rules() if one.since_s in {float(h.rule_start_s) for h in found}]
            return _json({"month": named, "rules": held, "hours": found})
        return Response(
            hours_csv(found),
            media_type="text/csv; charset=utf-8",
            headers={"content-disposition": f'attachment; filename="energy-hours-{named}.csv"'},
        )


def hours_csv(hours: Sequence[EnergyHour]) -> str:
    """Return hours as CSV: a line of names, then one line an hour and source."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    for hour in hours:
        writer.writerows(_rows(hour))
    return text.getvalue()


def _rows(hour: EnergyHour) -> Iterator[list[Any]]:
    names = dict.fromkeys([*hour.by_source, *hour.surplus_wh]) or {"": None}
    for name in names:
        yield [
            _utc(hour.start_s),
            hour.covered_s,
            str(hour.is_metered).lower(),
            name,
            hour.by_source.get(name, 0),
            hour.surplus_wh.get(name, 0),
            hour.load_wh,
            hour.clean_wh,
            hour.rule,
            _utc(hour.declared_s),
            _utc(hour.rule_start_s),
            hour.factors,
            hour.grid.g_per_kwh,
            hour.grid.source,
            _grams(hour.location_mg),
            _grams(hour.market_mg),
            _grams(hour.own_mg),
            hour.remark,
        ]


def _utc(time_s: int) -> str:
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _grams(milligrams: int | None) -> str:
    return "" if milligrams is None else f"{milligrams // 1000}.{milligrams % 1000:03d}"


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
