"""The durable record on SQLite: the ledger that writes, and the reader for everyone else."""

from hashwerk.store.fates import FateCount, FateKey
from hashwerk.store.ledger import LedgerStatus, SqliteLedger
from hashwerk.store.proved import FateSum, ProvedRow, UpstreamRow
from hashwerk.store.rates import RateTable, RateWindow
from hashwerk.store.reader import EventRow, LedgerReader, SeriesPoint, Totals, WorkerRow
from hashwerk.store.settings import StoreSettings

__all__ = [
    "EventRow",
    "FateCount",
    "FateKey",
    "FateSum",
    "LedgerReader",
    "LedgerStatus",
    "ProvedRow",
    "RateTable",
    "RateWindow",
    "SeriesPoint",
    "SqliteLedger",
    "StoreSettings",
    "Totals",
    "UpstreamRow",
    "WorkerRow",
]
