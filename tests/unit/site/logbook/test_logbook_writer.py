"""The writer logs each epoch's records once, goes on where it was, and lets nothing that fails keep the rest waiting."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from hashwerk.clock import VirtualClock
from hashwerk.config.site import SiteConfig, parse_site
from hashwerk.energy.ports import Signal
from hashwerk.energy.registers import Direction as Register
from hashwerk.energy.registers import MeterInterval
from hashwerk.energy.series import Quality, Series, SeriesInfo, make_series
from hashwerk.errors import StoreError
from hashwerk.evidence import records
from hashwerk.evidence.leaf import decode_record
from hashwerk.site.energy.readings import Readings
from hashwerk.site.energy.service import EnergyService
from hashwerk.site.logbook.writer import LogWriter
from hashwerk.site.metering import RECORD
from hashwerk.store.logbook import NAME, Logbook, logged_through, read_entries

START_S = 1_790_000_000 // 3_600 * 3_600


def site(certificates: Path) -> SiteConfig:
    return parse_site(f"""
[fleet]
ranges = ["127.9.9.1"]
[evidence]
epoch_s = 60
certificates = "{certificates}"
facts = {{ "taxes paid" = "all\\tof them" }}
[[meter]]
kind = "modbus-tcp"
name = "main"
host = "127.0.0.1"
map = "schneider-iem3155"
max_power_w = 1e6
interval_s = 60
""")


def hourly(value: float) -> Series:
    """Return a series of two hours, the second one higher by one."""
    info = SeriesInfo(name="x", unit="", resolution_s=3_600, source="a feed")
    starts = np.arange(START_S, START_S + 7_200, 3_600)
    return make_series(info, starts, [value, value + 1], published_s=START_S, quality=Quality.MEASURED)


class Prices:
    """The energy service as the writer sees it."""

    def __init__(self) -> None:
        self.planner = SimpleNamespace(price=hourly(80.0), carbon=hourly(40.0), signals=self)
        self.record = SimpleNamespace(orders=lambda limit: [])

    async def series(self, signal: Signal, *_: int) -> Series | None:
        """Return what feeds tell."""
        return hourly(0.9) if signal is Signal.CLEAN_SHARE else None


def counted(folder: Path, minute: int, wh: int) -> None:
    """Let the meter's record have a minute of both registers."""

    async def write() -> None:
        readings = Readings(folder / RECORD)
        readings.open()
        for register, count in ((Register.IMPORT, wh), (Register.EXPORT, 0)):
            row = MeterInterval(
                meter="main", serial="1", direction=register, start_s=START_S + 60 * minute,
                stop_s=START_S + 60 * minute + 60, start_wh=count * minute, end_wh=count * (minute + 1), wh=count,
                quality=Quality.MEASURED,
            )  # fmt: skip
            readings.record([row], ())
        await readings.close()

    asyncio.run(write())


def writer(folder: Path, energy: Prices | None) -> LogWriter:
    made = LogWriter(
        site(folder / "certificates.json"), folder, VirtualClock(START_S), Logbook(folder / NAME), fleet=None,
        energy=cast(EnergyService, energy),
    )  # fmt: skip
    made.open()
    return made


def settled(made: LogWriter, minute: int) -> list[str]:
    return [type(record).__name__ for record in asyncio.run(made.settle(START_S + 60 * minute))]


def test_what_became_known_is_logged_once_over_restarts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    energy = Prices()
    first = writer(tmp_path, energy)
    counted(tmp_path, 0, 500)
    # There is no file of certificates: that is told once, and keeps nothing else waiting.
    assert settled(first, 1) == ["LocalFact", "Meter", "Meter", "SourceInterval", "Grid"]
    assert settled(first, 2) == []
    assert caplog.text.count("no certificate is logged") == 1
    assert logged_through(tmp_path / NAME) == (START_S + 120) * 10**6
    first.close()
    counted(tmp_path, 2, 500)
    again = writer(tmp_path, energy)
    assert settled(again, 3) == ["Meter", "Meter", "Meter", "Meter", "SourceInterval"], (
        "a missed minute is filled"
    )
    energy.planner.carbon = hourly(55.0)
    assert settled(again, 4) == ["Grid"], "the feed tells otherwise"
    assert settled(again, 61) == ["Grid"], "and another hour"
    again.close()
    logged = [decode_record(entry.record) for entry in read_entries(tmp_path / NAME, 0, 2**62)]
    grids = [(g.location_mg_per_kwh, g.price_micro_per_mwh) for g in logged if isinstance(g, records.Grid)]
    assert grids == [(40_000, 80_000_000), (55_000, 80_000_000), (56_000, 81_000_000)]
    (fact,) = [record for record in logged if isinstance(record, records.LocalFact)]
    assert fact.value == "all of them"
    # Each stands in the epoch in which it became known, whenever it was written.
    assert len(read_entries(tmp_path / NAME, 0, (START_S + 60) * 10**6)) == 5


def test_what_cannot_be_written_is_composed_again(tmp_path: Path) -> None:
    made = writer(tmp_path, None)
    counted(tmp_path, 0, 500)
    made.close()
    with pytest.raises(StoreError, match="not open"):
        asyncio.run(made.settle(START_S + 60))
    made.open()
    assert settled(made, 1) == ["LocalFact", "Meter", "Meter", "SourceInterval"]
    made.close()
