"""Close epochs from rows of the ledger: what a mine does every few minutes, as pure functions over arrays.

Reading rows and writing the result is the store's part (`hashwerk.store.open_epoch`). `EpochCloser.close` has all shares
at hand; `EpochCloser.seal` is given what was prepared while the epoch was open (`open_shares`), and gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from hashwerk.errors import EvidenceError
from hashwerk.evidence import records, tree
from hashwerk.evidence.epoch import (
    Epoch,
    EpochFrame,
    Group,
    RecordLeaf,
    SealedEpoch,
    SignedHeader,
    close_epoch,
    credited_work,
    record_leaf,
    root_of_accounts,
    root_of_group,
    seal_epoch,
)
from hashwerk.evidence.key_files import SiteKeys
from hashwerk.evidence.keys import KeyChain, KeyEvent, event_hash, genesis, public_bytes, rotate
from hashwerk.evidence.open_shares import OpenShares
from hashwerk.evidence.records import KeyRecord, Record, Rejected, Thinning
from hashwerk.evidence.rehash import JobTable
from hashwerk.evidence.share_leaf import LEAF_DTYPE, Leaves
from hashwerk.evidence.standing import Standing
from hashwerk.evidence.tag import ZERO_ROOT
from hashwerk.evidence.tree import Node
from hashwerk.work.share import Verdict

ShareRecords = NDArray[np.void]  # rows of hashwerk.work.share.SHARE_DTYPE
Closed = TypeVar("Closed", bound=SealedEpoch)


class EpochCloser:
    """The end of a site's chain of epochs, and how the next one is put on it.

    Owned by one task. Nothing changes here when closing fails.
    """

    __slots__ = ("_chain", "_events", "_keys", "_last", "_standing")

    def __init__(
        self, keys: SiteKeys, events: Sequence[KeyEvent], last: SignedHeader | None, standing: Standing
    ) -> None:
        """Go on after an epoch.

        Args:
            keys: The private keys.
            events: The site's key events; empty for a site that begins.
            last: The last closed epoch; None: there is none yet.
            standing: The declarations in force in the next one.

        Raises:
            EvidenceError: If the key events do not hold.
        """
        self._keys = keys
        self._events = tuple(events)
        self._chain = KeyChain(self._events) if self._events else None
        self._last = last
        self._standing = standing

    @property
    def root(self) -> bytes:
        """The hash of the last closed epoch, for the tags of the following jobs; zero before the first."""
        return ZERO_ROOT if self._last is None else self._last.hash()

    @property
    def number(self) -> int:
        """The number of the open epoch."""
        return 0 if self._last is None else self._last.header.number + 1

    @property
    def start_us(self) -> int | None:
        """When the open epoch began; None before the first."""
        return None if self._last is None else self._last.header.end_us

    @property
    def standing(self) -> Standing:
        """The declarations in force in the open epoch."""
        return self._standing

    @property
    def key_records(self) -> list[Record]:
        """The changes of the key that happen with the open epoch: it is to name them."""
        return [
            KeyRecord(event=event_hash(event.body))
            for event in self._events[1:]
            if event.body.from_epoch == self.number
        ]

    @property
    def events(self) -> tuple[KeyEvent, ...]:
        """The site's key events."""
        return self._events

    def begin(self, declarations: Sequence[Record], now_us: int) -> Epoch:
        """Return epoch 0: no time and no shares, only what is declared from the beginning.

        Raises:
            EvidenceError: If there is one, or the recovery key is not at hand to be committed.
        """
        if self._last is not None:
            raise EvidenceError("the site has begun already")
        if not self._events:
            if self._keys.recovery is None:
                raise EvidenceError("the recovery key is needed once, to be committed at the beginning")
            next_key, recovery = public_bytes(self._keys.next), public_bytes(self._keys.recovery)
            self._extend(genesis(self._keys.current, next_key, recovery, now_us))
        epoch = close_epoch(self._frame(now_us, now_us), self._keys.current, declarations, ())
        return self._advance(epoch, declarations)

    def rotate(self, after: Ed25519PrivateKey, now_us: int) -> KeyEvent:
        """Let the committed next key take over with the open epoch; return the event, to be stored at once.

        Args:
            after: The key that will follow the next one; keep it first.
            now_us: The time.

        Raises:
            EvidenceError: If the site has not begun.
        """
        if not self._events:
            raise EvidenceError("the site has not begun")
        event = rotate(
            self._events[-1],
            self._keys.current,
            self._keys.next,
            public_bytes(after),
            from_epoch=self.number,
            now_us=now_us,
        )
        self._extend(event)
        self._keys = SiteKeys(self._keys.next, after, self._keys.recovery)
        return event

    def close(
        self,
        shares: ShareRecords,
        jobs: Mapping[int, records.Job],
        logged: Sequence[Record],
        end_us: int,
    ) -> Epoch:
        """Return the next epoch, signed; `root` is its hash from now on.

        Args:
            shares: All that were handed in, in the order of the ledger, whatever their verdict.
            jobs: At least those that accepted shares name.
            logged: Other records, in their order.
            end_us: When the epoch ends.

        Raises:
            EvidenceError: If the site has not begun, time runs backwards, or a job is missing.
        """
        frame = self._next_frame(end_us)
        accepted = shares[shares["verdict"] == Verdict.ACCEPTED]
        named = np.unique(accepted["job"]).tolist()
        missing = [job for job in named if job not in jobs]
        if missing:
            raise EvidenceError(f"job {missing[0]} is not in the ledger any more")
        all_records = [*(jobs[job] for job in named), *logged, *self.key_records, *_rejected(shares)]
        work = credited_work(all_records, self._standing)
        leaves = as_leaves(accepted)
        full: Node | None = None
        if self._standing.find(Thinning) is not None:
            plain = {job: jobs[job].work_log2 for job in named}
            full = root_of_accounts(
                [(g.account, root_of_group(g, plain)) for g in group_leaves(leaves, jobs)]
            )
            leaves = thin(leaves, [jobs[job] for job in named], work)
        groups = group_leaves(leaves, jobs)
        epoch = close_epoch(frame, self._keys.current, all_records, groups, full=full)
        return self._advance(epoch, all_records)

    def open_shares(self) -> OpenShares:
        """Return what the shares of the open epoch are to be given to."""
        return OpenShares(self._standing.find(Thinning))

    def seal(
        self,
        shares: OpenShares,
        logged: Sequence[RecordLeaf],
        end_us: int,
        pause: Callable[[], None] = tree.go_on,
    ) -> SealedEpoch:
        """Return the next epoch, signed, of shares that were taken in already; `root` is its hash from now on.

        Args:
            shares: All of the epoch.
            logged: Other records, in their order.
            end_us: When the epoch ends.
            pause: Called between pieces of work of about a millisecond.

        Raises:
            EvidenceError: If the site has not begun or time runs backwards.
        """
        frame = self._next_frame(end_us)
        leaves = [
            *shares.job_records(),
            *logged,
            *(record_leaf(record) for record in (*self.key_records, *shares.rejected())),
        ]
        root, accounts = shares.root()
        pause()
        full = shares.full_root()
        epoch = seal_epoch(frame, self._keys.current, leaves, root, accounts, full=full, pause=pause)
        return self._advance(epoch, [leaf.declared for leaf in logged if leaf.declared is not None])

    def _next_frame(self, end_us: int) -> EpochFrame:
        start_us = self.start_us
        if start_us is None:
            raise EvidenceError("the site has not begun")
        if end_us < start_us:
            raise EvidenceError(f"the epoch would end {start_us - end_us} µs before it began")
        return self._frame(start_us, end_us)

    def _extend(self, event: KeyEvent) -> None:
        self._events = (*self._events, event)
        self._chain = KeyChain(self._events)

    def _frame(self, start_us: int, end_us: int) -> EpochFrame:
        chain = self._chain
        assert chain is not None
        return EpochFrame(
            site=chain.site,
            number=self.number,
            start_us=start_us,
            end_us=end_us,
            previous=self.root,
            key_events=chain.head,
            standing=self._standing,
        )

    def _advance(self, epoch: Closed, logged: Sequence[Record]) -> Closed:
        self._last = epoch.signed
        self._standing = self._standing.after(logged)
        return epoch


def as_leaves(accepted: ShareRecords) -> Leaves:
    """Return accepted shares as leaves, their positions in the order of the ledger."""
    leaves = np.empty(len(accepted), LEAF_DTYPE)
    leaves["position"] = np.arange(len(accepted), dtype=np.uint32)
    for name in LEAF_DTYPE.names or ():
        if name != "position":
            leaves[name] = accepted[name]
    return leaves


def group_leaves(leaves: Leaves, jobs: Mapping[int, records.Job]) -> list[Group]:
    """Return leaves by the account of their jobs, ascending, each in the order of positions."""
    named, which = np.unique(leaves["job"], return_inverse=True)
    owners = [jobs[int(job)].account for job in named]
    accounts = sorted(set(owners))
    number = np.array([accounts.index(owner) for owner in owners], np.uint32)[which]
    return [Group(account, leaves[number == index]) for index, account in enumerate(accounts)]


def thin(leaves: Leaves, jobs: Sequence[records.Job], work: Mapping[int, int]) -> Leaves:
    """Return those leaves that meet what is credited; they keep their positions among all."""
    if not len(leaves):
        return leaves
    table = JobTable(jobs, work)
    hashed = table.hash(leaves)
    kept: Leaves = leaves[hashed.zeros >= table.rows["work_log2"][hashed.rows]]
    return kept


def _rejected(shares: ShareRecords) -> list[Record]:
    verdicts, counts = np.unique(shares["verdict"], return_counts=True)
    return [
        Rejected(verdict=int(verdict), count=int(count))
        for verdict, count in zip(verdicts, counts, strict=True)
        if verdict != Verdict.ACCEPTED
    ]
