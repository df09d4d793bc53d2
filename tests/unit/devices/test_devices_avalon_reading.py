"""What an Avalon's fields mean, and which of them are not believed: ../shared/facts/fleet.md §5.1."""

from __future__ import annotations

import pytest

from hashwerk.devices.avalon.fields import Fields
from hashwerk.devices.avalon.models import DIALECTS, UNKNOWN, dialect_of, is_avalon, model_of
from hashwerk.devices.avalon.reading import reading_of
from hashwerk.devices.plausible import MAX_BOARDS, MAX_POOLS
from hashwerk.fleet.machine import Capability, Reading, WorkState

WORKING = "SYSTEMSTATU[Work: In Work, Hash Board: 1] GHSspd[90000.00] "
IDLE = "SYSTEMSTATU[Work: In Idle, Hash Board: 1] GHSspd[0.00] "


def read(text: str, *, model: str = "Q", version: dict[str, object] | None = None) -> Reading:
    """Return the reading of a machine with these fields."""
    fields = Fields(text)
    entry = {"PROD": f"Avalon {model}", "MODEL": model, **(version or {})}
    dialect = dialect_of(entry, fields)
    return reading_of(
        at=1.0,
        dialect=dialect,
        version=entry,
        fields=fields,
        pools=(),
        clock_s=None,
        capabilities=dialect.capabilities,
    )


def test_the_wall_is_wallpower_before_ps_and_never_dc_set_point_or_target() -> None:
    assert read(WORKING + "PS[0 1221 2421 66 1598 2422 1670] WALLPOWER[1674] MPO[1600]").power_w == 1674
    assert read(WORKING + "PS[0 1221 2421 66 1598 2422 1670] MPO[1600]").power_w == 1670
    only_target = read(WORKING + "MPO[1600]")
    assert only_target.power_w is None
    assert only_target.power_limit_w == 1600


def test_dc_alone_is_no_power_at_the_wall_and_said_so() -> None:
    reading = read(WORKING + "PS[0 1217 1279 221 2834 1280]", model="1066")
    assert reading.power_w is None
    assert any("2834 W DC" in doubt for doubt in reading.doubts)


def test_the_standby_of_a_q_is_asleep_without_a_believed_power() -> None:
    reading = read(IDLE + "PS[0 1222 4 0 0 2245 146] GHSavg[44350.83] MGHS[44350.83] MPO[800] WORKMODE[0]")
    assert reading.state is WorkState.ASLEEP
    assert reading.hashrate_hs == 0
    assert reading.power_w is None
    assert any("146 W asleep" in doubt for doubt in reading.doubts)
    assert reading.mode == "Eco"
    assert all(board.hashrate_hs is None for board in reading.boards)  # MGHS is an average since start


def test_a_machine_that_says_zero_watts_is_not_believed() -> None:
    reading = read(WORKING + "WALLPOWER[0]")
    assert reading.power_w is None
    assert any(doubt.startswith("power") for doubt in reading.doubts)


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("SYSTEMSTATU[Work: In Work, Hash Board: 3 ] GHSspd[81072.68]", WorkState.HASHING),
        ("SYSTEMSTATU[Work: In Idle, Hash Board: 1] GHSspd[0.00]", WorkState.ASLEEP),
        ("SYSTEMSTATU[Work: In Init, Hash Board: 1] GHSspd[0.00]", WorkState.STARTING),
        ("SYSTEMSTATU[Work: In Idle, Hash Board: 1] GHSspd[512.00]", WorkState.UNKNOWN),
        ("SYSTEMSTATU[Work: In Idle, Hash Board: 1]", WorkState.UNKNOWN),
        ("SYSTEMSTATU[Work: In Work, Hash Board: 1] GHSspd[0.00]", WorkState.UNKNOWN),
        ("GHSspd[90000]", WorkState.UNKNOWN),
        ("", WorkState.UNKNOWN),
    ],
)
def test_idle_alone_is_not_asleep_and_work_alone_is_not_hashing(text: str, state: WorkState) -> None:
    assert read(text).state is state


def test_a_missing_rate_is_none_and_never_an_average() -> None:
    assert read("SYSTEMSTATU[Work: In Work] GHSavg[80000] GHSmm[90000]").hashrate_hs is None
    assert read("GHSspd[inf]").hashrate_hs is None
    assert read("GHSspd[-1]").hashrate_hs is None


def test_sensors_that_are_absent_or_unpowered_are_none() -> None:
    reading = read(IDLE + "ITemp[-273] TMax[0]")
    assert reading.inlet_c is None
    assert reading.chip_max_c is None
    hot = read(WORKING + "ITemp[26] TMax[999]")
    assert hot.inlet_c == 26
    assert hot.chip_max_c is None
    assert any("999" in doubt for doubt in hot.doubts)


def test_one_field_that_cannot_be_read_spoils_no_other() -> None:
    reading = read(WORKING + "PS[x y z] Fan1[fast] Fan2[1590] Elapsed[soon] HW[7] WORKMODE[nine]")
    assert reading.hashrate_hs == 90e12
    assert reading.fans_rpm == (1590,)
    assert reading.hardware_errors == 7
    assert (reading.power_w, reading.uptime_s, reading.mode) == (None, None, None)


def test_complaints_are_the_machines_own() -> None:
    reading = read(WORKING + "PS[8 0 0 0 0 0 1600] ECHU[0 512] ECMM[2] FanErr[1] MGHS[45000 0]")
    assert reading.complaints == (
        "power supply error 8",
        "board 1 error 512",
        "control board error 2",
        "fan error 1",
        "board 1 does not hash",
    )
    assert [board.working for board in reading.boards] == [True, False]


def test_identity_is_the_mac_and_the_dna_and_neither_is_made_up() -> None:
    identity = read(
        "", version={"MAC": "B4A2EB112233", "DNA": "020100001122AABB", "LVERSION": "25052801_14a19a2"}
    ).identity
    assert (identity.mac, identity.serial) == ("b4:a2:eb:11:22:33", "020100001122aabb")
    assert identity.firmware_version == "25052801_14a19a2"
    nobody = read("", version={"MAC": "000000000000", "DNA": "<DELETED>"}).identity
    assert (nobody.mac, nobody.serial) == (None, None)


@pytest.mark.parametrize(
    ("product", "model", "family"),
    [
        ("AvalonMiner 1047", "1047", "A10–A13"),
        ("AvalonMiner 1246-83", "1246-83", "A10–A13"),
        ("AvalonMiner 1366-130", "1366", "A10–A13"),
        ("AvalonMiner 1466-150", "1466", "A14–A16"),
        ("AvalonMiner 1566", "1566", "A14–A16"),
        ("AvalonMiner 15-194", "15-194", "A14–A16"),
        ("Avalon A16XP", "16XP", "A14–A16"),
        ("Avalon Nano3", "nano3", "Nano 3"),
        ("Avalon Nano3s", "Nano3s", "Nano 3S"),
        ("Avalon Nano 3S", "Nano3s", "Nano 3S"),
        ("Avalon Mini3", "Mini3", "Mini 3"),
        ("Avalon Q", "Q", "Q"),
        ("", "Q", "Q"),
        ("Avalon 741", "741", "unknown"),
        ("Avalon Quantum", "Quantum", "unknown"),
    ],
)
def test_each_model_has_one_dialect(product: str, model: str, family: str) -> None:
    version: dict[str, object] = {"PROD": product, "MODEL": model}
    assert dialect_of(version, Fields("")).family == family


def test_a_build_that_names_itself_only_within_its_fields_is_known_by_them() -> None:
    fields = Fields("Ver[Nano3s-25021401_56abae7] GHSmm[6783.65]")
    assert is_avalon({}, fields)
    assert dialect_of({}, fields).family == "Nano 3S"
    assert model_of({}, fields) == "Avalon Nano3s"
    assert not is_avalon({"PROD": "Antminer S19"}, Fields(""))


def test_an_unknown_avalon_is_read_and_told_nothing() -> None:
    assert UNKNOWN.capabilities is Capability.NONE
    assert read(WORKING, model="741").capabilities is Capability.NONE


def test_every_dialect_that_changes_modes_names_them() -> None:
    assert all(dialect.modes for dialect in DIALECTS if Capability.MODE in dialect.capabilities)


def test_what_no_machine_can_have_costs_its_own_field_only() -> None:
    """A sum over the hall, a counter in the database and a page are not spoilt by one machine's number."""
    reading = read(
        WORKING
        + "WALLPOWER[1e308] MPO[1e308] GHSmm[1e308] Elapsed[1e300] HW[1e300] Fan1[1e300] Fan2[-5] Fan3[3000] WORKMODE[1]"
    )
    assert (reading.power_w, reading.power_limit_w, reading.nominal_hashrate_hs) == (None, None, None)
    assert (reading.uptime_s, reading.hardware_errors, reading.fans_rpm) == (None, None, (3000,))
    assert len(reading.doubts) == 2
    assert (reading.state, reading.mode) == (WorkState.HASHING, "Standard")
    assert read("SYSTEMSTATU[Work: In Work] GHSspd[1e300]").hashrate_hs is None


def test_no_list_of_a_machine_is_without_end() -> None:
    assert read(WORKING + "MGHS[9 9] MTmax[1e300 70]").boards[0].temperature_c is None
    reading = read(WORKING + f"MGHS[{'0 ' * 50_000}] ECHU[{'1 ' * 50_000}]")
    assert len(reading.boards) == MAX_BOARDS
    assert len(reading.complaints) == 2 * MAX_BOARDS


def test_pools_are_few_and_show_no_login() -> None:
    pools = [{"URL": "stratum+tcp://bob:geheim@pool.example:3333", "User": "a.1"}] * 30_000
    slots = reading_of(
        at=1.0,
        dialect=UNKNOWN,
        version={"PROD": "Avalon Q"},
        fields=Fields(WORKING),
        pools=pools,
        clock_s=None,
        capabilities=Capability.NONE,
    ).pools
    assert len(slots) == MAX_POOLS
    assert slots[0].url == "stratum+tcp://pool.example:3333"
