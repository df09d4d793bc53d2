"""From the record of meters to evidence: the border's registers, plants as what they give, and whose energy it was."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from hashwerk.config.site import SiteConfig, parse_site
from hashwerk.energy.registers import Direction as Register
from hashwerk.energy.registers import MeterInterval
from hashwerk.energy.series import Quality
from hashwerk.evidence import records
from hashwerk.site.energy.readings import Readings
from hashwerk.site.logbook.metered import Metered
from hashwerk.site.logbook.state import LogState
from hashwerk.site.metering import RECORD

STEP_S = 900
START_S = 1_790_000_100 // STEP_S * STEP_S
METER = '[[meter]]\nkind = "modbus-tcp"\nhost = "127.0.0.1"\nmap = "schneider-iem3155"\nmax_power_w = 1e6\n'


def site(*scopes: str) -> SiteConfig:
    meters = "".join(f'{METER}name = "m-{scope}"\nscope = "{scope}"\n' for scope in scopes)
    sources = '[[energy.sources]]\nname = "roof"\nkind = "own"\nfuel = "solar"\n'
    return parse_site(f'[fleet]\nranges = ["127.9.9.1"]\n{sources}{meters}')


def interval(
    meter: str, register: Register, number: int, start_wh: int, wh: int, **more: Any
) -> MeterInterval:
    start_s = START_S + number * STEP_S
    return MeterInterval(
        meter=meter, serial="A1", direction=register, start_s=start_s, stop_s=start_s + STEP_S, start_wh=start_wh,
        end_wh=start_wh + wh, wh=more.get("wh", wh), quality=more.get("quality", Quality.MEASURED),
    )  # fmt: skip


def record(folder: Path, *rows: MeterInterval) -> None:
    async def write() -> None:
        readings = Readings(folder / RECORD)
        readings.open()
        readings.record(rows, ())
        await readings.close()

    asyncio.run(write())


def shown(found: list[records.Record]) -> list[tuple[str, int, int]]:
    return [(m.meter, m.direction, m.end_wh - m.start_wh) for m in found if isinstance(m, records.Meter)]


def test_the_borders_registers_and_a_plant_become_records_and_sources(tmp_path: Path) -> None:
    metered = Metered(site("site", "source:roof", "feeder:F1"), tmp_path)
    state = LogState(begun_s=START_S)
    assert metered.compose(state, START_S + STEP_S)[0] == [], "nothing is recorded yet"
    assert not metered.is_through(START_S + STEP_S)
    record(
        tmp_path,
        interval("m-site", Register.IMPORT, 0, 5_000, 700),
        interval("m-site", Register.EXPORT, 0, 10, 100),
        interval("m-source:roof", Register.IMPORT, 0, 3, 0),
        interval(
            "m-source:roof", Register.EXPORT, 0, 900, 400
        ),  # it is built in so that production is export
        interval("m-feeder:F1", Register.IMPORT, 0, 1, 500),
    )
    assert metered.is_through(START_S + STEP_S)
    found, state = metered.compose(state, START_S + STEP_S)
    assert shown(found) == [
        ("m-site", 0, 700),
        ("m-site, export", 1, 100),
        ("m-source:roof", 0, 400),
    ], "what a plant gives is drawn; a feeder's energy is in the site's already"
    sources = {(r.name, r.source, r.wh, r.meter) for r in found if isinstance(r, records.SourceInterval)}
    # The site drew 700 - 100 + 400 Wh, of which its own roof gave what it did, and the grid the rest.
    assert sources == {
        ("roof", int(records.Source.SOLAR), 400, "m-source:roof"),
        ("grid", int(records.Source.UNKNOWN), 600, ""),
    }
    assert metered.compose(state, START_S + STEP_S)[0] == [], "once"


def test_sources_are_told_only_where_every_register_was_read(tmp_path: Path) -> None:
    metered = Metered(site("site"), tmp_path)
    record(
        tmp_path,
        *(interval("m-site", Register.IMPORT, n, 1_000 * n, 1_000) for n in (0, 1, 3)),
        *(interval("m-site", Register.EXPORT, n, 0, 0) for n in (0, 3)),
    )
    found, state = metered.compose(LogState(begun_s=START_S), START_S + 4 * STEP_S)
    told = [(r.start_us // 10**6 - START_S) // STEP_S for r in found if isinstance(r, records.SourceInterval)]
    assert told == [0, 3]
    filled = [r for r in found if isinstance(r, records.Meter) and r.quality == records.Quality.FILLED]
    assert [(r.direction, r.end_wh - r.start_wh) for r in filled] == [(0, 1_000), (1, 0)]
    assert state.sources_until_s == START_S + 4 * STEP_S
    assert Metered(site("feeder:F1"), tmp_path).compose(LogState(begun_s=0), START_S)[0] == []
