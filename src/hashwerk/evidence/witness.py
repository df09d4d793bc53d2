"""What a witness does: it countersigns one history of a site, and keeps the proof when it is shown another.

A site sends its key events and a signed header. The witness signs a number once; asked again for the same epoch it gives the
same words again, asked for another epoch of that number, or for one whose predecessor is not the one it knows, it refuses, and
the two signed headers are equivocation: proof that can be handed on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from hashwerk.errors import DecodeError, EvidenceError
from hashwerk.evidence.epoch import SIGNED_HEADER, SignedHeader
from hashwerk.evidence.keys import EVENT, KeyChain

#: An epoch that ends later than this after now has not ended.
AHEAD_US: Final = 60_000_000
MAX_EVENTS: Final = 1_024


class Asked(msgspec.Struct, frozen=True):
    """A request that was checked: the epoch is signed by the key in force of its site."""

    site: bytes
    signed: SignedHeader

    @property
    def number(self) -> int:
        """The epoch's number."""
        return self.signed.header.number


class EquivocationError(EvidenceError):
    """A site has signed two histories; ``first`` and ``second`` are the headers that show it."""

    def __init__(self, message: str, first: SignedHeader, second: SignedHeader) -> None:
        super().__init__(message)
        self.first, self.second = first, second


def read_request(events: Sequence[bytes], header: bytes, now_us: int) -> Asked:
    """Check what a site sends.

    Args:
        events: Its key events from genesis on.
        header: The signed header.
        now_us: The time.

    Raises:
        DecodeError: If it cannot be read.
        EvidenceError: If keys or signature do not hold, or the epoch has not ended.
    """
    if len(events) > MAX_EVENTS:
        raise DecodeError(f"{len(events)} key events, {MAX_EVENTS} are allowed")
    keys = KeyChain([EVENT.decode(event) for event in events])
    signed = SIGNED_HEADER.decode(header)
    if signed.header.site != keys.site:
        raise EvidenceError("the epoch is of another site than the keys")
    if signed.header.key != keys.key_at(signed.header.number).body.key or not signed.is_signed():
        raise EvidenceError("the epoch is not signed by the key in force")
    if signed.header.end_us > now_us + AHEAD_US:
        raise EvidenceError("the epoch has not ended by this witness's clock")
    return Asked(keys.site, signed)


def check_history(asked: Asked, known: Mapping[int, SignedHeader]) -> bool:
    """Return whether the epoch is one that was signed for already.

    Args:
        asked: What is to be signed.
        known: The epochs that this witness signed for, by number: those around the one that is asked for, and the last.

    Raises:
        EquivocationError: If it contradicts one of them.
        EvidenceError: If it is older than the last one and was never shown.
    """
    number, hash_ = asked.number, asked.signed.hash()
    same = known.get(number)
    if same is not None:
        if same.hash() != hash_:
            raise EquivocationError(f"another epoch {number} of this site was signed for", same, asked.signed)
        return True
    before, after = known.get(number - 1), known.get(number + 1)
    if before is not None and asked.signed.header.previous != before.hash():
        raise EquivocationError(
            f"epoch {number} does not follow the epoch before it that was signed for", before, asked.signed
        )
    if after is not None and after.header.previous != hash_:
        raise EquivocationError(
            f"the epoch after {number} that was signed for does not follow it", after, asked.signed
        )
    if known and number < max(known):
        raise EvidenceError(f"epoch {number} comes after epoch {max(known)}: a witness goes forwards only")
    return False
