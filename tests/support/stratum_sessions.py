"""Jobs small enough to read, and Stratum sessions taken as far as a test needs."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from hashwerk.chain.template import Template
from hashwerk.stratum.v1.events import Event, SubmitReceived
from hashwerk.stratum.v1.limits import SessionLimits
from hashwerk.stratum.v1.server import Extranonce, ServerSession
from hashwerk.stratum.v1.submits import SUBMIT_DTYPE, Stop, most_submits, scan_submits
from hashwerk.work.job import Job

SERVER_MASK = 0x1FFFE000
EXTRANONCE = Extranonce(0x0A, 4, 8)


def make_job(job_id: int = 1, work_log2: int = 32, **changes: Any) -> Job:
    """Return a job with recognisable bytes."""
    template = Template(
        network="regtest",
        height=7,
        version=0x20000000,
        prev_hash=bytes(range(32)),
        nbits=0x207FFFFF,
        time=0x01020304,
        min_time=0x01020304,
        coinbase_value_sat=5_000_000_000,
    )
    fields: dict[str, Any] = {
        "id": job_id,
        "account_id": 1,
        "work_log2": work_log2,
        "template": template,
        "coinbase1": b"\x01" * 10,
        "coinbase2": b"\x02" * 5,
        "branch": (b"\x33" * 32,),
        "version": 0x20000000,
        "version_mask": SERVER_MASK,
        "ntime": 0x0102,
        "extranonce1_size": 4,
        "extranonce2_size": 8,
        "tag": bytes(32),
        "tag_preimage": b"",
        "created_at": 0.0,
    }
    return Job(**fields | changes)


def lines(data: bytes) -> list[Any]:
    """Return the JSON of every line."""
    assert data == b"" or data.endswith(b"\n")
    return [json.loads(line) for line in data.splitlines()]


def new_session(**limits: Any) -> ServerSession:
    """Return a session that has just been opened, at time 0."""
    return ServerSession(SessionLimits(**limits), 0.0, version_mask=SERVER_MASK)


def active_session(user: str = "alice.s19", **limits: Any) -> ServerSession:
    """Return a session that subscribed and authorised, its answers taken away."""
    session = new_session(**limits)
    session.receive_line(b'{"id":1,"method":"mining.subscribe","params":["cgminer/4.12"]}', 0.0)
    session.accept_subscribe(1, EXTRANONCE, "token-1")
    session.receive_line(
        json.dumps({"id": 2, "method": "mining.authorize", "params": [user, "x"]}).encode(), 0.0
    )
    session.accept_authorize(2, user, 17)
    session.data_to_send()
    return session


def event_of(row: np.void, buffer: bytes) -> SubmitReceived:
    """Return what a session would have said of the line a row was scanned from."""
    start, length = int(row["user_start"]), int(row["user_length"])
    return SubmitReceived(
        id=int(row["id"]),
        user=buffer[start : start + length].decode(),
        job_id=int(row["job"]),
        extranonce2=int(row["extranonce2"]),
        extranonce2_size=int(row["extranonce2_size"]),
        ntime=int(row["ntime"]),
        nonce=int(row["nonce"]),
        version_bits=int(row["version_bits"]) if row["has_version"] else None,
    )


def receive_scanned(session: ServerSession, data: bytes, now: float) -> tuple[list[Event], int]:
    """Read as a driver does that scans what it can; return the events, and how many shares were scanned."""
    data = session.take_held() + data
    buffer = np.frombuffer(data, np.uint8)
    rows = np.zeros(most_submits(len(data)), SUBMIT_DTYPE)
    events: list[Event] = []
    at = scanned = 0
    while True:
        count, at, stop = scan_submits(buffer, at, len(data), rows)
        events += [event_of(row, data) for row in rows[:count]]
        events += session.apply_submits(count, now)
        scanned += count
        if stop is not Stop.OTHER_LINE:
            assert stop is not Stop.FULL
            return events + session.receive_data(data[at:], now), scanned
        end = data.index(b"\n", at) + 1
        events += session.receive_data(data[at:end], now)
        at = end
