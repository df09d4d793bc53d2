"""What the command line says of an order, machine by machine."""

from __future__ import annotations

from typing import Any

import click
import httpx
import pytest

from hashwerk.cli.fleet_orders import Finite, tell_machines, until_order
from hashwerk.errors import FleetError


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


class Restarting:
    """A mine that is gone for a while."""

    def __init__(self, answers: list[Any]) -> None:
        self.answers = answers

    def get(self, path: str) -> Any:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            try:
                raise httpx.ConnectError("refused")
            except httpx.ConnectError as error:
                raise answer from error
        return answer


def test_whoever_waits_for_an_order_waits_through_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(0, 1_000, 20))
    monkeypatch.setattr("hashwerk.cli.fleet_orders.time.sleep", lambda _: None)
    monkeypatch.setattr("hashwerk.cli.fleet_orders.time.monotonic", lambda: next(now))
    gone, under_way = FleetError("no mine answers"), {"state": "under way"}
    mine = Restarting([under_way, gone, gone, under_way, gone, gone, gone, {"state": "held"}])
    assert until_order(mine, "o1", ("held",)) == {"state": "held"}  # type: ignore[arg-type]
    with pytest.raises(FleetError, match="Order o1 is on record: hashwerk fleet orders o1"):
        until_order(Restarting([gone] * 5), "o1", ("held",))  # type: ignore[arg-type]
    assert until_order(Restarting([{"state": "stopped"}]), "o1", ("ended",))["state"] == "stopped"  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "0", "x"])
def test_what_is_no_number_is_refused_in_words(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Finite(0.0).convert(text, None, None)
    assert Finite(0.0, is_open=False).convert("0", None, None) == 0.0
