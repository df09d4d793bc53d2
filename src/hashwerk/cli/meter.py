"""`hashwerk meter`: read a meter alone, to find out in the field what is wrong with it."""

from __future__ import annotations

import asyncio
import contextlib
import time
import tomllib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from hashwerk.cli.output import json_option, print_json
from hashwerk.errors import ConfigError, DeviceError

if TYPE_CHECKING:
    from hashwerk.energy.ports import Meter, RegisterReading
    from hashwerk.meters.settings import MeterSettings


@click.group()
def meter() -> None:
    """Read meters, one at a time.

    \b
    Example:
        hashwerk meter read modbus-tcp host=10.0.0.40 map=eastron-sdm630
    """


@meter.command()
@json_option
def maps(as_json: bool) -> None:
    """List the register maps that come with Hashwerk, and the documents they follow.

    \b
    Example:
        hashwerk meter maps
    """
    from hashwerk.meters.register_map import load_map, shipped_maps

    found = [
        {"map": name, "model": load_map(name).name, "source": load_map(name).source}
        for name in shipped_maps()
    ]
    if as_json:
        print_json(found)
        return
    for one in found:
        click.echo(f"{one['map']:<30} {one['source']}")


@meter.command()
@click.argument("what", metavar="KIND|SITE.toml")
@click.argument("settings", metavar="[SETTING=VALUE …]", nargs=-1)
@click.option("--meter", "name", help="Of a site file: only the meter of this name.")
@click.option("--count", type=click.IntRange(1), default=1, show_default=True, help="How many readings.")
@click.option(
    "--every", "every_s", type=float, default=5.0, show_default=True, help="Seconds between two readings."
)
@json_option
def read(  # noqa: PLR0917 - click calls it by name
    what: str, settings: tuple[str, ...], name: str | None, count: int, every_s: float, as_json: bool
) -> None:
    """Read a meter and print what it shows. It needs no running mine and changes nothing.

    Either a kind of meter and its settings, as in a section [[meter]], or a site file, whose meters are read one after another.
    A meter that does not answer says why on its own line; if none answers the exit code is 7.

    \b
    Example:
        hashwerk meter read modbus-tcp host=10.0.0.40 map=eastron-sdm630 --count 3 --json
        hashwerk meter read shelly host=192.168.1.20 component=em:0
        hashwerk meter read site.toml --meter "main meter"
    """
    chosen = (
        settings_of_file(Path(what), name) if what.endswith(".toml") else (settings_of_words(what, settings),)
    )
    rows = asyncio.run(_read(chosen, count, every_s, as_json=as_json))
    if as_json:
        print_json(rows)
    if all("error" in row for row in rows):
        raise SystemExit(DeviceError.exit_code)


def settings_of_words(kind: str, words: Sequence[str]) -> MeterSettings:
    """Return the settings of a meter from words such as ``host=10.0.0.40``.

    Raises:
        ConfigError: If a word is no setting, or the settings do not make a meter.
    """
    from hashwerk.meters.settings import MeterSettings

    values: dict[str, Any] = {"kind": kind, "name": "meter", "max_power_w": 1e9}
    for word in words:
        key, sign, value = word.partition("=")
        if not sign:
            raise ConfigError(f"{word!r} is no setting; write it like host=10.0.0.40")
        values[key] = value
    try:
        # Everything on a command line is text: "502" is a port.
        found: MeterSettings = msgspec.convert(values, type=MeterSettings, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"a meter of kind {kind}: {error}") from error
    return found


def settings_of_file(path: Path, name: str | None = None) -> tuple[MeterSettings, ...]:
    """Return the settings of a site file's sections ``[[meter]]``.

    Raises:
        ConfigError: If the file cannot be read, or has no such meter.
    """
    from hashwerk.meters.settings import MeterSettings

    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8")).get("meter", [])
        found = msgspec.convert(tables, type=tuple[MeterSettings, ...])
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"the meters of {path} cannot be read: {error}") from error
    chosen = tuple(one for one in found if name is None or one.name == name)
    if not chosen:
        names = ", ".join(one.name for one in found) or "none"
        raise ConfigError(f"{path} has no meter {name or ''}; its meters: {names}")
    return chosen


async def _read(
    chosen: Sequence[MeterSettings], count: int, every_s: float, *, as_json: bool
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    async with _opened(chosen) as meters:
        for number in range(count):
            if number:
                await asyncio.sleep(every_s)
            for one, settings in zip(meters, chosen, strict=True):
                row = await _row(one, settings.timeout_s)
                rows.append(row)
                if not as_json:
                    click.echo(_line(row))
    return rows


@contextlib.asynccontextmanager
async def _opened(chosen: Sequence[MeterSettings]) -> AsyncIterator[tuple[Meter, ...]]:
    """Open meters; those that speak by themselves are listened to meanwhile."""
    from hashwerk.clock import SystemClock
    from hashwerk.meters.mqtt import Mqtt
    from hashwerk.meters.table import open_meters

    meters = open_meters(chosen, SystemClock())
    try:
        async with asyncio.TaskGroup() as group:
            listening = [group.create_task(one.run()) for one in meters if isinstance(one, Mqtt)]
            yield meters
            for task in listening:
                task.cancel()
    finally:
        for one in meters:
            await one.close()


async def _row(one: Meter, timeout_s: float) -> dict[str, Any]:
    from hashwerk.meters.mqtt import Mqtt

    started = time.monotonic()
    try:
        reading = await (_first(one, timeout_s) if isinstance(one, Mqtt) else one.read(time.time()))
    except DeviceError as error:
        return {"meter": one.name, "error": str(error)}
    return {**msgspec.to_builtins(reading), "answered_in_ms": round((time.monotonic() - started) * 1_000, 1)}


async def _first(one: Any, timeout_s: float) -> RegisterReading:
    """Return what a meter that speaks by itself has said; wait for it until the deadline."""
    deadline = time.monotonic() + timeout_s
    while True:
        one.arrived.clear()
        try:
            reading: RegisterReading = await one.read(time.time())
            return reading
        except DeviceError:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await one.arrived.wait()


def _line(row: dict[str, Any]) -> str:
    if "error" in row:
        return f"{row['meter']}: {row['error']}"
    at = datetime.fromtimestamp(row["at_s"], UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    shown = (
        ("power", row["power_w"], "W", ",.0f"),
        ("import", row["import_wh"], "Wh", ",d"),
        ("export", row["export_wh"], "Wh", ",d"),
    )
    parts = [
        f"{name} {'–' if value is None else format(value, how)} {unit}" for name, value, unit, how in shown
    ]
    doubts = "".join(f"; doubt: {doubt}" for doubt in row.get("doubts") or ())
    return f"{row['meter']}  {at}  {'  '.join(parts)}  serial {row['serial'] or '–'}{doubts}"
