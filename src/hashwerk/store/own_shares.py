"""A customer's shares as he is promised and shown them: receipts of the open epoch, proofs of closed ones."""

from __future__ import annotations

import hmac
import sqlite3
from typing import Final, NamedTuple

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hashwerk.errors import EvidenceError
from hashwerk.evidence.closer import as_leaves
from hashwerk.evidence.epoch import Epoch
from hashwerk.evidence.openings import draw, open_draw
from hashwerk.evidence.proof import AccountProof, EpochProver, ShareProof
from hashwerk.evidence.proof_file import Openings, openings_of
from hashwerk.evidence.receipt import Receipt, give_receipts
from hashwerk.evidence.records import UNBOUND
from hashwerk.store import epochs, share_groups
from hashwerk.stratum.ports import ShareRecords
from hashwerk.work.share import SHARE_DTYPE, Verdict

#: Receipts that are signed at once; whoever has more asks again.
MOST_RECEIPTS: Final = 4_096
#: An epoch is published so long after its end at the latest, or its receipts prove that it is withheld.
PUBLISHED_WITHIN_US: Final = 3_600_000_000


class Owner(NamedTuple):
    """An account, known by its commitment and the salt that only its owner was given."""

    id: int
    commitment: bytes


class OwnReceipts(NamedTuple):
    """Receipts of one epoch, and whether there are more."""

    epoch: int
    receipts: list[Receipt]
    is_whole: bool


def find_owner(connection: sqlite3.Connection, commitment: bytes, salt: bytes) -> Owner | None:
    """Return the account of a commitment if the salt is its; None: it is not, or there is no such account."""
    row = connection.execute("SELECT id, salt FROM accounts WHERE commitment = ?", (commitment,)).fetchone()
    if row is None or not hmac.compare_digest(bytes(row[1]), salt):
        return None
    return Owner(int(row[0]), commitment)


def own_receipts(
    connection: sqlite3.Connection,
    key: Ed25519PrivateKey,
    owner: Owner,
    *,
    interval_us: int,
    now_us: int,
    epoch: int | None = None,
    after: int = -1,
) -> OwnReceipts:
    """Return receipts for an account's shares in an epoch, `MOST_RECEIPTS` of them at most.

    Of the open epoch only what is sure to stay in it: the shares before the first that was received at or after its earliest
    end. The others follow once it is closed.

    Args:
        connection: To the ledger.
        key: The site's.
        owner: Whose shares.
        interval_us: Length of an epoch; epochs end at whole multiples of it.
        now_us: The time.
        epoch: Its number; None: the open one.
        after: Only positions above this.

    Raises:
        EvidenceError: If the site has not begun, or there is no such epoch.
        StoreError: If the ledger cannot be read.
    """
    last = epochs.last_epoch(connection)
    if last is None:
        raise EvidenceError("the site has not begun")
    header = last.signed.header
    number = header.number + 1 if epoch is None else epoch
    if number > header.number + 1 or number < 1:
        raise EvidenceError(f"epoch {number} is not there yet; the open one is {header.number + 1}")
    if number == header.number + 1:
        until_us = (header.end_us // interval_us + 1) * interval_us
        first, end = last.end_position, None
    else:
        (row,) = epochs.read_epochs(connection, number, number)
        until_us, first, end = row.signed.header.end_us, row.first_position, row.end_position
    found, is_whole = _own(connection, owner, _Span(first, end, until_us), after)
    leaves = as_leaves(found.shares)
    leaves["position"] = found.positions
    if not len(leaves):
        return OwnReceipts(number, [], is_whole)
    unbound = np.isin(leaves["job"], np.array(sorted(found.unbound), np.uint32))
    receipts = give_receipts(
        key,
        site=header.site,
        epoch=number,
        accounts=[UNBOUND if one else owner.commitment for one in unbound.tolist()],
        leaves=leaves,
        deadline_us=max(until_us, now_us) + PUBLISHED_WITHIN_US,
    )
    return OwnReceipts(number, receipts, is_whole)


def sum_proof(connection: sqlite3.Connection, owner: Owner, epoch: int) -> AccountProof:
    """Return the proof of an account's sum in a closed epoch.

    Raises:
        EvidenceError: If there is no such epoch, or it holds none of its shares.
        StoreError: If the ledger cannot be read.
    """
    return _prover(connection, epoch)[1].account(owner.commitment)


def share_proof(connection: sqlite3.Connection, owner: Owner, epoch: int, position: int) -> ShareProof:
    """Return the proof of a share of an account in a closed epoch.

    Raises:
        EvidenceError: If there is no such epoch, or no share of the account stands there.
        StoreError: If the ledger cannot be read.
    """
    return _prover(connection, epoch)[1].share(owner.commitment, position)


def opened(connection: sqlite3.Connection, epoch: int, randomness: bytes, count: int) -> Openings:
    """Return the shares that a verifier's own randomness draws from a closed epoch.

    Raises:
        EvidenceError: If there is no such epoch, or no work in it.
        StoreError: If the ledger cannot be read.
    """
    whole, prover = _prover(connection, epoch)
    shares = open_draw(draw(whole.signed, randomness, count), whole, prover)
    return openings_of(whole.signed, randomness, count, shares)


class _Found(NamedTuple):
    shares: ShareRecords
    positions: np.ndarray  # in the epoch
    unbound: set[int]  # jobs of upstream pools


class _Span(NamedTuple):
    first: int  # position in the ledger
    end: int | None  # …after its last share; None: up to the first share that was received at or after
    until_us: int


def _own(connection: sqlite3.Connection, owner: Owner, span: _Span, after: int) -> tuple[_Found, bool]:
    """Return the accepted shares of an account in a part of the ledger, and whether these are all."""
    mine: dict[int, bool] = {}
    unbound: set[int] = set()
    parts, positions = [np.empty(0, SHARE_DTYPE)], [np.empty(0, np.uint32)]
    count = before = 0
    limit = None if span.end is None else span.end - span.first
    if limit == 0:
        return _Found(parts[0], positions[0], unbound), True
    for _, shares in share_groups.read(connection, span.first, limit):
        late = np.flatnonzero((shares["time_us"] >= span.until_us) & (span.end is None))
        kept = shares[: int(late[0])] if len(late) else shares
        accepted = kept[kept["verdict"] == Verdict.ACCEPTED]
        numbers = np.arange(before, before + len(accepted), dtype=np.uint32)
        before += len(accepted)
        _learn(connection, owner, np.unique(accepted["job"]).tolist(), mine, unbound)
        chosen = np.array([mine[job] for job in accepted["job"].tolist()], bool) & (
            numbers.astype(np.int64) > after
        )
        parts.append(accepted[chosen])
        positions.append(numbers[chosen])
        count += int(chosen.sum())
        if len(late) or count > MOST_RECEIPTS:
            break
    own, places = np.concatenate(parts), np.concatenate(positions)
    found = _Found(own[:MOST_RECEIPTS], places[:MOST_RECEIPTS], unbound)
    return found, len(own) <= MOST_RECEIPTS


def _learn(
    connection: sqlite3.Connection, owner: Owner, jobs: list[int], mine: dict[int, bool], unbound: set[int]
) -> None:
    """Look up whose jobs are that were not seen before."""
    new = [job for job in jobs if job not in mine]
    mine.update(dict.fromkeys(new, False))
    for start in range(0, len(new), 500):
        part = new[start : start + 500]
        rows = connection.execute(
            f"SELECT id, upstream IS NOT NULL FROM jobs WHERE account = ? AND id IN ({','.join('?' * len(part))})",  # noqa: S608
            (owner.id, *part),
        )
        for job, is_upstream in rows:
            mine[job] = True
            if is_upstream:
                unbound.add(job)


def _prover(connection: sqlite3.Connection, number: int) -> tuple[Epoch, EpochProver]:
    rows = list(epochs.read_epochs(connection, number, number))
    if not rows:
        raise EvidenceError(f"epoch {number} is not closed")
    epoch = epochs.read_epoch(connection, rows[0])
    return epoch, EpochProver(epoch, epochs.read_standing(connection, rows[0].standing))
