"""Accounts at pools, one file a pool: what a pool says that it credited and paid.

A new pool is one module with `LAYOUT` and `open_account`, and one row in `POOLS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import msgspec

from hashwerk.economics.ports import PoolAccount
from hashwerk.economics.schemes import Scheme
from hashwerk.feeds.pool_accounts import braiins, f2pool, luxor, ocean
from hashwerk.feeds.pool_accounts.table import FileAccount, Layout, read_file


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """How one pool's books are read, and the scheme it is known for. An account's own scheme and fee are settings."""

    open: Callable[
        [str, str, int, str | None], PoolAccount
    ]  # key, account, day_start_s, address in place of the pool's own
    layout: Layout
    needs_key: bool
    scheme: Scheme


POOLS: Final[dict[str, Pool]] = {
    "braiins": Pool(
        open=braiins.open_account,
        layout=braiins.LAYOUT,
        needs_key=True,
        scheme=Scheme.FPPS,
    ),
    "luxor": Pool(
        open=luxor.open_account,
        layout=luxor.LAYOUT,
        needs_key=True,
        scheme=Scheme.FPPS,
    ),
    "f2pool": Pool(
        open=f2pool.open_account,
        layout=f2pool.LAYOUT,
        needs_key=True,
        scheme=Scheme.FPPS,
    ),
    "ocean": Pool(
        open=ocean.open_account,
        layout=ocean.LAYOUT,
        needs_key=False,
        scheme=Scheme.TIDES,
    ),
}


def open_files(pool: str, paths: Iterable[Path], day_start_s: int = 0) -> FileAccount:
    """Return an account of ``pool``, read from its exports.

    Raises:
        FeedError: If a file cannot be read or is not an export of this pool.
    """
    layout = POOLS[pool].layout
    return FileAccount(pool, [read_file(pool, path, layout, day_start_s) for path in paths], day_start_s)
