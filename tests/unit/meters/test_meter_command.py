"""`hashwerk meter`: a real meter read from the command line, by words or from a site file."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner

from hashwerk.cli import cli
from hashwerk.clock import SystemClock
from hashwerk.errors import ConfigError
from hashwerk.meters.register_map import load_map
from hashwerk.meters.settings import ModbusTcpMeter
from hashwerk.meters.twin import MeterTwin, TwinState


@contextmanager
def twin() -> Iterator[int]:
    """Run a meter in a thread of its own: the command has a loop of its own too."""
    ready, done = threading.Event(), threading.Event()
    ports: list[int] = []

    async def serve() -> None:
        one = MeterTwin(load_map("eastron-sdm630"), lambda: 1_500.0, SystemClock())
        one.state = TwinState(import_wh=Decimal(77_000))
        await one.start()
        ports.append(one.port)
        ready.set()
        await asyncio.to_thread(done.wait, 20)
        await one.stop()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(10)
        yield ports[0]
    finally:
        done.set()
        thread.join(10)


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["meter", *words])
    if isinstance(result.exception, ConfigError):
        return result.exception.exit_code, str(result.exception)
    return result.exit_code, result.stdout


def test_a_meter_is_read_by_words_and_from_a_site_file(tmp_path: Path):
    with twin() as port:
        words = ("modbus-tcp", "host=127.0.0.1", f"port={port}", "map=eastron-sdm630")
        code, out = run("read", *words, "--count", "2", "--every", "0.01", "--json")
        assert code == 0
        rows = json.loads(out)
        assert [(row["power_w"], row["import_wh"], row["serial"]) for row in rows] == [
            (1_500.0, 77_000, "1000001")
        ] * 2
        code, out = run("read", *words)
        assert code == 0
        assert "power 1,500 W  import 77,000 Wh  export 0 Wh  serial 1000001" in out
        site = tmp_path / "site.toml"
        site.write_text(
            f"""
            [[meter]]
            kind = "modbus-tcp"
            name = "main"
            max_power_w = 100_000
            host = "127.0.0.1"
            port = {port}
            map = "eastron-sdm630"
            [[meter]]
            kind = "modbus-tcp"
            name = "gone"
            max_power_w = 100_000
            host = "127.0.0.1"
            port = {port}
            unit = 9
            map = "eastron-sdm630"
            timeout_s = 0.3
            """
        )
        code, out = run("read", str(site), "--json")
        assert code == 0
        main, gone = json.loads(out)
        assert (main["meter"], main["power_w"]) == ("main", 1_500.0)
        assert "unit 9" in gone["error"]
        code, out = run("read", str(site), "--meter", "gone")
        assert code == 7
        assert out.startswith("gone: ")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("steam",), "kind steam"),
        (("modbus-tcp", "host"), "'host' is no setting"),
        (("modbus-tcp", "host=h", "map=eastron-sdm630", "port=abc"), "port"),
        (("modbus-tcp", "host=h", "map=none-such"), "no register map none-such"),
        (("nowhere.toml",), "cannot be read"),
    ],
)
def test_what_is_wrong_with_the_words_is_said(words: tuple[str, ...], why: str):
    code, text = run("read", *words)
    assert code == 2
    assert why in text


def test_numbers_on_the_command_line_are_numbers():
    from hashwerk.cli.meter import settings_of_words

    found = settings_of_words("modbus-tcp", ["host=h", "map=m", "port=1502", "timeout_s=0.5", "invert=true"])
    assert isinstance(found, ModbusTcpMeter)
    assert (found.port, found.timeout_s, found.invert) == (1502, 0.5, True)


def test_every_map_names_its_document():
    code, out = run("maps", "--json")
    assert code == 0
    listed = {row["map"]: row["source"] for row in json.loads(out)}
    assert {"eastron-sdm630", "abb-b23", "schneider-iem3155"} <= set(listed)
    assert all(len(source) > 20 for source in listed.values())
