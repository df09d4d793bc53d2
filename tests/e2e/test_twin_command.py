"""`hashwerk twin` as people and programs run it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from rich.console import Console

from hashwerk.cli.twin_view import LiveView, Rate, describe
from hashwerk.clock import VirtualClock
from hashwerk.twin import MODELS, Hall, HallSettings

_DEADLINE_S = 30.0
#: Addresses of this process's own.
_BASE = f"127.{140 + os.getpid() // 250 % 50}.{1 + os.getpid() % 250}.1"


@contextmanager
def _twin(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run the command; it has to end cleanly and soon after SIGTERM."""
    command = [sys.executable, "-m", "hashwerk", "twin", "--base", _BASE, "--port", "0", "--http-port", "0"]
    process = subprocess.Popen(
        [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=_DEADLINE_S)
        assert process.returncode == 0, errors
        assert "Traceback" not in errors
    finally:
        process.kill()
        process.wait()


def _line(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    return dict(json.loads(process.stdout.readline()))


def test_a_hall_of_every_model_with_faults_and_a_control_port() -> None:
    models = ",".join(MODELS)
    with _twin(
        "--json",
        "--machines",
        "24",
        "--model",
        models,
        "--fault",
        "lie=2",
        "--fault",
        "hang=1",
        "--control-port",
        "0",
    ) as process:
        first = _line(process)
        assert first["simulation"] is True
        assert [machine["model"] for machine in first["machines"]][: len(MODELS)] == list(MODELS)
        assert sorted(machine["fault"] for machine in first["machines"] if machine["fault"]) == [
            "hang",
            "lie",
            "lie",
        ]
        view = _line(process)
        assert view["simulation"] is True
        assert view["phases"] == {"hashing": 24}
        control = f"http://127.0.0.1:{first['control_port']}"
        assert httpx.get(f"{control}/hall", timeout=5).json()["faults"] == {"hang": 1, "lie": 2}


def test_the_same_seed_gives_the_same_faults_to_the_same_machines() -> None:
    dealt = []
    for _ in range(2):
        with _twin("--json", "--machines", "12", "--fault", "slow=3", "--seed", "9") as process:
            dealt.append([machine["fault"] for machine in _line(process)["machines"]])
    assert dealt[0] == dealt[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "toaster"], "no twin of 'toaster'"),
        (["--fault", "fire=1"], "no fault 'fire'"),
        (["--base", "192.0.2.1"], "127.0.0.0/8"),
        (["--machines", "2", "--fault", "hang=3"], "3 faults are too many for 2 machines"),
        (["--pool", "http://x"], "the scheme is 'http'"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(arguments: list[str], message: str) -> None:
    command = [sys.executable, "-m", "hashwerk", "twin", "--port", "0", "--http-port", "0", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_DEADLINE_S, check=False)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_every_view_says_simulation() -> None:
    clock = VirtualClock()
    hall = Hall(HallSettings(machines=4), clock=clock)
    view = hall.view()
    assert describe(view, None).startswith("simulation: 4 hashing; ")
    console = Console(record=True, width=100, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    live = LiveView(console)
    live.begin(hall, 8027, {"twin-0001": "hang"})
    console.print(live.panel(view, 61.0))
    console.file.close()
    text = console.export_text()
    assert "simulation" in text
    assert "4 virtual machines, 127.1.0.1 to 127.1.0.4" in text
    assert "true power at the wall" in text


def test_the_rate_is_over_half_a_minute() -> None:
    rate = Rate()
    assert rate.update(0, 0) is None
    assert rate.update(1, 100) == 100
    assert [rate.update(second, 100 * second) for second in range(2, 40)][-1] == pytest.approx(100)
