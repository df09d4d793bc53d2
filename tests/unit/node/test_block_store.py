"""The file of found blocks: nothing that was stored is lost, nothing torn is kept."""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashwerk.errors import NodeLockedError, StoreError, StoreFullError
from hashwerk.node.block_store import MAX_BLOCK_BYTES, BlockStore

BLOCKS = [b"one", b"two" * 1_000, b"HWB1" * 5, bytes(100)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chain" / "found-blocks.dat"


def filled(path: Path) -> bytes:
    store = BlockStore(path)
    for block in BLOCKS:
        assert store.append(block)
    store.close()
    return path.read_bytes()


def contents(path: Path) -> list[bytes]:
    store = BlockStore(path)
    blocks = list(store)
    store.close()
    return blocks


def test_blocks_come_back_in_order(path: Path) -> None:
    filled(path)
    assert contents(path) == BLOCKS


def test_the_same_bytes_are_stored_once(path: Path) -> None:
    filled(path)
    store = BlockStore(path)
    assert not store.append(BLOCKS[1])
    assert BLOCKS[1] in store
    assert b"three" not in store
    assert len(store) == len(BLOCKS)
    store.close()
    assert contents(path) == BLOCKS


def test_the_tail_gives_the_last_blocks_in_order(path: Path) -> None:
    filled(path)
    store = BlockStore(path)
    assert list(store.tail(2)) == BLOCKS[-2:]
    assert list(store.tail(99)) == BLOCKS
    assert list(store.tail(0)) == []
    store.close()


def test_only_the_owner_can_read_it(path: Path) -> None:
    filled(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("block", [b"", bytes(MAX_BLOCK_BYTES + 1)])
def test_what_cannot_be_a_block_is_not_stored(path: Path, block: bytes) -> None:
    store = BlockStore(path)
    with pytest.raises(ValueError, match="a block has 1 to 4000000 bytes"):
        store.append(block)
    assert len(store) == 0
    store.close()


def test_every_possible_torn_tail_is_cut_off_and_the_file_goes_on(path: Path) -> None:
    filled(path)
    store = BlockStore(path)
    store.append(b"last")
    store.close()
    whole = path.read_bytes()
    start = len(whole) - len(b"last") - 12
    for end in range(start, len(whole)):
        path.write_bytes(whole[:end])
        store = BlockStore(path)
        assert list(store) == BLOCKS
        assert store.cut_bytes == end - start
        assert store.append(b"last")
        store.close()
        assert path.read_bytes() == whole


@settings(max_examples=60)
@given(tail=st.binary(max_size=300))
def test_garbage_behind_the_last_block_is_cut_off(
    tmp_path_factory: pytest.TempPathFactory, tail: bytes
) -> None:
    path = tmp_path_factory.mktemp("store") / "found-blocks.dat"
    whole = filled(path)
    path.write_bytes(whole + tail)
    assert contents(path) == BLOCKS
    assert path.read_bytes() == whole


def test_zeros_that_a_power_cut_left_are_cut_off(path: Path) -> None:
    whole = filled(path)
    path.write_bytes(whole + bytes(5_000))
    assert contents(path) == BLOCKS
    assert path.stat().st_size == len(whole)


def test_damage_in_the_middle_costs_one_block_only(path: Path) -> None:
    whole = bytearray(filled(path))
    whole[len(BLOCKS[0]) + 12 + 50] ^= 1  # inside the second frame
    path.write_bytes(bytes(whole))
    store = BlockStore(path)
    assert list(store) == [BLOCKS[0], *BLOCKS[2:]]
    assert store.damaged_bytes == len(BLOCKS[1]) + 12
    assert store.cut_bytes == 0
    store.append(b"more")
    store.close()
    assert contents(path) == [BLOCKS[0], *BLOCKS[2:], b"more"]


def test_a_second_owner_is_refused_and_the_folder_named(path: Path) -> None:
    store = BlockStore(path)
    with pytest.raises(NodeLockedError, match=str(path.parent)):
        BlockStore(path)
    store.close()
    BlockStore(path).close()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="cannot open the file of found blocks"):
        BlockStore(tmp_path / "file" / "found-blocks.dat")


@contextmanager
def small_files(size: int) -> Iterator[None]:
    """Let files grow to ``size`` bytes at most, as on a full disk. Only around the calls that are tested: the
    test runner writes to files too."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_leaves_the_file_as_it_was(path: Path) -> None:
    store = BlockStore(path)
    too_much = bytes(4_096)
    with small_files(len(too_much)):
        store.append(b"fits")
        with pytest.raises(StoreFullError, match=str(path)):
            store.append(too_much)
        assert too_much not in store
        assert store.append(b"fits too")
        store.close()
    assert contents(path) == [b"fits", b"fits too"]


@pytest.mark.skipif(sys.platform == "darwin", reason="NOT TESTED: macOS flushes the drive by fcntl")
def test_every_append_is_synced_before_it_returns(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[tuple[bool, int]] = []
    real_fsync = os.fsync

    def recording(fd: int) -> None:
        real_fsync(fd)
        status = os.fstat(fd)
        synced.append((stat.S_ISDIR(status.st_mode), status.st_size))

    monkeypatch.setattr(os, "fsync", recording)
    store = BlockStore(path)
    assert [is_folder for is_folder, _ in synced] == [True]  # the file's name is durable before any block is
    store.append(b"block")
    assert synced[-1] == (False, path.stat().st_size)
    store.close()


@pytest.mark.skipif(sys.platform == "darwin", reason="NOT TESTED: macOS flushes the drive by fcntl")
def test_a_failing_disk_is_not_taken_for_success(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = BlockStore(path)

    def failing(_fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        with pytest.raises(StoreError, match="Input/output error"):
            store.append(b"block")
    assert len(store) == 0
    assert store.append(b"block")
    store.close()
    assert contents(path) == [b"block"]


def test_what_was_appended_survives_kill_9(path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from hashwerk.node.block_store import BlockStore\n"
        "store = BlockStore(Path(sys.argv[1]))\n"
        "for number in range(1000):\n"
        "    store.append(number.to_bytes(4, 'big') * 50); print(number, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if int(line) == 20:
                break
        child.send_signal(signal.SIGKILL)
        said = [20, *(int(line) for line in child.stdout)]
    blocks = contents(path)
    assert len(blocks) >= said[-1] + 1
    assert blocks == [number.to_bytes(4, "big") * 50 for number in range(len(blocks))]
