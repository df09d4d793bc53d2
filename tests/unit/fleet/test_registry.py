"""Machines are known by MAC address or serial number, wherever they answer."""

from __future__ import annotations

import time

import msgspec
import pytest

from hashwerk.errors import FleetError
from hashwerk.fleet.identity import keys_of, normal_mac, normal_serial
from hashwerk.fleet.machine import Board
from hashwerk.fleet.place import Place, Placement, read_places, write_places
from hashwerk.fleet.ports import Address
from hashwerk.fleet.registry import FindingKind, Registry
from support.fleet import identity, reading

HERE, THERE = Address(host="10.0.0.1"), Address(host="10.0.0.2")


def kinds(sighting) -> list[FindingKind]:
    return [finding.kind for finding in sighting.findings]


@pytest.mark.parametrize(
    ("text", "mac"),
    [
        ("AA-BB-CC-00-11-22", "aa:bb:cc:00:11:22"),
        ("aabb.cc00.1122", "aa:bb:cc:00:11:22"),
        ("00:00:00:00:00:00", None),
        ("ff:ff:ff:ff:ff:ff", None),
        ("aa:bb:cc:00:11", None),
        (None, None),
    ],
)
def test_a_mac_address_has_one_form(text: str | None, mac: str | None) -> None:
    assert normal_mac(text) == mac


@pytest.mark.parametrize("filler", ["", "0000000", "N/A", "unknown", None, "xxxx"])
def test_fillers_are_no_serial_numbers(filler: str | None) -> None:
    assert normal_serial(filler) is None
    assert keys_of(identity(mac=None, serial=filler)) == ()


def test_a_machine_keeps_its_key_when_its_address_changes() -> None:
    registry = Registry()
    first = registry.observe(HERE, reading(1), 0.0)
    assert kinds(first) == [FindingKind.NEW]
    moved = registry.observe(THERE, reading(1), 1000.0)
    assert moved.key == first.key
    assert kinds(moved) == [FindingKind.MOVED]
    assert len(registry) == 1
    assert registry[first.key].address == THERE
    assert registry.find("10.0.0.1") is None
    assert registry.find("10.0.0.2") is registry.find("02:00:00:00:00:01") is registry.find("SN000001")


def test_another_machine_at_a_known_address_displaces_the_first() -> None:
    registry = Registry()
    first = registry.observe(HERE, reading(1), 0.0).key
    second = registry.observe(HERE, reading(2), 10.0).key
    assert first != second
    assert registry[first].address is None
    assert registry[second].address == HERE


def test_a_cloned_mac_address_with_two_serials_is_two_machines() -> None:
    registry = Registry()
    first = registry.observe(HERE, reading(1), 0.0)
    clone = registry.observe(THERE, reading(1, identity=identity(1, serial="sn000077")), 5.0)
    assert FindingKind.CLONED in kinds(clone)
    assert clone.key == "serial:sn000077"
    assert len(registry) == 2
    assert registry[first.key].address == HERE
    assert registry.observe(HERE, reading(1), 10.0).key == first.key


def test_a_cloned_mac_address_without_serials_is_told_and_not_commanded() -> None:
    registry = Registry()
    nameless = reading(1, identity=identity(1, serial=None))
    seen: list[FindingKind] = []
    for at, address in enumerate((HERE, THERE, HERE, THERE)):
        sighting = registry.observe(address, nameless, at * 10.0)
        seen += kinds(sighting)
    assert seen == [FindingKind.NEW, FindingKind.MOVED, FindingKind.CLONED]
    assert registry[sighting.key].is_ambiguous
    for at in range(60, 300, 20):  # the other one was taken away
        registry.observe(registry[sighting.key].address, nameless, float(at))
    assert not registry[sighting.key].is_ambiguous


def test_another_control_board_is_found_by_the_serial_number() -> None:
    registry = Registry()
    key = registry.observe(HERE, reading(1), 0.0).key
    other = reading(1, identity=identity(1, mac="02:99:00:00:00:01"))
    sighting = registry.observe(HERE, other, 1000.0)
    assert sighting.key == key
    assert kinds(sighting) == [FindingKind.CONTROL_BOARD]
    assert "02:99" in sighting.findings[0].text


def test_a_machine_that_shows_the_mac_address_of_a_silent_one_stays_who_it_is() -> None:
    registry = Registry()
    silent = registry.observe(HERE, reading(1), 0.0).key
    other = registry.observe(THERE, reading(2), 0.0).key
    both = identity(2, mac=identity(1).mac)
    for at in (600.0, 610.0):
        sighting = registry.observe(THERE, reading(2, identity=both), at)
        assert sighting.key == other, "two machines are never made one"
        assert kinds(sighting) == [FindingKind.CONTROL_BOARD]
        assert "the MAC address of another one" in sighting.findings[0].text
    assert registry[silent].address == HERE
    assert registry.observe(HERE, reading(1), 620.0).key == silent


def test_a_new_machine_where_another_of_its_model_answered_may_be_that_one_with_another_board() -> None:
    registry = Registry()
    before = registry.observe(HERE, reading(1), 0.0).key
    sighting = registry.observe(HERE, reading(2), 100.0)
    assert kinds(sighting) == [FindingKind.NEW, FindingKind.CONTROL_BOARD]
    assert before in sighting.findings[1].text
    assert registry[before].address is None


def test_another_hash_board_is_found_by_its_chips() -> None:
    registry = Registry()
    registry.observe(HERE, reading(1, boards=(Board(slot=0, chips=76), Board(slot=1, chips=76))), 0.0)
    sighting = registry.observe(
        HERE, reading(1, boards=(Board(slot=0, chips=76), Board(slot=1, chips=88))), 9.0
    )
    assert kinds(sighting) == [FindingKind.BOARDS]
    assert "board 1 had 76 chips and has 88" in sighting.findings[0].text


def test_who_tells_no_name_is_not_guessed() -> None:
    registry = Registry()
    sighting = registry.observe(HERE, reading(1, identity=identity(1, mac=None, serial=None)), 0.0)
    assert sighting.key is None
    assert kinds(sighting) == [FindingKind.NAMELESS]
    assert len(registry) == 0


def test_places_wait_for_machines_that_are_not_there_yet() -> None:
    registry = Registry()
    entries = read_places(
        "MAC;Serial;Hall;Row;Breaker;Owner\n02-00-00-00-00-01;;A;3;B7;ann\n;sn000002;A;4;;\n"
    )
    assert registry.place(entries) == (0, 2)
    key = registry.observe(HERE, reading(1), 0.0).key
    assert registry[key].place == Place(hall="A", row="3", breaker="B7")
    assert registry[key].owner == "ann"
    assert registry.place([Placement(address="10.0.0.1", place=Place(row="9"))])[0] == 1
    assert registry[key].place == Place(hall="A", row="9", breaker="B7")
    assert read_places(write_places(registry.placements())) == registry.placements()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hall,row\nA,1\n", "line 1: columns are"),
        ("mac,color\n", "not known: 'color'"),
        ("mac\n02:00\n", "line 2: not a MAC address: '02:00'"),
        ("mac,hall\n,A\n", "line 2: names no machine"),
        ("mac\n02:00:00:00:00:01,7\n", "line 2: 2 values, 1 columns"),
        ("mac,hall\n02:00:00:00:00:01," + 200_000 * "x", "line 2: not as CSV is written: field larger"),
        ('mac,hall\n02:00:00:00:00:01,"A\n02:00:00:00:00:02,B\n', "line 3: not as CSV is written"),
        ("mac,hall\n02:00:00:00:00:01,A\n02-00-00-00-00-01,B\n", "line 3: the same machine as in line 2"),
        ("mac,hall,hall\n", "twice: hall"),
        ("address,hall\n10.0.0.999,A\n", "line 2: not an IP address: '10.0.0.999'"),
        ("mac,hall\n02:00:00:00:00:01,A\x00B\n", "line 2: hall is longer than 200 characters or holds"),
    ],
)
def test_a_list_of_places_that_cannot_be_read_says_where(text: str, message: str) -> None:
    with pytest.raises(FleetError, match=message):
        read_places(text)


def test_what_spreadsheets_write_is_read() -> None:
    text = "\ufeff\r\nMAC;Hall;;\r\n02:00:00:00:00:01;A;;\r\n;;;\r\n02:00:00:00:00:02;;;\r\n"
    assert [(entry.mac, entry.place.hall) for entry in read_places(text)] == [
        ("02:00:00:00:00:01", "A"),
        ("02:00:00:00:00:02", None),
    ]


def test_two_machines_with_one_mac_address_keep_their_own_places() -> None:
    registry = Registry()
    registry.observe(HERE, reading(1), 0.0)
    registry.observe(THERE, reading(1, identity=identity(1, serial="sn000077")), 5.0)
    rows = [
        msgspec.structs.replace(entry, place=Place(row=str(at)))
        for at, entry in enumerate(registry.placements())
    ]
    registry.place(read_places(write_places(rows)))
    assert [member.place.row for member in registry] == ["0", "1"]


def test_thousands_of_places_wait_and_the_same_list_does_not_wait_twice() -> None:
    registry = Registry()
    rows = [
        Placement(mac=f"02:00:00:00:{n >> 8:02x}:{n & 255:02x}", place=Place(row="1")) for n in range(2_000)
    ]
    assert registry.place(rows) == (0, 2_000)
    again = [*rows[:1_999], msgspec.structs.replace(rows[-1], place=Place(shelf="9"), group="night")]
    assert registry.place(again) == (0, 2_000)
    began = time.process_time()
    for n in range(1_000, 2_000):
        registry.observe(Address(host=f"10.1.{n >> 8}.{n & 255}"), reading(n), 0.0)
    assert time.process_time() - began < 2.0, "each machine's place is looked up, not looked for"
    last = registry.find("02:00:00:00:07:cf")
    assert last is not None
    assert (last.place, last.group) == (Place(row="1", shelf="9"), "night")
    assert len(registry.waiting) == 1_000


def test_a_spreadsheet_finds_no_formula_in_a_place() -> None:
    text = write_places([Placement(mac="02:00:00:00:00:01", place=Place(hall="=cmd()"))])
    assert ",'=cmd()," in text
    assert read_places(text)[0].place.hall == "=cmd()", "it is as it was when it comes back"
