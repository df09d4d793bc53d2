"""The blocks we found, on disk before anybody else sees them.

The file is a row of frames: magic ``HWB1``, length and CRC-32 of the block (both 32 bits, little-endian), the
block as it is serialised on the network. It is only ever appended to. A frame that was being written when the
power went leaves a torn tail, which is cut off when the file is opened: its block was not yet handed to any
node.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import struct
import sys
import zlib
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Final

from hashwerk.errors import NodeLockedError, StoreError, StoreFullError

#: The file's name in a chain's folder.
FOUND_BLOCKS_FILE: Final = "found-blocks.dat"
MAX_BLOCK_BYTES: Final = 4_000_000  # the weight limit of BIP-0141: a byte weighs at least one unit

_MAGIC: Final = b"HWB1"
_FRAME: Final = struct.Struct("<4sII")
_LOG: Final = logging.getLogger(__name__)


class BlockStore:
    """An append-only file of blocks, owned by one process at a time.

    Not safe for several threads at once: each node uses it from one worker thread only.
    """

    __slots__ = ("_digests", "_end", "_fd", "_frames", "cut_bytes", "damaged_bytes", "path")

    def __init__(self, path: Path) -> None:
        """Open the file, make it where there is none, and repair its tail.

        Raises:
            NodeLockedError: If another process has it open; the message names the folder.
            StoreError: If it cannot be opened or read.
        """
        self.path = path
        self.cut_bytes = 0  # torn tail removed by this opening
        self.damaged_bytes = 0  # unreadable, but with good blocks behind it: kept and skipped
        self._frames: list[tuple[int, int]] = []  # offset and length of each block
        self._digests: set[bytes] = set()
        self._end = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"cannot open the file of found blocks {path}: {error.strerror}") from error
        try:
            self._lock()
            self._scan()
            # The file's name must be as durable as what is in it.
            _sync_folder(path.parent)
        except OSError as error:
            os.close(self._fd)
            raise StoreError(f"cannot read the file of found blocks {path}: {error.strerror}") from error
        except NodeLockedError:
            os.close(self._fd)
            raise

    def __len__(self) -> int:
        return len(self._frames)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the blocks in the order they were stored."""
        return self.tail(len(self._frames))

    def tail(self, count: int) -> Iterator[bytes]:
        """Yield the last ``count`` blocks in the order they were stored."""
        for offset, length in self._frames[max(0, len(self._frames) - count) :]:
            yield _read(self._fd, offset, length)

    def __contains__(self, block: bytes) -> bool:
        return _digest(block) in self._digests

    def append(self, block: bytes) -> bool:
        """Write a block through to the disk; return False when the same bytes are there already.

        Raises:
            StoreFullError: If there is no room; nothing was stored, and the file is as it was.
            StoreError: If it could not be written for another reason.
            ValueError: If it is empty or longer than a block can be.
        """
        if not 0 < len(block) <= MAX_BLOCK_BYTES:
            raise ValueError(f"a block has 1 to {MAX_BLOCK_BYTES} bytes, not {len(block)}")
        digest = _digest(block)
        if digest in self._digests:
            return False
        frame = _FRAME.pack(_MAGIC, len(block), zlib.crc32(block)) + block
        try:
            _write(self._fd, frame, self._end)
            _sync(self._fd)
        except OSError as error:
            # Should this fail as well: the next block is written over the rest, or the next opening cuts it.
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self._end)
            kind = StoreFullError if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else StoreError
            raise kind(f"cannot write a found block to {self.path}: {error.strerror}") from error
        self._frames.append((self._end + _FRAME.size, len(block)))
        self._digests.add(digest)
        self._end += len(frame)
        return True

    def close(self) -> None:
        """Release the file; it can be opened again at once."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _lock(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise NodeLockedError(
                f"the chain's folder is in use by another process: {self.path.parent}"
            ) from error

    def _scan(self) -> None:
        """Find all good frames; cut off what follows the last of them."""
        size = os.fstat(self._fd).st_size
        offset = 0
        while offset < size:
            block = self._block_at(offset, size)
            if block is None:
                found = self._next_good_frame(offset + 1, size)
                if found is None:
                    break
                _LOG.error("%s: %d damaged bytes at %d are skipped", self.path, found - offset, offset)
                self.damaged_bytes += found - offset
                offset = found
                continue
            self._frames.append((offset + _FRAME.size, len(block)))
            self._digests.add(_digest(block))
            offset += _FRAME.size + len(block)
        self._end = offset
        if offset < size:
            self.cut_bytes = size - offset
            _LOG.warning("%s: a torn tail of %d bytes is cut off", self.path, self.cut_bytes)
            os.ftruncate(self._fd, offset)
            _sync(self._fd)

    def _block_at(self, offset: int, size: int) -> bytes | None:
        """Return the block of the frame at ``offset``; None where there is no good frame."""
        if offset + _FRAME.size > size:
            return None
        magic, length, checksum = _FRAME.unpack(_read(self._fd, offset, _FRAME.size))
        start = offset + _FRAME.size
        if magic != _MAGIC or not 0 < length <= min(MAX_BLOCK_BYTES, size - start):
            return None
        block = _read(self._fd, start, length)
        return block if zlib.crc32(block) == checksum else None

    def _next_good_frame(self, offset: int, size: int) -> int | None:
        """Return where the next good frame begins at or after ``offset``."""
        rest = _read(self._fd, offset, size - offset)
        position = rest.find(_MAGIC)
        while position >= 0:
            if self._block_at(offset + position, size) is not None:
                return offset + position
            position = rest.find(_MAGIC, position + 1)
        return None


def _digest(block: bytes) -> bytes:
    return blake2b(block, digest_size=16).digest()


def _read(fd: int, offset: int, length: int) -> bytes:
    parts = []
    while length > 0:
        part = os.pread(fd, length, offset)
        if not part:
            raise OSError(errno.EIO, "the file ended early")
        parts.append(part)
        offset += len(part)
        length -= len(part)
    return b"".join(parts)


def _write(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        offset += written
        view = view[written:]


def _sync(fd: int) -> None:
    # On macOS fsync stops at the drive's own cache.
    if sys.platform == "darwin":
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
    else:
        os.fsync(fd)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
