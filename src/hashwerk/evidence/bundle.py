"""The bundle: one file with all evidence of a period, written and read as a stream.

It is a magic number and sections: type (1 byte), length (8), payload. Their order is fixed, lengths are bounded, no
name of a file or path occurs in it, and the last section seals every byte before it. Bundles come from strangers: the
reader holds one section at a time and refuses what has a second spelling.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from enum import IntEnum, IntFlag
from typing import BinaryIO, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hashwerk.chain.header import HEADER_SIZE
from hashwerk.errors import DecodeError, EvidenceError
from hashwerk.evidence.canonical import U8, U32, U64, Blob, Hash32, Layout, Reader, Text
from hashwerk.evidence.columns import decode_chunk, encode_chunk
from hashwerk.evidence.domains import BUNDLE, SIGN_BUNDLE, tagged
from hashwerk.evidence.epoch import SIGNED_HEADER, Epoch, SignedHeader
from hashwerk.evidence.keys import EVENT, KeyEvent, is_signed, public_bytes, sign
from hashwerk.evidence.leaf import decode_record, encode_record
from hashwerk.evidence.records import Record
from hashwerk.evidence.share_leaf import Leaves
from hashwerk.evidence.share_tree import CHUNK_SHARES

MAGIC: Final = b"HASHWERK-EVIDENCE\x00\x00\x01"
MAX_SECTION_BYTES: Final = 64 << 20
RECORDS_PER_SECTION: Final = 1024
MAX_HEADERS: Final = 1 << 17  # of epochs before the period
MAX_CHAIN_BYTES: Final = MAX_SECTION_BYTES // HEADER_SIZE * HEADER_SIZE


class SectionType(IntEnum):
    """What a section holds."""

    MANIFEST = 1
    KEYS = 2
    PREAMBLE = 3
    STANDING = 4
    EPOCH = 5
    RECORDS = 6
    SHARES = 7
    STAMPS = 8
    CHAIN = 9
    SEAL = 255


#: Which sections may follow which.
_FOLLOWS: Final[dict[SectionType | None, frozenset[SectionType]]] = {
    None: frozenset({SectionType.MANIFEST}),
    SectionType.MANIFEST: frozenset({SectionType.KEYS}),
    SectionType.KEYS: frozenset({SectionType.PREAMBLE}),
    SectionType.PREAMBLE: frozenset({SectionType.STANDING}),
    SectionType.STANDING: frozenset({SectionType.EPOCH}),
    SectionType.EPOCH: frozenset(
        {SectionType.RECORDS, SectionType.SHARES, SectionType.EPOCH, SectionType.STAMPS}
    ),
    SectionType.RECORDS: frozenset(
        {SectionType.RECORDS, SectionType.SHARES, SectionType.EPOCH, SectionType.STAMPS}
    ),
    SectionType.SHARES: frozenset({SectionType.SHARES, SectionType.EPOCH, SectionType.STAMPS}),
    SectionType.STAMPS: frozenset({SectionType.CHAIN}),
    SectionType.CHAIN: frozenset({SectionType.SEAL}),
    SectionType.SEAL: frozenset(),
}


class Claim(IntFlag):
    """What a bundle claims beyond the work in it."""

    ANCHOR = 1  # jobs carry the root of the last closed epoch
    TIME = 2  # every epoch has an external time
    ENERGY = 4  # the meters cover the whole period
    SOURCE = 8  # the energy's sources are matched by the hour
    PAYOUT = 16  # rewards were shared by the declared rule


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle says it is."""

    site: Hash32
    start_us: U64
    end_us: U64
    first_epoch: U64
    last_epoch: U64
    claims: U32
    period_fixed: U8  # 1: the period was fixed beforehand; 0: chosen afterwards
    made_us: U64
    software: Text
    note: Text


class StampKind(IntEnum):
    """Who says when an epoch existed."""

    OPENTIMESTAMPS = 1
    RFC3161 = 2
    WITNESS = 3


class Stamp(msgspec.Struct, frozen=True, kw_only=True):
    """An external statement that an epoch's hash existed at a time."""

    epoch: U64
    kind: U8
    data: Blob


class Seal(msgspec.Struct, frozen=True):
    """The end of a bundle: the hash of all before it, and who signed that."""

    digest: bytes
    key: bytes
    signature: bytes

    def is_signed(self) -> bool:
        """Return whether the key signed the digest."""
        return is_signed(self.key, SIGN_BUNDLE, tagged(BUNDLE, self.digest), self.signature)


class ChainPart(msgspec.Struct, frozen=True):
    """Block headers that come with a bundle, from a height on."""

    height: int
    headers: bytes


class RecordsPart(msgspec.Struct, frozen=True):
    """Some records of the epoch under way."""

    encoded: tuple[bytes, ...]


class SharesPart(msgspec.Struct, frozen=True):
    """A chunk of shares of one account of the epoch under way."""

    account: bytes
    leaves: Leaves


Part = SignedHeader | RecordsPart | SharesPart

MANIFEST: Final = Layout(Manifest)
_STAMP: Final = Layout(Stamp)


class BundleWriter:
    """Writes a bundle. Call `epoch` for each epoch in order, then `finish`."""

    def __init__(
        self,
        stream: BinaryIO,
        manifest: Manifest,
        *,
        keys: Sequence[KeyEvent],
        preamble: Sequence[SignedHeader],
        standing: Sequence[Record],
    ) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()
        self._put(MAGIC)
        self.section(SectionType.MANIFEST, MANIFEST.encode(manifest))
        self.section(SectionType.KEYS, _items([EVENT.encode(event) for event in keys]))
        self.section(SectionType.PREAMBLE, _items([SIGNED_HEADER.encode(header) for header in preamble]))
        self.section(SectionType.STANDING, _items([encode_record(record) for record in standing]))

    def epoch(self, epoch: Epoch) -> None:
        """Write one epoch.

        Raises:
            EvidenceError: If a section is too large.
        """
        self.header(epoch.signed, epoch.records)
        for group in epoch.groups:
            for start in range(0, len(group.leaves), CHUNK_SHARES):
                self.shares(group.account, group.leaves[start : start + CHUNK_SHARES])

    def header(self, signed: SignedHeader, records: Sequence[bytes]) -> None:
        """Write an epoch's header and records; its shares follow."""
        self.section(SectionType.EPOCH, SIGNED_HEADER.encode(signed))
        for start in range(0, len(records), RECORDS_PER_SECTION):
            self.section(SectionType.RECORDS, _items(records[start : start + RECORDS_PER_SECTION]))

    def shares(self, account: bytes, leaves: Leaves) -> None:
        """Write one chunk of an account's shares."""
        self.section(SectionType.SHARES, account + encode_chunk(leaves))

    def finish(
        self, key: Ed25519PrivateKey, *, stamps: Sequence[Stamp] = (), chain: ChainPart | None = None
    ) -> None:
        """Write stamps and block headers, and seal it all."""
        self.section(SectionType.STAMPS, _items([_STAMP.encode(stamp) for stamp in stamps]))
        blocks = b"" if chain is None else chain.height.to_bytes(4, "big") + chain.headers
        self.section(SectionType.CHAIN, blocks)
        digest = self._hash.digest()
        signature = sign(key, SIGN_BUNDLE, tagged(BUNDLE, digest))
        self.section(SectionType.SEAL, digest + public_bytes(key) + signature)

    def section(self, type_: SectionType, payload: bytes) -> None:
        """Write one section.

        Raises:
            EvidenceError: If it is too large.
        """
        if len(payload) > MAX_SECTION_BYTES:
            raise EvidenceError(
                f"section {type_.name} has {len(payload)} bytes, {MAX_SECTION_BYTES} are allowed"
            )
        self._put(bytes((type_,)) + len(payload).to_bytes(8, "big"))
        self._put(payload)

    def _put(self, data: bytes) -> None:
        self._hash.update(data)
        self._stream.write(data)


class BundleReader:
    """Reads a bundle once, from its beginning to its seal.

    The attributes up to ``standing`` are there at once, the others after `parts` has ended.
    """

    def __init__(self, stream: BinaryIO) -> None:
        """Read what comes before the epochs.

        Raises:
            DecodeError: If this is not a bundle, or damaged.
        """
        self._stream = stream
        self._hash = hashlib.sha256()
        self._last: SectionType | None = None
        self.size = 0
        if self._take(len(MAGIC)) != MAGIC:
            raise DecodeError("not a bundle of evidence, or of another version")
        self.manifest = MANIFEST.decode(self._section(SectionType.MANIFEST))
        self.keys = tuple(EVENT.decode(item) for item in _split(self._section(SectionType.KEYS), 1024))
        self.preamble = tuple(
            SIGNED_HEADER.decode(item) for item in _split(self._section(SectionType.PREAMBLE), MAX_HEADERS)
        )
        self.standing = tuple(
            decode_record(item) for item in _split(self._section(SectionType.STANDING), 1 << 16)
        )
        self.stamps: tuple[Stamp, ...] = ()
        self.chain: ChainPart | None = None
        self.seal: Seal | None = None
        self.digest = b""

    def parts(self) -> Iterator[Part]:
        """Yield headers, records and shares in their order, then read the rest.

        Raises:
            DecodeError: If the bundle is damaged, cut short or goes on after its seal.
        """
        more_records = False
        while True:
            type_, payload = self._next()
            if type_ == SectionType.EPOCH:
                more_records = True
                yield SIGNED_HEADER.decode(payload)
            elif type_ == SectionType.RECORDS:
                records = tuple(_split(payload, RECORDS_PER_SECTION))
                if not records or not more_records:
                    raise DecodeError("records are not cut where they should be")
                more_records = len(records) == RECORDS_PER_SECTION
                yield RecordsPart(records)
            elif type_ == SectionType.SHARES:
                if len(payload) < 32:
                    raise DecodeError("shares without an account")
                yield SharesPart(payload[:32], decode_chunk(payload[32:]))
            else:
                self._finish(payload)
                return

    def _finish(self, stamps: bytes) -> None:
        self.stamps = tuple(_STAMP.decode(item) for item in _split(stamps, 1 << 20))
        self.chain = _chain(self._section(SectionType.CHAIN))
        self.digest = self._hash.digest()
        seal = self._section(SectionType.SEAL)
        if len(seal) != 128:
            raise DecodeError(f"a seal has 128 bytes, not {len(seal)}")
        self.seal = Seal(seal[:32], seal[32:64], seal[64:])
        if self._stream.read(1):
            raise DecodeError("bytes after the end of the bundle")

    def _section(self, wanted: SectionType) -> bytes:
        type_, payload = self._next()
        if type_ != wanted:
            raise DecodeError(f"section {wanted.name} wanted, {type_.name} found")
        return payload

    def _next(self) -> tuple[SectionType, bytes]:
        head = self._take(9)
        try:
            type_ = SectionType(head[0])
        except ValueError as error:
            raise DecodeError(f"unknown section {head[0]}") from error
        if type_ not in _FOLLOWS[self._last]:
            raise DecodeError(f"section {type_.name} is out of order")
        self._last = type_
        size = int.from_bytes(head[1:], "big")
        if size > MAX_SECTION_BYTES:
            raise DecodeError(f"section of {size} bytes, {MAX_SECTION_BYTES} are allowed")
        return type_, self._take(size)

    def _take(self, size: int) -> bytes:
        data = self._stream.read(size)
        if len(data) != size:
            raise DecodeError(f"the bundle is cut short after {self.size + len(data)} bytes")
        self._hash.update(data)
        self.size += size
        return data


def _items(items: Sequence[bytes]) -> bytes:
    parts = [len(items).to_bytes(4, "big")]
    for item in items:
        parts += [len(item).to_bytes(4, "big"), item]
    return b"".join(parts)


def _split(payload: bytes, limit: int) -> list[bytes]:
    reader = Reader(payload)
    count = reader.uint(4)
    if count > limit:
        raise DecodeError(f"{count} items, {limit} are allowed")
    items = [reader.take(reader.uint(4)) for _ in range(count)]
    reader.finish("section")
    return items


def _chain(payload: bytes) -> ChainPart | None:
    if not payload:
        return None
    if len(payload) < 4 + HEADER_SIZE or (len(payload) - 4) % HEADER_SIZE:
        raise DecodeError("block headers of a broken length")
    return ChainPart(int.from_bytes(payload[:4], "big"), payload[4:])
