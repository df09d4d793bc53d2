"""Accounts at pools, one file a pool: what a pool says that it credited and paid.

A new pool is one module with `LAYOUT` and `open_account`, and one row in `POOLS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec

from hashwerk.economics.ports import PoolAccount
from hashwerk.economics.schemes import Scheme, Terms
from hashwerk.feeds.keys import read_key
from hashwerk.feeds.pool_accounts import braiins, f2pool, luxor, ocean
from hashwerk.feeds.pool_accounts.table import FileAccount, Layout, read_file
from hashwerk.feeds.settings import PoolAccountSettings


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


def open_account(settings: PoolAccountSettings) -> PoolAccount:
    """Return the configured account, ready to be asked.

    Raises:
        FeedError: If an export cannot be read or is not one of this pool.
        ConfigError: If the key cannot be read.
    """
    if settings.files:
        return open_files(settings.pool, [Path(path) for path in settings.files], settings.day_start_s)
    key = "" if settings.key_file is None else read_key(settings.upstream, settings.key_file)
    return POOLS[settings.pool].open(key, settings.account, settings.day_start_s, settings.url)


def terms_of(settings: PoolAccountSettings) -> Terms:
    """Return what was agreed with the pool, as far as the operator says it."""
    scheme = POOLS[settings.pool].scheme if settings.scheme is None else Scheme(settings.scheme)
    fee = Decimal(0) if settings.fee_percent is None else Decimal(str(settings.fee_percent)) / 100
    return Terms(scheme=scheme, pool_fee=fee)
