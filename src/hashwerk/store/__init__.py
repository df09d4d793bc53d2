"""The durable record on SQLite: the ledger that writes, and the reader for everyone else."""

from hashwerk.store.ledger import LedgerStatus, SqliteLedger
from hashwerk.store.settings import StoreSettings

__all__ = ["LedgerStatus", "SqliteLedger", "StoreSettings"]
