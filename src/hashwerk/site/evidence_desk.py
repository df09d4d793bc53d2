"""Can I prove it? The site's epochs, what the last hour's evidence says, bundles on demand, and strangers' files checked.

Owned by the loop of the `site` process. Reading rows happens on a thread; whatever hashes or reads strangers' bytes happens
in processes of their own (`evidence_worker`), few at a time, with a limit of time.

Resource handling: files under way lie in a folder of their own that only their owner can read; it is emptied at the start.
Cancellation: `run` and the calls end at once, and with them the process that works for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar

import msgspec

from hashwerk.clock import Clock
from hashwerk.errors import EvidenceError, HashwerkError, StoreError
from hashwerk.evidence.bundle import StampKind
from hashwerk.evidence.key_files import CURRENT, read_key
from hashwerk.evidence.keys import event_hash, fingerprint
from hashwerk.evidence.proof import AccountProof, ShareProof
from hashwerk.evidence.proof_file import Openings
from hashwerk.site.evidence_worker import Outcome, Task
from hashwerk.site.external_time import ExternalTime
from hashwerk.site.key_lines import KeyLine, read_key_lines
from hashwerk.store import epochs, own_shares
from hashwerk.store.connection import connect_reader, store_error
from hashwerk.store.stamp_book import read_kept

log = logging.getLogger(__name__)

Result = TypeVar("Result")

#: Rows of the newest epochs that the page shows.
EPOCHS_SHOWN: Final = 50
STATEMENT_SPAN_S: Final = 3_600.0
#: The statement of the last hour is made at most so often, and only when an epoch was closed since.
STATEMENT_EVERY_S: Final = 60.0
#: Whoever asked for the evidence is taken to look at it so long.
LOOKED_FOR_S: Final = 90.0
TIME_LIMIT_S: Final = 300.0
_REFRESH_S: Final = 2.0


class BusyError(EvidenceError):
    """As many bundles as may be are under way already."""

    retry = True


class EpochLine(msgspec.Struct, frozen=True, kw_only=True):
    """A closed epoch in one line."""

    number: int
    start: float
    end: float
    root: str  # its hash: what following jobs carry
    shares: int
    work: str  # hashes credited in all accounts, in decimal digits: it may need more than 64 bits
    key: str  # fingerprint of who signed it
    stamps: tuple[str, ...] = ()  # kinds of its own external stamps; none: nobody else says when


class ServiceLine(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who is asked for external time."""

    name: str
    epoch: int | None  # the last that it stamped
    at: float | None
    waiting: int  # stamps that wait for their block
    problem: str  # why it does not stamp now; empty: it does


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """What the evidence of the last hour says, verified as a stranger would."""

    at: float
    last_epoch: int
    size: int
    report: dict[str, Any]


class EvidenceView(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of the site's evidence."""

    site: str | None = None  # hash that names the site; None: it has not begun
    key: str | None = None  # fingerprint of the key that signs now
    epochs: tuple[EpochLine, ...] = ()  # the newest first
    statement: Statement | None = None
    under_way: bool = False  # a newer statement is being made
    problem: str = ""  # why there is no statement, or no newer one
    services: tuple[ServiceLine, ...] = ()  # who is asked for external time
    witness: str | None = None  # fingerprint of the key by which this site is a witness for others


class EvidenceDesk:
    """The evidence of one mine for those who look at it."""

    def __init__(
        self,
        ledger: Path,
        keys: Path,
        spool: Path,
        clock: Clock,
        *,
        time: ExternalTime | None = None,
        epoch_s: float = 60.0,
    ) -> None:
        """Serve from ``ledger``, seal with the keys in the folder ``keys``, keep files under way in the folder ``spool``.

        ``time`` is who is asked for external time; None: nobody. ``epoch_s`` is the length of an epoch.
        """
        self._time = time
        self._epoch_us = int(epoch_s * 1e6)
        self._proofs = asyncio.Semaphore(2)
        self._ledger = ledger
        self._keys = keys
        self._spool = spool
        self._clock = clock
        self._view = EvidenceView()
        self._looked_at = float("-inf")
        self._made_at = float("-inf")
        self._made_problem = ""
        self._lookers = 0
        self._woken = asyncio.Event()
        self._bundles = asyncio.Semaphore(1)
        self._checks = asyncio.Semaphore(2)

    def view(self) -> EvidenceView:
        """Return what is known, without asking for more."""
        return self._view

    def join(self) -> None:
        """Somebody has opened the page."""
        self._lookers += 1
        self.look()

    def leave(self) -> None:
        """Somebody has closed it."""
        self._lookers -= 1

    def look(self) -> None:
        """Somebody asks: keep it up to date for a while."""
        self._looked_at = self._clock.monotonic()
        self._woken.set()

    async def run(self) -> None:
        """Keep epochs and statement up to date while somebody looks, until cancelled."""
        await asyncio.to_thread(self._empty_spool)
        while True:
            if not self._is_looked_at():
                self._woken.clear()
                await self._woken.wait()
            await self.refresh()
            await asyncio.sleep(_REFRESH_S)

    async def refresh(self) -> None:
        """Read the epochs again and make a new statement if one is due."""
        try:
            await self.read()
        except HashwerkError as error:
            self._change(problem=str(error))
            return
        self._change(problem=self._made_problem)
        newest, made = self._view.epochs[:1], self._view.statement
        due = self._clock.monotonic() - self._made_at >= STATEMENT_EVERY_S
        if due and newest and newest[0].number > 0 and (made is None or newest[0].number != made.last_epoch):
            await self._make_statement(newest[0].number)

    async def read(self) -> EvidenceView:
        """Read keys and newest epochs.

        Raises:
            StoreError: If the ledger cannot be read.
            EvidenceError: If its evidence is damaged.
        """
        site, key, lines = await asyncio.to_thread(_read, self._ledger, EPOCHS_SHOWN, None)
        self._change(site=site, key=key, epochs=lines, services=self._services(), witness=self._witness_key())
        return self._view

    async def keys(self) -> tuple[KeyLine, ...]:
        """Return the site's keys, the present one first.

        Raises:
            StoreError: If the ledger cannot be read.
        """
        return await asyncio.to_thread(read_key_lines, self._ledger, self._keys)

    def _services(self) -> tuple[ServiceLine, ...]:
        return tuple(
            ServiceLine(
                name=state.name,
                epoch=state.last_epoch,
                at=state.last_at,
                waiting=state.waiting,
                problem=state.problem,
            )
            for state in (self._time.states() if self._time is not None else ())
        )

    def _witness_key(self) -> str | None:
        return None if self._time is None or self._time.witness is None else self._time.witness.key

    async def epochs(self, limit: int, before: int | None = None) -> tuple[EpochLine, ...]:
        """Return closed epochs, the newest first, older than number ``before``.

        Raises:
            StoreError: If the ledger cannot be read.
            EvidenceError: If its evidence is damaged.
        """
        return (await asyncio.to_thread(_read, self._ledger, limit, before))[2]

    async def bundle(self, start: float, end: float) -> tuple[BinaryIO, int]:
        """Make the bundle of a period; return it, open and without a name, and its size. The caller closes it.

        Raises:
            BusyError: If another is being made.
            EvidenceError: If no epoch of the period is closed, or it took too long.
        """
        async with self._only(self._bundles, "a bundle is being made"), self.spooled() as file:
            task = Task(
                file=str(file),
                ledger=str(self._ledger),
                keys=str(self._keys),
                start_us=int(start * 1e6),
                end_us=int(end * 1e6),
            )
            outcome = await _work(task)
            return file.open("rb"), outcome.size

    @asynccontextmanager
    async def check_slot(self) -> AsyncIterator[Path]:
        """Claim the right to hand in a file to check; yields where to write it.

        Raises:
            BusyError: If as many as may be are being checked.
        """
        async with self._only(self._checks, "other files are being checked"), self.spooled() as file:
            yield file

    async def check(self, file: Path, key: str | None = None) -> dict[str, Any]:
        """Return what the verifier says of a file, as `hashwerk verify --json` prints it; ``key`` is pinned if given.

        Raises:
            EvidenceError: If it took too long.
        """
        outcome = await _work(Task(file=str(file), verify=True, key=key))
        assert outcome.report is not None
        return outcome.report

    async def check_together(
        self, file: Path, names: Sequence[str], key: str | None = None
    ) -> tuple[dict[str, Any], ...]:
        """Return what several files are, one after the other; they are named 0, 1 … and lie beside ``file``.

        Raises:
            EvidenceError: If it took too long.
        """
        return (await _work(Task(file=str(file), names=tuple(names), key=key))).found

    async def owner(self, account: bytes, salt: bytes) -> own_shares.Owner | None:
        """Return the account of a commitment if the salt is its.

        Raises:
            StoreError: If the ledger cannot be read.
        """
        return await self._read_for(lambda connection: own_shares.find_owner(connection, account, salt))

    async def receipts(
        self, owner: own_shares.Owner, epoch: int | None, after: int
    ) -> own_shares.OwnReceipts:
        """Return receipts for an account's shares in an epoch; None: the open one.

        Raises:
            BusyError: If others are being made.
            EvidenceError: If there is no such epoch.
            StoreError: If the ledger cannot be read.
        """

        def give(connection: sqlite3.Connection) -> own_shares.OwnReceipts:
            return own_shares.own_receipts(
                connection,
                read_key(self._keys / CURRENT),
                owner,
                interval_us=self._epoch_us,
                now_us=int(self._clock.time() * 1e6),
                epoch=epoch,
                after=after,
            )

        return await self._prove(give)

    async def sum_proof(self, owner: own_shares.Owner, epoch: int) -> AccountProof:
        """Return the proof of an account's sum in a closed epoch.

        Raises:
            BusyError: If others are being made.
            EvidenceError: If the epoch is not closed, or holds none of its shares.
            StoreError: If the ledger cannot be read.
        """
        return await self._prove(lambda connection: own_shares.sum_proof(connection, owner, epoch))

    async def share_proof(self, owner: own_shares.Owner, epoch: int, position: int) -> ShareProof:
        """Return the proof of a share of an account in a closed epoch.

        Raises:
            BusyError: If others are being made.
            EvidenceError: If the epoch is not closed, or no such share stands there.
            StoreError: If the ledger cannot be read.
        """
        return await self._prove(
            lambda connection: own_shares.share_proof(connection, owner, epoch, position)
        )

    async def openings(self, epoch: int, randomness: bytes, count: int) -> Openings:
        """Return the shares that a verifier's own randomness draws from a closed epoch.

        Raises:
            BusyError: If others are being made.
            EvidenceError: If the epoch is not closed, or has no work.
            StoreError: If the ledger cannot be read.
        """
        return await self._prove(lambda connection: own_shares.opened(connection, epoch, randomness, count))

    async def _prove(self, make: Callable[[sqlite3.Connection], Result]) -> Result:
        async with self._only(self._proofs, "other proofs are being made"):
            return await self._read_for(make)

    async def _read_for(self, make: Callable[[sqlite3.Connection], Result]) -> Result:
        def read() -> Result:
            connection = connect_reader(self._ledger)
            try:
                return make(connection)
            except sqlite3.Error as error:
                raise store_error(error, self._ledger, "the evidence cannot be read") from error
            finally:
                connection.close()

        return await asyncio.to_thread(read)

    @asynccontextmanager
    async def spooled(self) -> AsyncIterator[Path]:
        """Yield a name for a file under way, which is removed afterwards."""
        self._spool.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=self._spool))
        try:
            yield folder / "bundle.hwe"
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _make_statement(self, last_epoch: int) -> None:
        if self._bundles.locked():
            return
        now = self._clock.time()
        self._change(under_way=True)
        try:
            async with self._bundles, self.spooled() as file:
                outcome = await _work(
                    Task(
                        file=str(file),
                        ledger=str(self._ledger),
                        keys=str(self._keys),
                        start_us=int((now - STATEMENT_SPAN_S) * 1e6),
                        end_us=int(now * 1e6),
                        verify=True,
                    )
                )
        except EvidenceError as error:
            log.warning("the statement of the last hour: %s", error)
            self._made_problem = str(error)
        else:
            assert outcome.report is not None
            made = Statement(at=now, last_epoch=last_epoch, size=outcome.size, report=outcome.report)
            self._change(statement=made)
            self._made_problem = ""
        finally:
            self._made_at = self._clock.monotonic()
            self._change(under_way=False, problem=self._made_problem)

    def _change(self, **changes: object) -> None:
        self._view = msgspec.structs.replace(self._view, **changes)

    def _is_looked_at(self) -> bool:
        return self._lookers > 0 or self._clock.monotonic() - self._looked_at < LOOKED_FOR_S

    def _empty_spool(self) -> None:
        shutil.rmtree(self._spool, ignore_errors=True)

    @staticmethod
    @asynccontextmanager
    async def _only(slots: asyncio.Semaphore, what: str) -> AsyncIterator[None]:
        if slots.locked():
            raise BusyError(f"{what}; try again in a moment")
        async with slots:
            yield


async def _work(task: Task) -> Outcome:
    """Have a task done by a process of its own.

    Raises:
        EvidenceError: If it cannot be done, took too long, or broke.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "hashwerk.site.evidence_worker",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(TIME_LIMIT_S):
            said, errors = await process.communicate(msgspec.json.encode(task))
    except TimeoutError as error:
        raise EvidenceError(
            f"this takes longer than {TIME_LIMIT_S:.0f} s; use hashwerk prove and hashwerk verify"
        ) from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode != 0:
        log.error(
            "the evidence worker ended with %s: %s", process.returncode, errors.decode(errors="replace")
        )
        raise EvidenceError("the process that reads bundles ended early; the log says more")
    outcome = msgspec.json.decode(said, type=Outcome)
    if outcome.problem:
        raise EvidenceError(outcome.problem)
    return outcome


def _read(
    ledger: Path, limit: int, before: int | None
) -> tuple[str | None, str | None, tuple[EpochLine, ...]]:
    """Return site, key and the newest epochs of a ledger."""
    if not ledger.exists():
        raise StoreError(f"{ledger}: there is no ledger yet")
    connection = connect_reader(ledger)
    try:
        events = epochs.read_key_events(connection)
        last = epochs.last_epoch(connection)
        if last is None:
            return None, None, ()
        end = last.signed.header.number + 1 if before is None else before
        first = max(0, end - limit)
        kinds: dict[int, list[str]] = {}
        for stamp in epochs.read_stamps(connection, first, end):
            kinds.setdefault(stamp.epoch, []).append(StampKind(stamp.kind).name.lower())
        for kept in read_kept(ledger, first, end):
            waits = " (waits for its block)" if kept.waits else ""
            kinds.setdefault(kept.stamp.epoch, []).append(f"{StampKind(kept.stamp.kind).name.lower()}{waits}")
        lines = [
            _line(row, tuple(kinds.get(row.signed.header.number, ())))
            for row in epochs.read_epochs(connection, first, end - 1)
        ]
    except sqlite3.Error as error:
        raise store_error(error, ledger, "the epochs cannot be read") from error
    finally:
        connection.close()
    return event_hash(events[0].body).hex(), fingerprint(events[-1].body.key), tuple(reversed(lines))


def _line(row: epochs.EpochRow, stamps: tuple[str, ...]) -> EpochLine:
    header = row.signed.header
    return EpochLine(
        number=header.number,
        start=header.start_us / 1e6,
        end=header.end_us / 1e6,
        root=row.signed.hash().hex(),
        shares=header.shares,
        work=str(header.work),
        key=fingerprint(header.key),
        stamps=stamps,
    )
