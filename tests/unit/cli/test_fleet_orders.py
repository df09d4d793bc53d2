"""What the command line says of an order, machine by machine."""

from __future__ import annotations

from typing import Any

import pytest

from hashwerk.cli.fleet_orders import tell_machines


def machine(**values: Any) -> dict[str, Any]:
    return {
        "machine": "mac:aa",
        "command": "wake",
        "phase": "waiting",
        "reason": None,
        "effect": None,
        "message": None,
        "not_before": None,
    } | values


def test_who_waits_is_said_to_wait_and_until_when(capsys: pytest.CaptureFixture[str]) -> None:
    waiting = machine(reason="it fell asleep 31 s ago", not_before=1_750_000_000.0)
    done = machine(machine="mac:bb", phase="done", effect="wake: its shares say yes")
    tell_machines(
        {
            "machines_detail": [waiting, done],
            "skips": [{"machine": "mac:cc", "reason": "it does not answer"}],
        }
    )
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert " ".join(lines[0][2:]) == "waiting until 15:06:40 UTC: it has to run or to sleep out its time"
    assert " ".join(lines[1][2:]) == "done: wake: its shares say yes"
    assert lines[2] == ["mac:cc", "left", "out:", "it", "does", "not", "answer"]
