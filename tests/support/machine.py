"""A machine that really hashes, with hashlib, at a trivial difficulty: as many valid, distinct shares as a test wants.

It keeps what it was told about each share, so that a test can compare this with the ledger.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import json
import math
import struct
import time
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from hashwerk.stratum.v1.notify import NotifyParams
from hashwerk.work.kernel import Scanner

#: Every sixteenth hash is a share: quick to find, and a hash that is none is quick to find too.
DIFFICULTY = 2.0**-28
#: The Stratum part of a site file for such machines; on the usual private chain none of their shares is a block.
STRATUM = f"[stratum]\nstart_difficulty = {DIFFICULTY}\nmin_difficulty = {DIFFICULTY}\nvardiff = false\n"
DEADLINE_S = 20.0
#: A share target below this is found by the kernel, one above by hashlib.
_WORTH_A_KERNEL = 1 << 250


class Share(NamedTuple):
    """What tells one share from another."""

    job: int
    extranonce1: int
    extranonce2: int
    ntime: int
    nonce: int
    version_bits: int = 0


class Machine(asyncio.Protocol):
    """One connection to a Stratum server. ``accepted``, ``refused`` and ``under_way`` never hold the same share."""

    def __init__(self, user: str) -> None:
        self.user = user
        self.token = ""
        self.extranonce1 = ""
        self.job: NotifyParams | None = None
        self.jobs = 0
        self.accepted: dict[Share, float] = {}  # and how long the answer took, in seconds
        self.refused: dict[Share, int] = {}  # and the code
        self.under_way: dict[int, tuple[Share, float]] = {}
        self.is_lost = False
        self._transport: asyncio.Transport | None = None
        self._tail = b""
        self._difficulty = 0.0
        self._limit = 0  # a hash below this is a share
        self._header = b""
        self.extranonce2_size = 8
        self.mask: int | None = None  # None: it does not roll version bits
        self.job_at = 0.0  # when the present job came, Unix seconds
        self._next_extranonce: tuple[str, int] | None = None  # from the next job on
        self._extranonce2 = 0
        self._nonce = 0
        self._ids = 2
        self._answers: dict[int, dict[str, Any]] = {}
        self._bits = 0
        self._window = 0
        self._news = asyncio.Event()

    @classmethod
    async def begin(
        cls,
        server: tuple[str, int],
        user: str = "acc.m1",
        token: str | None = None,
        *,
        rolls: bool = False,
        follows: bool = False,
    ) -> Machine:
        """Connect, subscribe, authorise, and wait for the first job.

        Args:
            server: Host and port.
            user: Account and machine.
            token: The session to resume.
            rolls: Whether it rolls version bits, where the server lets it.
            follows: Whether it takes a new extranonce in the middle of a session.

        Raises:
            OSError: If the server does not listen, or closes.
        """
        loop = asyncio.get_running_loop()
        _, machine = await loop.create_connection(lambda: cls(user), *server)
        try:
            if rolls:
                wanted = {"version-rolling.mask": "ffffffff"}
                configured = await machine.call("mining.configure", ["version-rolling"], wanted)
                machine.mask = int(configured["result"].get("version-rolling.mask", "0"), 16)
            subscribed = await machine.call("mining.subscribe", "machine/1", *([token] if token else []))
            machine.token, machine.extranonce1 = subscribed["result"][0][0][1], subscribed["result"][1]
            machine.extranonce2_size = subscribed["result"][2]
            if follows:
                assert (await machine.call("mining.extranonce.subscribe"))["result"] is True
            authorized = await machine.call("mining.authorize", user, "x")
            assert authorized["result"] is True, authorized
            await machine.until(lambda: machine.job is not None)
        except BaseException:
            machine.close()
            raise
        return machine

    # --- the protocol -----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Hear every whole line, then send as many new shares as are wanted."""
        *lines, self._tail = (self._tail + data).split(b"\n")
        now = time.monotonic()
        for line in lines:
            self._hear(json.loads(line), now)
        self._refill()
        self._news.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """End; what is under way stays so: whether it counts, nobody told."""
        self.is_lost = True
        self._news.set()

    def _hear(self, message: dict[str, Any], now: float) -> None:
        match message.get("method"):
            case "mining.notify":
                self.job = NotifyParams.from_params(message["params"])
                self.job_at = time.time()
                self.jobs += 1
                if self._next_extranonce is not None:
                    self.extranonce1, self.extranonce2_size = self._next_extranonce
                    self._next_extranonce = None
                self._limit = 1 << 256 - (32 + round(math.log2(self._difficulty)))
                self._header = b""
            case "mining.set_difficulty":
                self._difficulty = message["params"][0]
            case "mining.set_extranonce":
                self._next_extranonce = message["params"][0], message["params"][1]
            case "mining.set_version_mask":
                if self.mask is not None:
                    self.mask = int(message["params"][0], 16)
                    self._header = b""
            case None if message["id"] in self.under_way:
                share, sent_at = self.under_way.pop(message["id"])
                if message["result"] is True:
                    self.accepted[share] = now - sent_at
                else:
                    self.refused[share] = message["error"][0]
            case None:
                self._answers[message["id"]] = message
            case _:
                pass

    # --- what a test does with it -----------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        assert self._transport is not None
        self._transport.write(data)

    async def call(self, method: str, *params: Any) -> dict[str, Any]:
        """Send a request and return the answer.

        Raises:
            ConnectionError: If the server closes before.
        """
        self._ids += 1
        number = self._ids
        self.write(json.dumps({"id": number, "method": method, "params": params}).encode() + b"\n")
        await self.until(lambda: number in self._answers)
        return self._answers.pop(number)

    def find(self) -> Share:
        """Return a share of the present job that was never found before."""
        return self._scan(is_share=True)

    def find_none(self) -> Share:
        """Return what looks like a share but whose hash is above the target."""
        return self._scan(is_share=False)

    def hand_in(self, share: Share) -> None:
        """Send a share; `accepted` or `refused` will tell what became of it."""
        self.write(self.line(share))

    async def answer(self, share: Share) -> int:
        """Hand a share in; return 0 once it is accepted, else the code of the error.

        Raises:
            ConnectionError: If the server closes before it answers.
        """
        self.refused.pop(share, None)
        was_accepted = self.accepted.pop(share, None)
        self.hand_in(share)
        await self.until(lambda: share in self.accepted or share in self.refused)
        code = self.refused.get(share, 0)
        if was_accepted is not None:  # handed in again: what was said the first time stays said
            self.refused.pop(share, None)
            self.accepted[share] = was_accepted
        return code

    def work(self, window: int) -> None:
        """From now on keep so many shares under way, whatever becomes of them; 0 ends that."""
        self._window = window
        self._refill()

    async def until(self, condition: Callable[[], bool], within_s: float = DEADLINE_S) -> None:
        """Wait until a condition holds that depends on what the server says.

        Raises:
            ConnectionError: If the connection is lost before it does.
            TimeoutError: If it does not in time.
        """
        async with asyncio.timeout(within_s):
            while not condition():
                if self.is_lost:
                    raise ConnectionError("the server closed the connection")
                self._news.clear()
                await self._news.wait()

    async def lost(self, within_s: float = DEADLINE_S) -> None:
        """Wait until the connection is gone."""
        async with asyncio.timeout(within_s):
            while not self.is_lost:
                self._news.clear()
                await self._news.wait()

    def close(self) -> None:
        """Leave."""
        if self._transport is not None:
            self._transport.close()

    # --- hashing ----------------------------------------------------------------------------------------------------

    def _refill(self) -> None:
        missing = self._window - len(self.under_way)
        if missing > 0 and not self.is_lost and self.job is not None:
            self.write(b"".join([self.line(self.find()) for _ in range(missing)]))

    def line(self, share: Share) -> bytes:
        """Return the line that hands a share in, written as the session is now; its answer is waited for."""
        self._ids += 1
        self.under_way[self._ids] = share, time.monotonic()
        bits = "" if self.mask is None else f',"{share.version_bits:08x}"'
        return (
            f'{{"id":{self._ids},"method":"mining.submit","params":["{self.user}","{share.job:x}",'
            f'"{share.extranonce2:0{2 * self.extranonce2_size}x}","{share.ntime:08x}","{share.nonce:08x}"{bits}]}}\n'
        ).encode()

    def _scan(self, *, is_share: bool) -> Share:
        assert self.job is not None
        if not self._header:
            self._begin_header(self.job)
        if is_share and self._limit < _WORTH_A_KERNEL:
            return self._share(self._scan_hard())
        while True:
            nonce = self._nonce
            self._nonce += 1
            digest = _sha256d(self._header + struct.pack("<I", nonce))
            if (int.from_bytes(digest, "little") < self._limit) == is_share:
                return self._share(nonce)

    def _scan_hard(self) -> int:
        while True:
            found = _scanner().scan(self._header, self._nonce, 1 << 16, self._limit - 1, 1)
            self._nonce = found[0] + 1 if found else self._nonce + (1 << 16)
            if found:
                return found[0]

    def _share(self, nonce: int) -> Share:
        assert self.job is not None
        return Share(
            int(self.job.job_id, 16),
            int(self.extranonce1, 16),
            self._extranonce2,
            self.job.ntime,
            nonce,
            self._bits,
        )

    def _begin_header(self, job: NotifyParams) -> None:
        """Start on an extranonce2 and nonces that this session never used before, whoever resumed it."""
        self._extranonce2 += 1
        self._nonce = time.monotonic_ns() // 1_000 & 0x7FFF_FFFF
        self._extranonce2 %= 256**self.extranonce2_size
        extranonce = bytes.fromhex(self.extranonce1) + self._extranonce2.to_bytes(
            self.extranonce2_size, "big"
        )
        root = _sha256d(job.coinbase1 + extranonce + job.coinbase2)
        for sibling in job.branch:
            root = _sha256d(root + sibling)
        self._bits = _deposit(self.jobs, self.mask or 0)
        version = job.version | self._bits  # a job's own bits inside the mask are zero
        self._header = struct.pack("<I32s32sII", version, job.prev_hash, root, job.ntime, job.nbits)


@functools.cache
def _scanner() -> Scanner:
    return Scanner()


def _deposit(number: int, mask: int) -> int:
    """Return the low bits of a number spread over the one bits of a mask."""
    bits = [1 << at for at in range(32) if mask >> at & 1]
    return sum(bit for place, bit in enumerate(bits) if number >> place & 1)


def _sha256d(data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()
