"""What holds for an epoch because it was declared before it: scale, rules, inventory, settings.

Each header commits to the declarations in force. A record that changes one takes effect with the next epoch, so no
rule can be chosen after the period it is applied to.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeVar

from hashwerk.evidence.domains import STANDING, tagged
from hashwerk.evidence.leaf import encode_record, record_hash
from hashwerk.evidence.records import (
    AccountScale,
    AttributionRule,
    Configuration,
    Inventory,
    PayoutRule,
    PrefixTable,
    Record,
    Scale,
    Site,
    Thinning,
)

Key = tuple[int, str]
Kind = TypeVar("Kind", bound=Record)

#: Kinds that stand until replaced, with the field that tells several of one kind apart.
STANDING_KINDS: Final[dict[type[Record], str | None]] = {
    Inventory: "group",
    AttributionRule: None,
    PayoutRule: None,
    Scale: None,
    Configuration: "name",
    Site: None,
    PrefixTable: "upstream",
    Thinning: None,
    AccountScale: "account",
}


class Standing:
    """The declarations in force, in the order of kind and name."""

    __slots__ = ("_records",)

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._records: dict[Key, Record] = {}
        for record in records:
            key = standing_key(record)
            if key is not None:
                self._records[key] = record

    @property
    def records(self) -> tuple[Record, ...]:
        """All declarations in their order."""
        return tuple(self._records[key] for key in sorted(self._records))

    def root(self) -> bytes:
        """Return the hash that a header commits to."""
        hashes = [record_hash(encode_record(record)) for record in self.records]
        return tagged(STANDING, len(hashes).to_bytes(4, "big"), *hashes)

    def after(self, records: Iterable[Record]) -> Standing:
        """Return what is in force after an epoch with these records."""
        changed = Standing((*self.records, *records))
        gone = [
            key
            for key, record in changed._records.items()
            if isinstance(record, Inventory) and not record.machines
        ]
        for key in gone:
            del changed._records[key]
        return changed

    def find(self, kind: type[Kind]) -> Kind | None:
        """Return the declaration of a kind of which there is one; None: not declared."""
        return next((record for record in self._records.values() if isinstance(record, kind)), None)

    def all(self, kind: type[Kind]) -> list[Kind]:
        """Return all declarations of a kind."""
        return [record for record in self.records if isinstance(record, kind)]


def standing_key(record: Record) -> Key | None:
    """Return by what a record replaces another; None: it does not stand."""
    for kind, field in STANDING_KINDS.items():
        if isinstance(record, kind):
            name = getattr(record, field) if field else ""
            return kind.NUMBER, name.hex() if isinstance(name, bytes) else name
    return None


def scale_of(standing: Standing, account: bytes) -> int:
    """Return how many hashes each hash of an account stands for; 0: nothing right is declared."""
    own = next((record for record in standing.all(AccountScale) if record.account == account), None)
    found = own or standing.find(Scale)
    return 0 if found is None else found.factor
