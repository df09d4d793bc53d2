"""Block headers as the only clock nobody owns: checked from a checkpoint on, then asked for heights and times.

A header file is 80-byte headers, one after the other. It counts only if it begins at, or right above, a checkpoint that
came with this program or from the verifier: a private chain of easy headers costs nothing and says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from hashwerk.chain.header import HEADER_SIZE, BlockHeader, double_sha256, hash_from_hex, hash_to_hex
from hashwerk.chain.nbits import retarget_nbits
from hashwerk.chain.network import Network, network_from_name
from hashwerk.chain.target import hash_meets_target, target_from_compact, work_from_target
from hashwerk.errors import EvidenceError

#: A header's time may be this far from the true one (Bitcoin Core's MAX_FUTURE_BLOCK_TIME).
HEADER_SLACK_S: Final = 7_200


class Checkpoint(msgspec.Struct, frozen=True):
    """A block that is known to be in the chain."""

    height: int
    hash: bytes  # internal order


def _checkpoint(height: int, text: str) -> Checkpoint:
    return Checkpoint(height, hash_from_hex(text))


#: Blocks of the main chain that come with the program. Genesis is none: headers above it are cheap to make.
CHECKPOINTS: Final[Mapping[str, tuple[Checkpoint, ...]]] = MappingProxyType(
    {
        "main": (
            _checkpoint(665_280, "00000000000000000009ebabc95533bbe0e40adecee879449db291237b3db350"),
            _checkpoint(881_423, "0000000000000000000269d52c24ea451225613aab095d90d771d4e29aa96cdd"),
            _checkpoint(951_658, "00000000000000000001cbe4b4add61d60d9a470e0958f1b4024f202db9ca628"),
        )
    }
)


class HeaderChain:
    """Headers that were checked: proof of work, links, and difficulty as far as the file reaches back."""

    __slots__ = ("_data", "_heights", "_network", "first", "work")

    def __init__(self, network: str, headers: bytes, first: int) -> None:
        """Check headers.

        Args:
            network: Whose rules hold.
            headers: 80 bytes each.
            first: The height of the first one.

        Raises:
            EvidenceError: If they are not a chain; the message says at which height.
        """
        if not headers or len(headers) % HEADER_SIZE:
            raise EvidenceError(f"{len(headers)} bytes are not whole headers")
        self._network = network_from_name(network)
        self._data = headers
        self.first = first
        self.work = 0
        self._heights: dict[bytes, int] = {}
        previous: BlockHeader | None = None
        previous_hash = b""
        for index in range(len(self)):
            height, raw = first + index, self._raw(index)
            header = BlockHeader.parse(raw)
            hash_ = double_sha256(raw)
            if previous is not None:
                if header.prev_hash != previous_hash:
                    raise EvidenceError(f"the header at height {height} does not follow the one before it")
                self._check_nbits(height, header, previous)
            target = target_from_compact(header.nbits)
            if target > self._network.pow_limit or not hash_meets_target(hash_, target):
                raise EvidenceError(f"the header at height {height} has not the work it claims")
            self.work += work_from_target(target)
            self._heights[hash_] = height
            previous, previous_hash = header, hash_

    def __len__(self) -> int:
        return len(self._data) // HEADER_SIZE

    @property
    def last(self) -> int:
        """The height of the last header."""
        return self.first + len(self) - 1

    def hashes(self) -> Iterable[bytes]:
        """Return the hashes of all blocks."""
        return self._heights.keys()

    def height_of(self, hash_: bytes) -> int | None:
        """Return the height of a block; None: it is not here."""
        return self._heights.get(hash_)

    def at(self, height: int) -> BlockHeader | None:
        """Return the header of a height; None: the file does not hold it."""
        if not self.first <= height <= self.last:
            return None
        return BlockHeader.parse(self._raw(height - self.first))

    def prev_hash(self) -> bytes:
        """Return the hash that the first header builds on."""
        return BlockHeader.parse(self._raw(0)).prev_hash

    def _raw(self, index: int) -> bytes:
        return self._data[index * HEADER_SIZE : (index + 1) * HEADER_SIZE]

    def _check_nbits(self, height: int, header: BlockHeader, previous: BlockHeader) -> None:
        network = self._network
        if network.allow_min_difficulty or network.no_retarget:
            return  # test networks prove nothing by their difficulty
        interval = network.retarget_interval
        if height % interval:
            if header.nbits != previous.nbits:
                raise EvidenceError(f"the difficulty changes at height {height}, within its period")
            return
        first = self.at(height - interval)
        if first is not None:
            if header.nbits != retarget_nbits(network, previous.nbits, first.time, previous.time):
                raise EvidenceError(f"the difficulty at height {height} is not what the rules give")
        elif target_from_compact(header.nbits) > 4 * target_from_compact(previous.nbits):
            raise EvidenceError(f"the difficulty at height {height} falls by more than the rules allow")


def trusted_chain(
    network: str, headers: bytes, checkpoints: tuple[Checkpoint, ...] | None = None
) -> HeaderChain:
    """Return a chain that begins at a checkpoint.

    Args:
        network: Whose rules hold.
        headers: 80 bytes each; the first is a checkpoint or builds on one.
        checkpoints: What is known; None: what came with the program.

    Raises:
        EvidenceError: If it does not begin at one, contradicts one, or is not a chain.
    """
    known = CHECKPOINTS.get(network, ()) if checkpoints is None else checkpoints
    if not known:
        raise EvidenceError(f"no block of the network {network!r} is known; name one with --checkpoint")
    if len(headers) < HEADER_SIZE:
        raise EvidenceError("the file holds no header")
    first_hash, previous = double_sha256(headers[:HEADER_SIZE]), headers[4:36]
    start = next(
        (point.height for point in known if point.hash == first_hash),
        next((point.height + 1 for point in known if point.hash == previous), None),
    )
    if start is None:
        start = _from_genesis(network_from_name(network), headers, known)
    chain = HeaderChain(network, headers, start)
    for point in known:
        if chain.first <= point.height <= chain.last and chain.height_of(point.hash) != point.height:
            raise EvidenceError(f"the headers leave the known chain before height {point.height}")
    return chain


def _from_genesis(network: Network, headers: bytes, known: tuple[Checkpoint, ...]) -> int:
    """Accept headers from genesis on if they reach a checkpoint."""
    count = len(headers) // HEADER_SIZE
    starts = {0: network.genesis_hash, 1: network.genesis_hash}
    if double_sha256(headers[:HEADER_SIZE]) == starts[0] and count > min(point.height for point in known):
        return 0
    if headers[4:36] == starts[1] and count >= min(point.height for point in known):
        return 1
    shown = hash_to_hex(double_sha256(headers[:HEADER_SIZE]))
    raise EvidenceError(f"the headers do not begin at a known block: the first is {shown}")
