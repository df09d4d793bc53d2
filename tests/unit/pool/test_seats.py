"""Seats: taken, given back, grown, and what of a block that ended is still taken."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

from hashwerk.pool.connection import Connection
from hashwerk.pool.jobs import OWN
from hashwerk.pool.seats import NO_SEAT, Seats


def _connections(count: int) -> list[Connection]:
    return [cast("Connection", SimpleNamespace(source=OWN)) for _ in range(count)]


def test_seats_are_taken_and_given_back() -> None:
    seats = Seats()
    connections = _connections(200)
    taken = [seats.take(each, session_id=n + 1, extranonce1=n + 7) for n, each in enumerate(connections)]
    assert len(set(taken)) == len(seats) == 200
    assert NO_SEAT not in taken
    assert list(seats) == [seats[seat] for seat in sorted(taken)]
    assert [int(seats.terms[seat]["extranonce1"]) for seat in taken] == list(range(7, 207))
    for seat in taken:
        seats.leave(seat)
    assert len(seats) == 0
    assert list(seats) == []


def test_a_seat_taken_again_remembers_nothing() -> None:
    seats = Seats()
    first, second = _connections(2)
    seat = seats.take(first, session_id=1, extranonce1=1)
    seats.note_work(seat, 10)
    seats.terms[seat]["account"] = 5
    seats.notes[seat]["worker"] = 5
    seats.leave(seat)
    assert seats.take(second, session_id=2, extranonce1=2) == seat
    assert (seats.terms[seat]["account"], seats.notes[seat]["worker"]) == (0, 0)
    assert seats.terms[seat]["least_work_log2"] == 255


def test_the_easiest_target_is_that_of_this_block_and_the_one_before() -> None:
    seats = Seats()
    seat = seats.take(_connections(1)[0], session_id=1, extranonce1=1)
    seats.note_work(seat, 10)
    seats.note_work(seat, 20)
    assert seats.terms[seat]["least_work_log2"] == 10
    seats.next_block(OWN)
    seats.note_work(seat, 20)
    assert seats.terms[seat]["least_work_log2"] == 10  # its last shares may be on their way, and be a block
    seats.next_block(OWN)
    seats.note_work(seat, 20)
    assert seats.terms[seat]["least_work_log2"] == 20
