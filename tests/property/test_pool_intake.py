"""However shares are spelled, cut into pieces and mixed, every machine gets the answers its shares deserve."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from hashwerk.clock import VirtualClock
from hashwerk.pool.connection import Connection
from hashwerk.pool.payees import Payees
from hashwerk.pool.server import StratumServer
from hashwerk.pool.settings import PoolSettings
from hashwerk.stratum.v1.codec import VERDICT_ERRORS
from hashwerk.work.check import check_share, judge_share, rolled_version
from hashwerk.work.job import Job
from hashwerk.work.share import Verdict
from support.stratum import EASY_BLOCK, EVERY_HASH, FakeNode, MemoryLedger, make_template, until

NOW = 1_750_000_000
MASK = 0x1FFFE000
GREETING = (
    b'{"id":1,"method":"mining.configure","params":[["version-rolling"],{"version-rolling.mask":"ffffffff"}]}\n'
    b'{"id":2,"method":"mining.subscribe","params":["t"]}\n'
    b'{"id":3,"method":"mining.authorize","params":["acc.m1","x"]}\n'
    b'{"id":4,"method":"mining.authorize","params":["acc.m2","x"]}\n'
)


class Submit(NamedTuple):
    """A share as a test hands it in."""

    peer: int
    job: str  # "new", "old", "stale" or "never"
    user: str
    nonce: int
    ntime: int
    bits: int | None
    spelling: str


class Wire(asyncio.Transport):
    """A transport in memory."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        self.written = b""
        self.connection: Connection | None = None

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        """Tell the protocol, as every transport does."""
        assert self.connection is not None
        asyncio.get_running_loop().call_soon(self.connection.connection_lost, None)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is ever unread."""

    def pause_reading(self) -> None:
        """Nothing is read."""

    def resume_reading(self) -> None:
        """Nothing is read."""


submits = st.builds(
    Submit,
    st.integers(0, 1),
    st.sampled_from(["new", "new", "new", "old", "stale", "never"]),
    st.sampled_from(["acc.m1", "acc.m1", "acc.m2", "nobody"]),
    st.integers(0, 3),
    st.sampled_from([0, 0, 0, -601, 7201]),
    st.sampled_from([None, None, 0x2000, 0x1000]),
    st.sampled_from(["plain", "plain", "spaced", "string id", "escaped", "upper", "null bits"]),
)


def _line(submit: Submit, number: int, jobs: dict[str, Job]) -> bytes:
    job_id = jobs[submit.job].wire_id if submit.job in jobs else "ffffff"
    params: list[Any] = [
        submit.user,
        job_id,
        "00" * 8,
        f"{NOW + submit.ntime:08x}",
        f"{submit.nonce:08x}",
        *([f"{submit.bits:08x}"] if submit.bits is not None else []),
    ]
    if submit.spelling == "null bits" and submit.bits is None:
        params.append(None)
    message = {"id": number, "method": "mining.submit", "params": params}
    match submit.spelling:
        case "spaced":
            return json.dumps(dict(reversed(message.items()))).encode() + b" \r\n"
        case "string id":
            return json.dumps(message | {"id": str(number)}).encode() + b"\n"
        case "escaped":
            return json.dumps(message).replace("mining", "m\\u0069ning").encode() + b"\n"
        case "upper":
            message["params"] = [params[0], *(part.upper() if part else part for part in params[1:])]
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def _expected(submit: Submit, jobs: dict[str, Job]) -> tuple[bytes, Verdict]:
    """Return the share's identity and what it deserves if it is the first of its kind."""
    bits = submit.bits or 0
    job = jobs.get(submit.job)
    if job is None:
        verdict = Verdict.UNKNOWN_JOB if submit.user != "nobody" else Verdict.UNAUTHORIZED
        return repr(submit[:6]).encode(), verdict
    ntime = NOW + submit.ntime
    share = check_share(job, submit.peer + 1, 0, ntime, submit.nonce, rolled_version(job, bits))
    verdict, _ = judge_share(
        job, share, stale=submit.job == "stale", ntime=ntime, version_bits=bits, session_mask=MASK,
        expires_at=float("inf"), now=NOW,
    )  # fmt: skip
    return share.hash, verdict if submit.user != "nobody" else Verdict.UNAUTHORIZED


async def _run(shares: list[Submit], cuts: list[int], turns: list[bool]) -> None:
    node, ledger, clock = FakeNode(), MemoryLedger(), VirtualClock(NOW)
    settings = PoolSettings(port=0, vardiff=False, start_difficulty=EVERY_HASH, min_difficulty=EVERY_HASH)
    server = StratumServer(
        settings, ledger, node, clock, site_key=bytes(32), payees=Payees(b"\x51"), private_chain=True
    )
    await server.start()
    wires = [Wire(), Wire()]
    connections: list[Connection] = []
    jobs: dict[str, Job] = {}
    await server.use_template(make_template(1, now=NOW, nbits=EASY_BLOCK))
    for wire in wires:
        connection = server.new_connection()
        wire.connection = connection
        connection.connection_made(wire)
        connection.data_received(GREETING)
        connections.append(connection)
    await asyncio.sleep(0)
    for name, height in (("old", 2), ("new", 2)):
        stale = max(ledger.jobs)
        await server.use_template(make_template(height, now=NOW, nbits=EASY_BLOCK))
        jobs.setdefault("stale", ledger.jobs[stale])
        jobs[name] = ledger.jobs[max(ledger.jobs)]
    for wire in wires:
        wire.written = b""
    streams = [b"", b""]
    for number, submit in enumerate(shares):
        streams[submit.peer] += _line(submit, number, jobs)
    # Hand over the bytes in pieces of the drawn sizes, in turn; now and then the loop goes round.
    at, piece = [0, 0], 0
    while at[0] < len(streams[0]) or at[1] < len(streams[1]):
        peer = piece % 2
        size = cuts[piece % len(cuts)]
        data = streams[peer][at[peer] : at[peer] + size]
        at[peer] += size
        if data:
            connections[peer].data_received(data)
        if turns[piece % len(turns)]:
            await asyncio.sleep(0)
        piece += 1
    await until(lambda: sum(wire.written.count(b"\n") for wire in wires) == len(shares))
    await server.close()
    _compare(shares, jobs, wires, ledger)


def _compare(shares: list[Submit], jobs: dict[str, Job], wires: list[Wire], ledger: MemoryLedger) -> None:
    answers: dict[tuple[int, int], Any] = {}
    for peer, wire in enumerate(wires):
        for line in wire.written.splitlines():
            message = json.loads(line)
            answers[peer, int(message["id"])] = message
    found: dict[bytes, Counter[Any]] = defaultdict(Counter)
    wanted: dict[bytes, Counter[Any]] = defaultdict(Counter)
    for number, submit in enumerate(shares):
        message = answers[submit.peer, number]
        assert isinstance(message["id"], str) == (submit.spelling == "string id")
        identity, verdict = _expected(submit, jobs)
        if verdict is Verdict.ACCEPTED and wanted[identity][True]:
            verdict = Verdict.DUPLICATE
        accepted = verdict is Verdict.ACCEPTED
        wanted[identity][True if accepted else VERDICT_ERRORS[verdict][1]] += 1
        found[identity][True if message["error"] is None else message["error"][1]] += 1
    assert found == wanted
    assert ledger.stored == len(shares)
    rows = [row for batch in ledger.shares for row in batch]
    accepted = sum(counter[True] for counter in wanted.values())
    assert sum(row["verdict"] == Verdict.ACCEPTED for row in rows) == accepted


@settings(max_examples=40, deadline=None)
@given(
    st.lists(submits, min_size=1, max_size=25),
    st.lists(st.integers(1, 400), min_size=1, max_size=12),
    st.lists(st.booleans(), min_size=1, max_size=7),
)
def test_spelling_and_cutting_change_no_answer(
    shares: list[Submit], cuts: list[int], turns: list[bool]
) -> None:
    asyncio.run(_run(shares, cuts, turns))
