"""The guide's table of machines is that of the code."""

from __future__ import annotations

from pathlib import Path

from hashwerk.devices import Support, supported
from hashwerk.fleet.machine import Capability

PAGE = Path(__file__).resolve().parents[3] / "docs" / "guide" / "machines.md"
WORDS = {
    Capability.SLEEP: "sleep and wake",
    Capability.MODE: "mode",
    Capability.POWER_LIMIT: "power limit",
    Capability.REBOOT: "reboot",
    Capability.LOCATE: "light",
    Capability.POOLS: "pools",
    Capability.FAN: "fans",
}


def table() -> str:
    """Return the table that the page must have; paste it where the test fails."""
    head = ["| machines | driver | told | modes | power | not believed |", "|---|---|---|---|---|---|"]
    return "\n".join([*head, *(_row(support) for support in supported())])


def _row(support: Support) -> str:
    told = [word for capability, word in WORDS.items() if capability in support.capabilities]
    cells = (
        support.machines,
        support.driver,
        ", ".join(told) or "nothing",
        ", ".join(support.modes) or "–",
        support.power,
        "; ".join(support.lies) or "–",
    )
    return f"| {' | '.join(cells)} |"


def test_the_guide_lists_what_the_code_knows() -> None:
    assert table() in PAGE.read_text(encoding="utf-8"), (
        f"docs/guide/machines.md must have this table:\n{table()}"
    )


def test_every_capability_has_a_word() -> None:
    assert set(WORDS) == set(Capability)
