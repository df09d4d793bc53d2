"""Proofs as files: an account's sum, a share with its job, and openings that a verifier drew; and what a file shows."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, Final

import msgspec

from hashwerk.errors import DecodeError, EvidenceError
from hashwerk.evidence.canonical import U32, Blob, Hash32, Layout
from hashwerk.evidence.epoch import SIGNED_HEADER, SignedHeader
from hashwerk.evidence.keys import fingerprint
from hashwerk.evidence.openings import check_openings, draw
from hashwerk.evidence.proof import (
    ACCOUNT_PROOF,
    SHARE_PROOF,
    AccountProof,
    ShareProof,
    check_account,
    check_share,
)

MAGIC: Final = b"HASHWERK-PROOF\x00\x00\x01"
#: A share with its job is two or three kilobytes, so this holds thousands of openings.
MAX_FILE_BYTES: Final = 1 << 26


class Kind(IntEnum):
    """What a file proves."""

    ACCOUNT = 1
    SHARE = 3
    OPENINGS = 4


class Openings(msgspec.Struct, frozen=True, kw_only=True):
    """What was drawn, and the shares that stand there."""

    header: Blob  # signed, as it was published before the draw
    randomness: Hash32  # the verifier's own
    count: U32
    shares: tuple[Blob, ...]  # share proofs, one a draw


OPENINGS: Final = Layout(Openings)


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """What a proof shows. Nothing of it says who the operator is unless ``site`` or ``key`` is known from elsewhere."""

    kind: str
    site: str
    key: str  # fingerprint of who signed
    epoch: int
    epoch_hash: str
    start_us: int
    end_us: int
    figures: dict[str, Any]


def is_proof(data: bytes) -> bool:
    """Return whether a file begins as a proof does."""
    return data.startswith(MAGIC)


def write_proof(proof: AccountProof | ShareProof | Openings) -> bytes:
    """Return a proof as a file."""
    if isinstance(proof, AccountProof):
        return MAGIC + bytes([Kind.ACCOUNT]) + ACCOUNT_PROOF.encode(proof)
    if isinstance(proof, ShareProof):
        return MAGIC + bytes([Kind.SHARE]) + SHARE_PROOF.encode(proof)
    return MAGIC + bytes([Kind.OPENINGS]) + OPENINGS.encode(proof)


def openings_of(
    signed: SignedHeader, randomness: bytes, count: int, shares: Sequence[ShareProof]
) -> Openings:
    """Return openings as a file holds them."""
    return Openings(
        header=SIGNED_HEADER.encode(signed),
        randomness=randomness,
        count=count,
        shares=tuple(SHARE_PROOF.encode(share) for share in shares),
    )


def check_proof(data: bytes, *, randomness: bytes | None = None, drawn_from: bytes | None = None) -> Shown:
    """Check a file and return what it shows.

    Args:
        data: The file.
        randomness: For openings: what this verifier drew by. None: whoever made the file says, which shows little.
        drawn_from: For openings: the epoch's hash as it was published before the draw.

    Raises:
        DecodeError: If it is no proof, or cannot be read.
        EvidenceError: If it does not hold.
    """
    if not is_proof(data) or len(data) <= len(MAGIC) or len(data) > MAX_FILE_BYTES:
        raise DecodeError("not a file with a proof")
    kind, body = data[len(MAGIC)], data[len(MAGIC) + 1 :]
    if kind == Kind.ACCOUNT:
        return _account(ACCOUNT_PROOF.decode(body))
    if kind == Kind.SHARE:
        return _share(SHARE_PROOF.decode(body))
    if kind == Kind.OPENINGS:
        return _openings(OPENINGS.decode(body), randomness, drawn_from)
    raise DecodeError(f"a proof of unknown kind {kind}")


def _account(proof: AccountProof) -> Shown:
    signed = check_account(proof)
    figures = {"account": proof.account.hex(), "shares": proof.shares, "hashes": proof.work}
    return _shown("sum of an account", signed, figures)


def _share(proof: ShareProof) -> Shown:
    signed = check_share(proof)
    figures = {
        "account": proof.account.account.hex(),
        "position": int.from_bytes(proof.leaf[1:5], "big"),
        "received_us": int.from_bytes(proof.leaf[5:13], "big"),
        "hashes": 1 << proof.work_log2,
    }
    return _shown("share", signed, figures)


def _openings(openings: Openings, randomness: bytes | None, drawn_from: bytes | None) -> Shown:
    signed = SIGNED_HEADER.decode(openings.header)
    if not signed.is_signed():
        raise EvidenceError("the epoch is not signed by the key it names")
    if drawn_from is not None and signed.hash() != drawn_from:
        raise EvidenceError("the openings are of another epoch than was published")
    if randomness is not None and openings.randomness != randomness:
        raise EvidenceError("the openings are for another draw")
    if not openings.count or openings.count != len(openings.shares):
        raise EvidenceError(f"{openings.count} draws, {len(openings.shares)} openings")
    drawn = draw(signed, openings.randomness, openings.count)
    check_openings(drawn, signed, [SHARE_PROOF.decode(share) for share in openings.shares])
    figures = {
        "draws": openings.count,
        "own_randomness": randomness is not None,
        "finds_with_95_percent": least_found(openings.count),
        "shares": signed.header.shares,
        "hashes": signed.header.work,
    }
    return _shown("sampled openings", signed, figures)


def least_found(count: int, confidence: float = 0.95) -> float:
    """Return the smallest part of invented work that so many draws find with a given confidence."""
    return float(1 - (1 - confidence) ** (1 / count))


def _shown(kind: str, signed: SignedHeader, figures: dict[str, Any]) -> Shown:
    header = signed.header
    return Shown(
        kind=kind,
        site=header.site.hex(),
        key=fingerprint(header.key),
        epoch=header.number,
        epoch_hash=signed.hash().hex(),
        start_us=header.start_us,
        end_us=header.end_us,
        figures=figures,
    )
