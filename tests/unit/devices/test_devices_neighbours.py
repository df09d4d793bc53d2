"""Hardware addresses from the system's table."""

from __future__ import annotations

from pathlib import Path

import pytest

from hashwerk.clock import VirtualClock
from hashwerk.devices.neighbours import RELOAD_AFTER_S, Neighbours, normal_mac

HEAD = "IP address       HW type     Flags       HW address            Mask     Device\n"


@pytest.mark.parametrize(
    ("text", "mac"),
    [
        ("AA:BB:CC:DD:EE:FF", "aa:bb:cc:dd:ee:ff"),
        ("aabbccddeeff", "aa:bb:cc:dd:ee:ff"),
        ("aa-bb-cc-dd-ee-ff", "aa:bb:cc:dd:ee:ff"),
        ("aabb.ccdd.eeff", "aa:bb:cc:dd:ee:ff"),
        ("00:00:00:00:00:00", None),
        ("ff:ff:ff:ff:ff:ff", None),
        ("aa:bb:cc", None),
        ("02:55:97:22:3M:72", None),
        ("", None),
        (None, None),
        (12, None),
    ],
)
def test_addresses_have_one_form(text: object, mac: str | None) -> None:
    assert normal_mac(text) == mac


def test_the_table_is_read_again_after_a_while(tmp_path: Path) -> None:
    table, clock = tmp_path / "arp", VirtualClock()
    table.write_text(HEAD + "10.0.0.5 0x1 0x2 02:00:00:00:00:05 * eth0\n", encoding="ascii")
    neighbours = Neighbours(table, clock)
    assert neighbours.mac("10.0.0.5") == "02:00:00:00:00:05"
    table.write_text(HEAD + "10.0.0.5 0x1 0x2 02:00:00:00:00:06 * eth0\n", encoding="ascii")
    assert neighbours.mac("10.0.0.5") == "02:00:00:00:00:05"
    clock.advance(RELOAD_AFTER_S)
    assert neighbours.mac("10.0.0.5") == "02:00:00:00:00:06"


def test_an_address_behind_a_router_is_unknown(tmp_path: Path) -> None:
    table = tmp_path / "arp"
    rows = [
        "10.0.0.1 0x1 0x2 02:00:00:00:00:01 * eth0",
        "10.0.0.2 0x1 0x2 02:00:00:00:00:01 * eth0",
        "10.0.0.3 0x1 0x0 00:00:00:00:00:00 * eth0",
        "odd",
    ]
    table.write_text(HEAD + "\n".join(rows) + "\n", encoding="ascii")
    neighbours = Neighbours(table)
    assert [neighbours.mac(f"10.0.0.{number}") for number in (1, 2, 3, 4)] == [None] * 4


def test_where_there_is_no_table_nothing_is_known(tmp_path: Path) -> None:
    assert Neighbours(tmp_path / "none").mac("10.0.0.1") is None
