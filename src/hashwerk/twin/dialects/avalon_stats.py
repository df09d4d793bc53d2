"""The estats line of Canaan's firmware in three layouts: A series, Nano 3S, and Q with Mini 3.

Field names, their order and what they mean are those of recorded replies of a 1246, a Nano 3S and a Q.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Final

from hashwerk.twin.cgminer import Row
from hashwerk.twin.machine import Machine
from hashwerk.twin.physics import Phase, Plant


class Layout(enum.Enum):
    """Which of the three layouts a model's firmware writes."""

    A = "a"
    NANO = "nano"
    Q = "q"


_WORK: Final = {
    Phase.STARTING: "In Init",
    Phase.HASHING: "In Work",
    Phase.FALLING: "In Idle",
    Phase.ASLEEP: "In Idle",
}
#: `SoftOFF`: 0 while it works, else what turned it off; 4 was recorded after a command.
_SOFT_OFF: Final = 4
_NO_READING_C: Final = -273
_MHS_PER_DIFFICULTY_1_A_MINUTE: Final = 2.0**32 / 60 / 1e6


class View:
    """What a machine shows of itself at a moment, in the firmware's units."""

    def __init__(self, machine: Machine, now: float) -> None:
        """Work out what most fields share."""
        self.machine = machine
        self.now = now
        self.model = machine.model
        self.plant: Plant = machine.state(now)
        self.phase = self.plant.phase(now)
        self.asleep = self.phase in (Phase.ASLEEP, Phase.FALLING)
        self.elapsed_s = max(1, int(now - machine.booted_at))
        self.rate_ghs = self.plant.hashrate_hs(now) / 1e9 * (1 + 0.015 * machine.wiggle(now, 2))
        self.average_ghs = machine.hashes_since_boot(now) / self.elapsed_s / 1e9
        self.target_w = self.model.points[machine.point].target_w
        self.wall_w = round(machine.reported_power_w(now))
        self.shares = machine.board_shares()
        self.chip_c = round(self.plant.board_c)
        self.inlet_c = round(self.plant.inlet_c)

    def boards(self, values: Iterable[object]) -> str:
        """Return one value a board."""
        return " ".join(str(value) for value in values)

    def each(self, value: object) -> str:
        """Return the same value for each board."""
        return self.boards([value] * self.model.boards)

    def common_head(self) -> list[tuple[str, object]]:
        """Return the fields between the versions and the temperatures."""
        working = sum(1 for share in self.shares if share)
        tail = " " if self.model.boards > 1 else ""
        return [
            ("NETFAIL", "0 0 0 0 0 0 0 0"),
            ("SYSTEMSTATU", f"Work: {_WORK.get(self.phase, 'In Init')}, Hash Board: {working}{tail}"),
            ("Elapsed", self.elapsed_s),
            ("BOOTBY", "0x01.00000000"),
            ("LW", self.elapsed_s * 450),
        ]

    def fans(self) -> list[tuple[str, object]]:
        """Return the fans' speeds and their common share."""
        share = self.plant.fan_share(self.now)
        speeds = [
            round(share * self.model.fan_max_rpm * (1 + 0.01 * self.machine.wiggle(self.now, 10 + fan)))
            for fan in range(self.model.fans)
        ]
        return [
            *((f"Fan{fan + 1}", speed) for fan, speed in enumerate(speeds)),
            ("FanR", f"{round(share * 100)}%"),
        ]

    def temperatures(self) -> tuple[int, int]:
        """Return the hottest chip and the mean; a sleeping machine reads 0."""
        return (0, 0) if self.asleep else (self.chip_c + 6, self.chip_c)

    def supply(self) -> str:
        """Return `PS`: error, control 10 mV, board 10 mV, A, DC W, set 10 mV, wall W."""
        set_volts = round(self.model.volts * 100)
        if self.asleep:
            return f"0 1222 4 0 0 {round(set_volts * 0.93)} {self.wall_w}"
        direct_w = round(self.wall_w * self.model.efficiency)
        amperes = round(direct_w / self.model.volts)
        return f"0 1221 {set_volts - 1} {amperes} {direct_w} {set_volts} {self.wall_w}"

    def rates(self) -> list[tuple[str, object]]:
        """Return the hash rates; the average goes stale in sleep, as on real machines."""
        return [
            ("GHSspd", f"{self.rate_ghs:.2f}"),
            ("DHspd", "0.000%" if self.asleep else "2.410%"),
            ("GHSmm", f"{self.machine.goal(self.machine.point).hashrate_hs / 1e9 * 1.02:.2f}"),
            ("GHSavg", f"{self.average_ghs:.2f}"),
            ("WU", f"{self.average_ghs * 1e3 / _MHS_PER_DIFFICULTY_1_A_MINUTE:.2f}"),
            ("Freq", f"{self.frequency_mhz:.2f}"),
        ]

    @property
    def frequency_mhz(self) -> float:
        """The chips' clock, in proportion to the point's hash rate."""
        points = self.model.points
        return 500 * points[self.machine.point].hashrate_hs / points[self.model.default_point].hashrate_hs

    def chips(self, board: int, middle: float, spread: float, what: int) -> str:
        """Return one number a chip; a dead board's read 0."""
        if self.asleep or not self.shares[board]:
            return " ".join(["0"] * self.model.chips)
        wiggle = self.machine.wiggle
        step = self.now - self.now % 60  # chips do not jump about
        return " ".join(
            str(round(middle + spread * wiggle(step, what + 7 * chip))) for chip in range(self.model.chips)
        )

    def board_rates(self) -> str:
        """Return each board's average."""
        return self.boards(f"{self.average_ghs * share:.2f}" for share in self.shares)

    def errors(self) -> str:
        """Return `ECHU`, an error word a board."""
        return self.boards(0 if share else 512 for share in self.shares)


def _write(fields: Iterable[tuple[str, object]]) -> str:
    return " ".join(f"{name}[{value}]" for name, value in fields)


def _line_a(view: View) -> str:
    hottest, mean = view.temperatures()
    model, machine = view.model, view.machine
    boards = range(model.boards)
    return _write(
        [
            ("Ver", f"{model.type_name}-{model.version}"),
            ("DNA", machine.identity.serial),
            ("MEMFREE", "1201472.0"),
            *view.common_head(),
            ("MH", view.each(0)),
            ("HW", 0),
            ("DH", "2.410%"),
            ("Temp", view.inlet_c),
            ("TMax", hottest),
            ("TAvg", mean),
            *view.fans(),
            ("Vo", 0 if view.asleep else 329),
            ("PS", view.supply()),
            *((f"PLL{board}", "1796 4524 5435 2165") for board in boards),
            *view.rates(),
            ("Led", int(machine.led)),
            ("MGHS", view.board_rates()),
            ("MTmax", view.each(hottest)),
            ("MTavg", view.each(mean)),
            ("TA", model.chips * sum(1 for share in view.shares if share)),
            ("Core", model.core),
            ("PING", 40),
            ("POWS", 0),
            ("HASHS", view.each(0)),
            ("POOLS", 0),
            ("SoftOFF", _SOFT_OFF if view.asleep else 0),
            ("ECHU", view.errors()),
            ("ECMM", 0),
            *((f"SF{board}", "472 492 512 532") for board in boards),
            *((f"PVT_T{board}", view.chips(board, mean, 5, 100 + board)) for board in boards),
            *((f"PVT_V{board}", view.chips(board, 306, 8, 200 + board)) for board in boards),
            *((f"MW{board}", view.chips(board, 620, 50, 300 + board)) for board in boards),
            ("CRC", view.each(0)),
            ("POW_I2C", "OK"),
            ("ADJ", 1),
            ("COP", view.each(0)),
            ("MPO", view.target_w),
            ("MVL", 87),
            ("WORKMODE", machine.point),
        ]
    )


def _line_nano(view: View) -> str:
    hottest, mean = view.temperatures()
    model, machine = view.model, view.machine
    millivolts = round(model.volts * 1000)
    return _write(
        [
            *_versions(view),
            ("LED", f"{int(machine.led)}-0"),
            ("DNA", machine.identity.serial),
            ("MEMFREE", 63728),
            *view.common_head(),
            ("MH", 0),
            ("HW", 0),
            ("DH", "2.374%"),
            ("ITemp", _NO_READING_C),
            ("OTemp", round(view.inlet_c + 0.6 * (view.chip_c - view.inlet_c))),
            ("TMax", hottest),
            ("TAvg", mean),
            ("TarT", round(model.chip_target_c)),
            *view.fans(),
            (
                "PS",
                f"0 0 {millivolts} {round(view.wall_w * model.efficiency / model.volts)} 0 3756 {view.wall_w}",
            ),
            *view.rates(),
            ("MGHS", view.board_rates()),
            ("MTmax", hottest),
            ("MTavg", mean),
            ("TA", model.chips),
            ("Core", model.core),
            ("BIN", 60),
            ("PING", 40),
            ("SoftOFF", _SOFT_OFF if view.asleep else 0),
            ("ECHU", view.errors()),
            ("ECMM", 0),
            ("SF0", "432 450 471 492"),
            ("PVT_T0", view.chips(0, mean, 5, 100)),
            ("PVT_V0", view.chips(0, 300, 5, 200)),
            ("MW0", view.chips(0, 315, 20, 300)),
            ("CRC", 0),
            ("COMCRC", 0),
            ("ATA2", f"{view.target_w}-{model.chip_target_c:.0f}-3756-432-20"),
            ("WORKMODE", machine.point),
            ("WORKLEVEL", 0),
            ("MPO", view.target_w),
            ("CALIALL", 7),
            ("ADJ", 1),
        ]
    )


def _versions(view: View) -> list[tuple[str, object]]:
    model = view.model
    return [
        ("Ver", f"{model.type_name}-{model.version}"),
        ("LVer", model.version),
        ("BVer", model.version),
        ("FW", "Release"),
    ]


def _line_q(view: View) -> str:
    hottest, mean = view.temperatures()
    model, machine = view.model, view.machine
    board_c = view.inlet_c + 1 if view.asleep else view.chip_c
    set_volts = round(model.volts * 100)
    fields = [
        *_versions(view),
        ("CPU", "K230"),
        ("DNA", machine.identity.serial),
        ("STATE", 2 if view.asleep else 1),
        ("MEMFREE", 67896),
        *view.common_head(),
        ("MH", 0),
        ("DHW", 0),
        ("HW", 0),
        ("DH", "2.410%"),
        ("ITemp", view.inlet_c),
        ("HBITemp", board_c),
        ("HBOTemp", board_c if view.asleep else board_c + 2),
        ("TMax", hottest),
        ("TAvg", mean),
        ("TarT", round(model.chip_target_c)),
        *view.fans(),
        ("SoftOffTime", int(machine.slept_at or 0)),
        ("SoftOnTime", int(machine.woke_at or 0)),
        ("Filter", view.elapsed_s // 2),
        ("FanErr", 0),
        ("SoloAllowed", 1),
        ("PS", view.supply()),
        ("PCOMM_E", 0),
        *view.rates(),
        ("MGHS", view.board_rates()),
        ("TA", model.chips),
        ("Core", model.core),
        ("BIN", 36),
        ("PING", 17),
        ("SoftOFF", _SOFT_OFF if view.asleep else 0),
        ("ECHU", view.errors()),
        ("ECMM", 0),
        ("PLL0", "8843 5769 5098 4610"),
        ("SF0", "258 276 297 318"),
        ("CRC", 0),
        ("COMCRC", 0),
        ("ATA0", f"{view.target_w}-{model.chip_target_c:.0f}-{set_volts}-{view.frequency_mhz:.0f}-20"),
        ("LcdOnoff", 1),
        ("Activation", 0),
        ("WORKMODE", machine.point),
        ("WORKLEVEL", 0),
        ("MPO", view.target_w),
        ("CALIALL", 7),
        ("ADJ", 1),
        ("Nonce Mask", 25),
    ]
    return "'STATS':{" + _write(fields) + "}"


def _board_info(view: View) -> str:
    """Return `HBinfo`, which `litestats` leaves out."""
    fields = [
        ("PVT_T0", view.chips(0, view.chip_c, 5, 100)),
        ("PVT_V0", view.chips(0, 276, 6, 200)),
        ("MW0", view.chips(0, 600, 50, 300)),
    ]
    return "'HB0':{" + _write(fields) + "}"


def statistics_rows(machine: Machine, layout: Layout, now: float, *, lite: bool) -> list[Row]:
    """Return the rows of ``stats``, ``estats`` and, shorter, ``litestats``."""
    view = View(machine, now)
    head = {"STATS": 0, "ID": "AVALON0" if layout is not Layout.A else "AVA100", "Elapsed": view.elapsed_s}
    calls = {"Calls": 0, "Wait": 0.0, "Max": 0.0, "Min": 99999999.0}
    if layout is Layout.A:
        return [
            {
                **head,
                **calls,
                "MM ID0": _line_a(view),
                "MM Count": 1,
                "Smart Speed": 1,
                "Voltage Level Offset": 0,
                "Nonce Mask": 25,
            }
        ]
    if layout is Layout.NANO:
        return [{**head, **calls, "MM ID0": _line_nano(view), "MM Count": 1, "Nonce Mask": 25}]
    if lite:
        return [{"MM ID0:Summary": _line_q(view)}]
    return [{**head, **calls, "MM ID0:Summary": _line_q(view), "HBinfo": _board_info(view)}]
