"""External time: who besides the operator says that an epoch existed, and when.

What is stamped is a document of one byte 0x06 and the epoch's header. Its SHA-256 is the epoch's hash, so the common
tools stamp it: `ots stamp`, `openssl ts -query -data`. A stamp of one epoch dates every earlier one too, since each
header names the hash of the one before. Proofs come from strangers: no library's exception leaves this module.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hashwerk.errors import DecodeError, EvidenceError
from hashwerk.evidence.blockchain import HeaderChain
from hashwerk.evidence.bundle import Stamp, StampKind
from hashwerk.evidence.canonical import U64, Hash32, Layout, Signature64
from hashwerk.evidence.der import timestamp_imprint
from hashwerk.evidence.domains import EPOCH, SIGN_WITNESS, tagged
from hashwerk.evidence.domains import WITNESS as WITNESS_DOMAIN
from hashwerk.evidence.epoch import HEADER, Header
from hashwerk.evidence.keys import fingerprint, is_signed, public_bytes, sign

MAX_STAMP_BYTES: Final = 1 << 16
_OPENTIMESTAMPS_MAGIC: Final = b"\x00OpenTimestamps\x00"
_WITNESS_SIZE: Final = 32 + 8 + 32 + 8 + 32 + 64


class WitnessStatement(msgspec.Struct, frozen=True, kw_only=True):
    """A witness says that it saw an epoch of a site, and no other one of that number."""

    site: Hash32
    number: U64
    epoch: Hash32
    at_us: U64
    key: Hash32
    signature: Signature64


WITNESS: Final = Layout(WitnessStatement)


class Trust(msgspec.Struct, frozen=True, kw_only=True):
    """Whom the verifier believes."""

    chain: HeaderChain | None = None
    tsa_roots: tuple[x509.Certificate, ...] = ()
    witnesses: frozenset[str] = frozenset()  # fingerprints


class External(msgspec.Struct, frozen=True, kw_only=True):
    """A time that somebody else vouches for: the epoch existed at or before it."""

    epoch: int
    at_us: int
    by: str


class UntrustedStampError(EvidenceError):
    """A stamp may be right, but nobody whom the verifier named vouches for it."""


def stamped_document(header: Header) -> bytes:
    """Return the bytes that external services stamp."""
    return EPOCH + HEADER.encode(header)


def recognise(data: bytes) -> tuple[StampKind, bytes]:
    """Return the kind of an external stamp and the hash of the epoch that it is of; nothing else is checked.

    Raises:
        EvidenceError: If it is none that is known.
    """
    if data.startswith(_OPENTIMESTAMPS_MAGIC):
        return StampKind.OPENTIMESTAMPS, _read_opentimestamps(data).file_digest
    if len(data) == _WITNESS_SIZE:
        return StampKind.WITNESS, WITNESS.decode(data).epoch
    from rfc3161_client import decode_timestamp_response

    try:
        return StampKind.RFC3161, decode_timestamp_response(data).tst_info.message_imprint.message
    except ValueError as error:
        raise EvidenceError(
            "neither an OpenTimestamps proof, an RFC 3161 response nor a witness's statement"
        ) from error


def countersign(site: bytes, number: int, epoch: bytes, key: Ed25519PrivateKey, now_us: int) -> bytes:
    """Return a witness's statement about an epoch. A witness that signs two for one number convicts itself."""
    public = public_bytes(key)
    signature = sign(key, SIGN_WITNESS, _witnessed(site, number, epoch, now_us))
    return WITNESS.encode(
        WitnessStatement(site=site, number=number, epoch=epoch, at_us=now_us, key=public, signature=signature)
    )


def check_stamp(stamp: Stamp, header: Header, epoch: bytes, trust: Trust) -> External:
    """Return the time that a stamp shows.

    Raises:
        UntrustedStampError: If nobody known vouches for it.
        EvidenceError: If it is broken or of another epoch.
    """
    if len(stamp.data) > MAX_STAMP_BYTES:
        raise EvidenceError(f"stamp of {len(stamp.data)} bytes")
    if stamp.kind == StampKind.WITNESS:
        return _check_witness(stamp, header, epoch, trust)
    if stamp.kind == StampKind.RFC3161:
        return _check_rfc3161(stamp, epoch, trust)
    if stamp.kind == StampKind.OPENTIMESTAMPS:
        return _check_opentimestamps(stamp, epoch, trust)
    raise EvidenceError(f"unknown kind of stamp: {stamp.kind}")


def _witnessed(site: bytes, number: int, epoch: bytes, at_us: int) -> bytes:
    return tagged(WITNESS_DOMAIN, site, number.to_bytes(8, "big"), epoch, at_us.to_bytes(8, "big"))


def _check_witness(stamp: Stamp, header: Header, epoch: bytes, trust: Trust) -> External:
    try:
        said = WITNESS.decode(stamp.data)
    except DecodeError as error:
        raise EvidenceError(f"not a witness's statement: {error}") from error
    if (said.site, said.number, said.epoch) != (header.site, header.number, epoch):
        raise EvidenceError("the witness speaks of another epoch")
    if not is_signed(
        said.key, SIGN_WITNESS, _witnessed(said.site, said.number, said.epoch, said.at_us), said.signature
    ):
        raise EvidenceError("the witness's signature is not its own")
    if fingerprint(said.key) not in trust.witnesses:
        raise UntrustedStampError(f"witness {fingerprint(said.key)[:16]}… was not pinned")
    return External(epoch=stamp.epoch, at_us=said.at_us, by=f"witness {fingerprint(said.key)[:16]}…")


def _check_rfc3161(stamp: Stamp, epoch: bytes, trust: Trust) -> External:
    try:
        imprint = timestamp_imprint(stamp.data)
    except DecodeError as error:
        raise EvidenceError(f"not an RFC 3161 response: {error}") from error
    if imprint != epoch:
        raise EvidenceError("the RFC 3161 stamp is of something else")
    if not trust.tsa_roots:
        raise UntrustedStampError("no root of a time-stamping authority was pinned")
    from rfc3161_client import VerificationError, decode_timestamp_response
    from rfc3161_client.verify import VerifierBuilder

    try:
        response = decode_timestamp_response(stamp.data)
        at = response.tst_info.gen_time
        certificates = [x509.load_der_x509_certificate(der) for der in response.signed_data.certificates]
    except ValueError as error:
        raise EvidenceError(f"not an RFC 3161 response: {error}") from error
    if not _names_lead(certificates, trust.tsa_roots):
        raise UntrustedStampError("the RFC 3161 stamp is of an authority that was not pinned")
    if response.status != 0:
        raise UntrustedStampError("the authority granted the RFC 3161 stamp with changes")
    try:
        VerifierBuilder(roots=list(trust.tsa_roots)).build().verify(response, epoch)
    except (VerificationError, ValueError) as error:
        raise EvidenceError(f"the RFC 3161 stamp does not hold: {error}") from error
    signer = next(iter(response.signed_data.signer_infos))
    name = next(
        made.subject.rfc4514_string() for made in certificates if made.serial_number == signer.serial_number
    )
    return External(epoch=stamp.epoch, at_us=round(at.timestamp() * 1e6), by=f"RFC 3161 authority {name}")


def _names_lead(certificates: Sequence[x509.Certificate], roots: Sequence[x509.Certificate]) -> bool:
    """Return whether the names of issuers lead to a root's: whether one of those who were pinned was asked at all."""
    known = {root.subject for root in roots}
    return any(made.subject in known or made.issuer in known for made in certificates)


def _check_opentimestamps(stamp: Stamp, epoch: bytes, trust: Trust) -> External:
    from opentimestamps.core.notary import BitcoinBlockHeaderAttestation
    from opentimestamps.core.op import OpSHA256

    proof = _read_opentimestamps(stamp.data)
    found = list(proof.timestamp.all_attestations())
    if proof.file_digest != epoch or not isinstance(proof.file_hash_op, OpSHA256):
        raise EvidenceError("the OpenTimestamps proof is of something else")
    blocks = [(made, digest) for digest, made in found if isinstance(made, BitcoinBlockHeaderAttestation)]
    if not blocks:
        raise UntrustedStampError("the OpenTimestamps proof still waits for its block")
    if trust.chain is None:
        raise UntrustedStampError("an OpenTimestamps proof needs block headers")
    times = []
    for made, digest in blocks:
        header = trust.chain.at(made.height)
        if header is None:
            continue
        if digest != header.merkle_root:
            raise EvidenceError(f"the OpenTimestamps proof does not lead to block {made.height}")
        times.append((header.time, made.height))
    if not times:
        raise UntrustedStampError(f"the headers do not hold block {blocks[0][0].height}")
    time_s, height = min(times)
    return External(
        epoch=stamp.epoch, at_us=time_s * 1_000_000, by=f"Bitcoin block {height} (OpenTimestamps)"
    )


def _read_opentimestamps(data: bytes) -> Any:
    from opentimestamps.core.serialize import BytesDeserializationContext, DeserializationError
    from opentimestamps.core.timestamp import DetachedTimestampFile

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PendingDeprecationWarning)  # of a step that old proofs hold
            proof = DetachedTimestampFile.deserialize(BytesDeserializationContext(data))
        list(proof.timestamp.all_attestations())  # deep proofs overflow here and not later
    except (DeserializationError, ValueError, RecursionError, OverflowError) as error:
        raise EvidenceError(f"not an OpenTimestamps proof: {error}") from error
    return proof
