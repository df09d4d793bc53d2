"""Whose machines hash under which extranonce1: declared before an epoch, for work that no coinbase binds to an account.

A share for an upstream pool carries the extranonce1 that its session was given. Numbers that are counted for ever are given to
one session only, so a table of them, committed before the epoch it holds for, says whose the work is. What is declared for
one account is not worked with for another.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from hashwerk.stratum.v1.server import Extranonce

#: More rows are not declared; what no row names is work without an account.
MAX_ROWS: Final = 4_096
_BLOCK: Final = 256


class Row(NamedTuple):
    """The size of an extranonce1 and bytes that begin it, and the commitment of the account whose machines have it."""

    prefix: bytes
    account: bytes


class Holder(NamedTuple):
    """A live session."""

    extranonce1: int
    size: int
    account: bytes


class Declared:
    """The rows that are in force, or soon will be."""

    def __init__(self) -> None:
        self._accounts: dict[bytes, bytes] = {}

    def hold(self, rows: Iterable[Row]) -> None:
        """These rows and no others hold from now on."""
        self._accounts = dict(rows)

    def account_of(self, extranonce: Extranonce) -> bytes | None:
        """Return the account an extranonce1 is declared for, by the longest prefix that fits; None: for none."""
        name = named(extranonce.extranonce1, extranonce.extranonce1_size)
        return next(
            (
                self._accounts[name[:length]]
                for length in range(len(name), 1, -1)
                if name[:length] in self._accounts
            ),
            None,
        )


def named(extranonce1: int, size: int) -> bytes:
    """Return an extranonce1 as tables of prefixes spell it: its size, then its bytes, big-endian."""
    return bytes([size]) + extranonce1.to_bytes(size, "big")


def rows_of(holders: Sequence[Holder], highest: int) -> list[Row]:
    """Return the rows to declare for these sessions, sorted; a block of 256 numbers that is one account's is one row.

    Args:
        holders: The sessions alive, each with a number of its own.
        highest: The highest number given out: no number up to it is given to another session.
    """
    blocks: dict[tuple[int, int], list[Holder]] = {}
    for holder in holders:
        blocks.setdefault((holder.size, holder.extranonce1 // _BLOCK), []).append(holder)
    rows: list[Row] = []
    for (size, block), those in blocks.items():
        accounts = {holder.account for holder in those}
        if len(accounts) == 1 and len(those) > 1 and (block + 1) * _BLOCK - 1 <= highest:
            rows.append(Row(named(block * _BLOCK, size)[:-1], accounts.pop()))
        else:
            rows += [Row(named(holder.extranonce1, size), holder.account) for holder in those]
    return sorted(rows)[:MAX_ROWS]
