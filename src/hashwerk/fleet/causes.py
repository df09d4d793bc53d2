"""What can be wrong with a machine, in words: from its three truths to causes of alarm."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from hashwerk.fleet.commands import Command, SetMode, Sleep, Wake
from hashwerk.fleet.identity import MachineKey
from hashwerk.fleet.machine import Board, Reading, WorkState
from hashwerk.fleet.measure import Believed, Measured, hashrate_claim
from hashwerk.fleet.registry import Finding
from hashwerk.fleet.states import State


class CauseKind(enum.Enum):
    """The kinds of trouble; the value is the word for it in topics and filters."""

    DEAD_BOARD = "dead-board"
    FAN = "fan"
    HEAT = "heat"
    CHIP_ERRORS = "chip-errors"
    FOREIGN_POOL = "foreign-pool"
    WRONG_WORKER = "wrong-worker"
    ASLEEP_UNASKED = "asleep-unasked"
    AWAKE_UNASKED = "awake-unasked"
    POWER_LIE = "power-lie"
    HASHRATE_LIE = "hashrate-lie"
    UNREACHABLE = "unreachable"
    NONSENSE = "nonsense"
    FAULT = "fault"
    IDENTITY = "identity"
    ORDER = "order"


TITLES: Final = {
    CauseKind.DEAD_BOARD: "a hash board is dead",
    CauseKind.FAN: "a fan stands still",
    CauseKind.HEAT: "too hot",
    CauseKind.CHIP_ERRORS: "chips make errors",
    CauseKind.FOREIGN_POOL: "mines for a foreign pool",
    CauseKind.WRONG_WORKER: "mines under a wrong name",
    CauseKind.ASLEEP_UNASKED: "sleeps unasked",
    CauseKind.AWAKE_UNASKED: "hashes although it was told to sleep",
    CauseKind.POWER_LIE: "does not tell its true power",
    CauseKind.HASHRATE_LIE: "does not tell its true hash rate",
    CauseKind.UNREACHABLE: "does not answer",
    CauseKind.NONSENSE: "answers what cannot be read",
    CauseKind.FAULT: "reports a fault",
    CauseKind.IDENTITY: "is not who it was",
    CauseKind.ORDER: "an order cannot be carried out",
}


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong with one subject, now."""

    kind: CauseKind
    subject: str  # a machine's key, "breaker B1", "site", …
    text: str
    part: str = ""  # which board, which fan


class Thresholds(msgspec.Struct, frozen=True, kw_only=True):
    """Where trouble begins."""

    chip_max_c: float = 95.0
    inlet_max_c: float = 42.0
    board_share: float = 0.15  # of what its neighbours hash: below this a board counts as dead
    errors_share: float = 0.05  # of its work
    own_pools: tuple[str, ...] = ()  # hosts, with or without port; empty: any pool may be used
    worker_names: tuple[str, ...] = ()  # accounts that may be mined for; empty: any


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """A machine as it is judged."""

    key: MachineKey
    state: State
    since: float
    reading: Reading | None
    measured: Measured | None
    believed: Believed
    commanded: Command | None  # the last one that was to last: sleep, wake, mode
    error_share: float | None = None  # hardware errors over all work since the last look
    is_unreadable: bool = False
    is_ambiguous: bool = False
    is_displaced: bool = False  # another machine answers where it did
    changed: tuple[Finding, ...] = ()  # lately, of who it is


def causes_of(subject: Subject, thresholds: Thresholds) -> Iterator[Cause]:
    """Yield everything that is wrong with a machine now."""
    if subject.is_ambiguous:
        yield _cause(
            subject, CauseKind.IDENTITY, "two machines have its MAC address; neither can be told anything"
        )
    for finding in {finding.kind: finding for finding in subject.changed}.values():  # the newest of each
        yield _cause(subject, CauseKind.IDENTITY, finding.text, finding.kind.value)
    if subject.state is State.UNREACHABLE:
        if subject.is_unreadable:
            yield _cause(subject, CauseKind.NONSENSE, "it answers, but with nothing that can be read")
        else:
            where = ", and another machine answers at its address" if subject.is_displaced else ""
            text = f"it does not answer{where}; what it draws now is not known"
            yield _cause(subject, CauseKind.UNREACHABLE, text)
        return
    if subject.is_unreadable:
        yield _cause(subject, CauseKind.NONSENSE, "many of its answers cannot be read")
    if subject.reading is None:
        return
    yield from _orders(subject)
    yield from _body(subject, subject.reading, thresholds)
    yield from _pools(subject, subject.reading, thresholds)
    if subject.believed.doubt is not None:
        yield _cause(subject, CauseKind.POWER_LIE, subject.believed.doubt)
    if subject.state is State.HASHING and (claim := hashrate_claim(subject.reading, subject.measured)):
        yield _cause(subject, CauseKind.HASHRATE_LIE, claim)


def _orders(subject: Subject) -> Iterator[Cause]:
    asked_to_sleep = isinstance(subject.commanded, Sleep)
    if subject.state is State.ASLEEP and not asked_to_sleep:
        was_woken = isinstance(subject.commanded, Wake)
        text = "it was told to wake, and it sleeps" if was_woken else "it sleeps, and nobody told it to"
        yield _cause(subject, CauseKind.ASLEEP_UNASKED, text)
    if subject.state is State.HASHING and asked_to_sleep:
        yield _cause(subject, CauseKind.AWAKE_UNASKED, "it was told to sleep, and it hashes")


def _body(subject: Subject, reading: Reading, thresholds: Thresholds) -> Iterator[Cause]:
    if subject.state is State.FAULTY:
        words = "; ".join(reading.complaints) or "it does not say which"
        yield _cause(subject, CauseKind.FAULT, f"it reports a fault: {words}")
    if reading.state is not WorkState.HASHING:
        return
    for board in _dead(reading.boards, thresholds.board_share):
        text = f"board {board.slot} of {len(reading.boards)} does not hash"
        yield _cause(subject, CauseKind.DEAD_BOARD, text, f"board {board.slot}")
    if any(reading.fans_rpm):
        for number, rpm in enumerate(reading.fans_rpm):
            if rpm == 0:
                text = f"fan {number + 1} of {len(reading.fans_rpm)} stands still"
                yield _cause(subject, CauseKind.FAN, text, f"fan {number + 1}")
    if reading.chip_max_c is not None and reading.chip_max_c >= thresholds.chip_max_c:
        text = f"its hottest chip has {reading.chip_max_c:.0f} °C, {thresholds.chip_max_c:.0f} °C are allowed"
        yield _cause(subject, CauseKind.HEAT, text, "chips")
    if reading.inlet_c is not None and reading.inlet_c >= thresholds.inlet_max_c:
        text = f"it breathes air of {reading.inlet_c:.0f} °C, {thresholds.inlet_max_c:.0f} °C are allowed"
        yield _cause(subject, CauseKind.HEAT, text, "air")
    if subject.error_share is not None and subject.error_share > thresholds.errors_share:
        text = f"{subject.error_share:.0%} of what its chips find is wrong"
        yield _cause(subject, CauseKind.CHIP_ERRORS, text)


def _dead(boards: Sequence[Board], share: float) -> Iterator[Board]:
    alive = [board.hashrate_hs for board in boards if board.hashrate_hs]
    best = max(alive, default=0.0)
    has_chips = any(board.chips for board in boards)
    for board in boards:
        is_low = board.hashrate_hs is not None and best > 0 and board.hashrate_hs < share * best
        is_empty = (
            has_chips and board.chips == 0
        )  # some tell no rate of a board that is gone, but that no chip answers
        if board.working is False or is_low or is_empty:
            yield board


def _pools(subject: Subject, reading: Reading, thresholds: Thresholds) -> Iterator[Cause]:
    for slot in reading.pools:
        if slot.active is not True:
            continue
        host = _host(slot.url)
        if thresholds.own_pools and not _is_own(host, thresholds.own_pools):
            yield _cause(subject, CauseKind.FOREIGN_POOL, f"it mines for {host}")
        elif thresholds.worker_names and slot.user.partition(".")[0] not in thresholds.worker_names:
            yield _cause(subject, CauseKind.WRONG_WORKER, f"it mines under the name {slot.user!r}")


def _is_own(host: str, own: Sequence[str]) -> bool:
    return any(host == name or host.rpartition(":")[0] == name for name in own)


def _host(url: str) -> str:
    return url.rpartition("://")[2].rpartition("@")[2].partition("/")[0].lower()


def _cause(subject: Subject, kind: CauseKind, text: str, part: str = "") -> Cause:
    return Cause(kind=kind, subject=subject.key, text=text, part=part)


def commanded_state(command: Command) -> Command | None:
    """Return a command if it was to last (sleep, wake, mode); None for what is done and over."""
    return command if isinstance(command, Sleep | Wake | SetMode) else None
