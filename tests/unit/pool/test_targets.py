"""Which share target a machine gets, between its wish, the settings and the network."""

from __future__ import annotations

import pytest

from hashwerk.clock import VirtualClock
from hashwerk.pool.connection import Connection
from hashwerk.pool.jobs import JobBook
from hashwerk.pool.payees import Payees
from hashwerk.pool.seats import Seats
from hashwerk.pool.settings import PoolSettings
from hashwerk.pool.targets import Targets
from hashwerk.stratum.ports import SessionRecord
from hashwerk.stratum.v1.limits import SessionLimits
from hashwerk.stratum.v1.server import Extranonce, ServerSession
from support.stratum import MemoryLedger, make_template


class Nobody:
    """Owns connections that never get a transport."""

    def on_connected(self, connection: Connection) -> None:
        """Nothing."""

    def on_data(self, connection: Connection, data: bytes) -> None:
        """Nothing."""

    def on_lost(self, connection: Connection) -> None:
        """Nothing."""

    def on_full(self, connection: Connection) -> None:
        """Nothing."""


class Bench:
    """Targets with one working session."""

    def __init__(
        self, *, private_chain: bool = False, nbits: int = 0x1D00FFFF, agent: str = "", **settings: object
    ) -> None:
        self.clock, self.seats, self.told = VirtualClock(), Seats(), list[tuple[int, int]]()
        chosen = PoolSettings(**settings)  # type: ignore[arg-type]
        ledger = MemoryLedger()
        book = JobBook(chosen, ledger, self.clock, site_key=bytes(32), payees=Payees(b"\x51"))
        book.use_template(make_template(nbits=nbits))
        self.targets = Targets(
            chosen, self.seats, book, self.clock, private_chain=private_chain,
            on_target=lambda connection, before: self.told.append((before, connection.work_log2)),
        )  # fmt: skip
        session = ServerSession(SessionLimits(), 0.0, version_mask=0)
        session.user_agent = agent
        session.accept_subscribe(1, Extranonce(1), "token")
        session.accept_authorize(2, "a.m", 1)
        self.connection = Connection(Nobody(), session, 65_536)
        self.connection.seat = self.seats.take(self.connection, session_id=1, extranonce1=1)

    def begin(self) -> int:
        self.targets.begin(self.connection)
        return self.connection.work_log2


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, 26),
        ({"start_difficulty": 0.75}, 31),  # rounded down
        ({"start_difficulty": 1e9}, 32),  # not above the network
        ({"start_difficulty": 1e9, "private_chain": True}, 61),
        ({"start_difficulty": 1e9, "private_chain": True, "max_difficulty": 1024.0}, 42),
        ({"start_difficulty": 1e-9}, 16),
        ({"agent": "NiceHash/1.0", "private_chain": True}, 51),
        ({"agent": "NiceHash/1.0"}, 32),  # the network wins
    ],
)
def test_first_target(settings: dict[str, object], expected: int) -> None:
    assert Bench(**settings).begin() == expected  # type: ignore[arg-type]


def test_a_machines_wish_comes_before_its_past_and_the_start() -> None:
    bench = Bench(private_chain=True)
    bench.connection.record = SessionRecord(
        id=1, token="t", extranonce1=1, extranonce1_size=4, extranonce2_size=8, worker_id=None, user_agent="",
        remote="", work_log2=40, started_at=0.0,
    )  # fmt: skip
    assert bench.begin() == 40
    bench.connection.session.suggested_difficulty = 2.0
    assert bench.begin() == 33
    bench.connection.session.minimum_difficulty = 16.0
    assert bench.begin() == 36


def test_vardiff_follows_the_shares_and_is_told_of_silence() -> None:
    bench = Bench(private_chain=True)
    bench.begin()
    notes = bench.seats.notes[bench.connection.seat]
    assert bench.clock.monotonic() < notes["deadline"] < bench.clock.monotonic() + 60
    bench.clock.advance(0.5)
    notes["new_shares"], notes["new_work_log2"] = 400, 26
    bench.targets.look_at(bench.connection.seat)
    assert notes["new_shares"] == 0
    before, after = bench.told[-1]
    assert (before, after) == (26, bench.connection.work_log2)
    assert after > 30
    bench.clock.advance(600)
    for _ in range(3):
        bench.targets.look_at(bench.connection.seat)
    assert bench.connection.work_log2 < after


def test_without_vardiff_the_first_target_stays() -> None:
    bench = Bench(vardiff=False)
    bench.begin()
    notes = bench.seats.notes[bench.connection.seat]
    notes["new_shares"] = 400
    bench.targets.look_at(bench.connection.seat)
    assert bench.told == []
    assert notes["deadline"] == float("inf")


def test_a_seat_that_was_left_is_nothing_to_look_at() -> None:
    bench = Bench()
    seat = bench.connection.seat
    bench.seats.leave(seat)
    bench.targets.look_at(seat)
    assert bench.told == []
