"""A change of the key survives kill -9 at every step, beside a running mine and without one, and who asks again is heard."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hashwerk.errors import EvidenceError
from hashwerk.evidence import records
from hashwerk.evidence.key_files import CURRENT, NEXT, RECOVERY, open_keys, read_key, write_key
from hashwerk.evidence.keys import fingerprint, key_hash, public_bytes
from hashwerk.evidence.verify import verify_bundle
from hashwerk.evidence.verify.run import Options
from hashwerk.store import epochs, key_changes
from hashwerk.store.bundles import Period, write_bundle
from hashwerk.store.connection import WriterLock, connect_reader, connect_writer
from hashwerk.store.keeper import EpochKeeper
from hashwerk.store.migrations import migrate
from hashwerk.store.settings import StoreSettings
from hashwerk.store.writes import Write

DECLARED = (
    records.Site(name="site", network="testnet4", private=1),
    records.Scale(factor=1, basis="one hash is one hash"),
)
MINUTE = 1_790_000_100.0  # a whole one
STEPS = ("asked", "logged", CURRENT, NEXT, "tidied")
HERE = Path(__file__).parent

# One process forks another for every step; that one does the change and kills itself where the step is told.
KILLED = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from hashwerk.evidence.key_files import RECOVERY, read_key
from hashwerk.store import key_changes
from test_store_key_kills import MINUTE, STEPS, running
def end_at(step):
    def told(name):
        if name == step:
            os.kill(os.getpid(), signal.SIGKILL)
    return told
def change(how, folder, step):
    ledger, now_us = folder / "regtest" / "ledger.sqlite", int((MINUTE + 100) * 1e6)
    if how == "running":
        with running(folder, end_at(step)) as keeper:
            key_changes.ask_rotation(ledger, folder)
            keeper.close_epoch(MINUTE + 123)
    elif how == "stopped":
        key_changes.rotate_stopped(ledger, folder, now_us, end_at(step))
    else:
        key_changes.revoke_stopped(ledger, folder, read_key(folder / RECOVERY), now_us, end_at(step))
for how in ("running", "stopped", "revoked"):
    for step in STEPS:
        pid = os.fork()
        if pid == 0:
            change(how, Path(sys.argv[1]) / how / step, step)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        print(how, step, os.WTERMSIG(status) if os.WIFSIGNALED(status) else "not killed", flush=True)
"""


@contextmanager
def running(folder: Path, step: key_changes.Step = key_changes.no_step) -> Iterator[EpochKeeper]:
    """Run a mine, as far as its epochs go."""
    path = folder / "regtest" / "ledger.sqlite"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = WriterLock(path)
    lock.acquire(0.0)
    connection = connect_writer(path, StoreSettings())
    migrate(connection, path)

    def write(entry: Write) -> None:
        entry.apply(connection)
        if entry.committed is not None:
            entry.committed()

    keeper = EpochKeeper(
        path,
        open_keys(folder),
        write,
        declarations=DECLARED,
        interval_s=60.0,
        key_folder=folder,
        key_step=step,
    )
    try:
        keeper.open(MINUTE)
        yield keeper
    finally:
        keeper.close()
        connection.close()
        lock.release()


def begun(folder: Path) -> bytes:
    """Close the first epochs of a site; return its first key."""
    with running(folder) as keeper:
        keeper.close_epoch(MINUTE + 63)
    return public_bytes(open_keys(folder).current)


def history(folder: Path) -> tuple[list[str], list[bytes]]:
    """Return the kinds of key events, and who signed each epoch."""
    reader = connect_reader(folder / "regtest" / "ledger.sqlite")
    try:
        kinds = ["grv"[event.body.kind] for event in epochs.read_key_events(reader)]
        return kinds, [row.signed.header.key for row in epochs.read_epochs(reader, 0, 99)]
    finally:
        reader.close()


def check(folder: Path, first: bytes, start_s: float = 0.0) -> None:
    """The files fit the last event, nothing is left over, and what was signed verifies."""
    reader, out = connect_reader(folder / "regtest" / "ledger.sqlite"), io.BytesIO()
    event = epochs.read_key_events(reader)[-1]
    keys = open_keys(folder)
    assert public_bytes(keys.current) == event.body.key
    assert key_hash(public_bytes(keys.next)) == event.body.next_hash
    assert {path.name for path in folder.glob("site*")} == {CURRENT, NEXT, RECOVERY}
    end_us = int((MINUTE + 9_999) * 1e6)
    period = Period(start_us=int(start_s * 1e6), end_us=end_us, fixed_beforehand=True)
    write_bundle(reader, out, keys.current, period, now_us=end_us, software="test")
    reader.close()
    report = verify_bundle(io.BytesIO(out.getvalue()), Options(threads=1, key=fingerprint(first)))
    assert report.ok, report.failures()


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[Path, bytes]]:
    """Kill a change at every step, each in a site of its own; return where they lie, and their first keys."""
    root = tmp_path_factory.mktemp("killed")
    folders = {root / how / step: b"" for how in ("running", "stopped", "revoked") for step in STEPS}
    for folder in folders:
        folder.mkdir(parents=True)
        folders[folder] = begun(folder)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(root), str(HERE), str(HERE.parents[1])],
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    )
    assert [line.split()[2] for line in done.stdout.splitlines()] == ["9"] * len(folders), done.stdout
    return root, folders


@pytest.mark.parametrize("step", STEPS)
def test_a_running_mine_killed_within_a_rotation_finishes_it(
    killed: tuple[Path, dict[Path, bytes]], step: str
) -> None:
    folder, first = killed[0] / "running" / step, killed[1][killed[0] / "running" / step]
    # The operator asks again while the mine lies dead: before the event is logged it is the same rotation, then another.
    number = key_changes.ask_rotation(folder / "regtest" / "ledger.sqlite", folder)
    assert number == (1 if step == "asked" else 2)
    with running(folder) as keeper:
        keeper.close_epoch(MINUTE + 123)
        keeper.close_epoch(MINUTE + 183)
    kinds, signers = history(folder)
    assert kinds == ["g", "r"] if step == "asked" else ["g", "r", "r"]
    assert signers[:2] == [first, first]
    assert first not in signers[2:]
    assert len(set(signers[2:])) == 1, "a second rotation with the same epoch takes over at once"
    check(folder, first)


@pytest.mark.parametrize("step", STEPS)
def test_a_rotation_of_a_stopped_mine_is_finished_by_whoever_opens_the_keys_next(
    killed: tuple[Path, dict[Path, bytes]], step: str
) -> None:
    folder, first = killed[0] / "stopped" / step, killed[1][killed[0] / "stopped" / step]
    if step in ("logged", NEXT):  # the command is given once more: that is a second rotation
        key_changes.rotate_stopped(folder / "regtest" / "ledger.sqlite", folder, int((MINUTE + 101) * 1e6))
    with running(folder) as keeper:
        keeper.close_epoch(MINUTE + 123)
    kinds, signers = history(folder)
    assert kinds == ["g", "r", "r"] if step in ("logged", NEXT) else ["g", "r"]
    assert first not in signers[2:]
    check(folder, first)


@pytest.mark.parametrize("step", STEPS)
def test_a_revocation_is_done_or_not_done(killed: tuple[Path, dict[Path, bytes]], step: str) -> None:
    folder, first = killed[0] / "revoked" / step, killed[1][killed[0] / "revoked" / step]
    if step == "asked":  # nothing was logged: the old key still signs, and the command is given once more
        with running(folder) as keeper:
            keeper.close_epoch(MINUTE + 123)
        assert history(folder) == (["g"], [first] * 3)
        recovery = read_key(folder / RECOVERY)
        key_changes.revoke_stopped(
            folder / "regtest" / "ledger.sqlite", folder, recovery, int((MINUTE + 130) * 1e6)
        )
    with running(folder) as keeper:
        keeper.close_epoch(MINUTE + 183)
    kinds, signers = history(folder)
    assert kinds == ["g", "v"]
    assert signers[-1] != first
    check(
        folder, signers[-1], MINUTE + 121
    )  # what the revoked key signed without an external time stands no more


def test_lost_and_foreign_keys_are_named_and_the_recovery_key_helps(tmp_path: Path) -> None:
    begun(tmp_path)
    ledger = tmp_path / "regtest" / "ledger.sqlite"
    for name in (CURRENT, NEXT):
        (tmp_path / name).unlink()
    with pytest.raises(EvidenceError, match=r"site\.key is missing, but regtest has been signed for"):
        key_changes.check_present(tmp_path)
    with pytest.raises(EvidenceError, match="not the key that signs for this site"), running(tmp_path):
        raise AssertionError("it must not start, not even with keys made anew")
    key_changes.check_present(tmp_path)
    for name in (CURRENT, NEXT):
        (tmp_path / name).unlink()
    recovery = read_key(tmp_path / RECOVERY)
    key_changes.revoke_stopped(ledger, tmp_path, recovery, int((MINUTE + 100) * 1e6))
    with running(tmp_path) as keeper:
        keeper.close_epoch(MINUTE + 123)
        # A next key that is not the committed one: the rotation cannot be, and the epochs go on.
        write_key(tmp_path / NEXT, Ed25519PrivateKey.generate())
        assert key_changes.ask_rotation(ledger, tmp_path) == 2
        keeper.close_epoch(MINUTE + 183)
        assert history(tmp_path)[0] == ["g", "v"]
        assert len(history(tmp_path)[1]) == 4


def test_keys_that_sign_for_another_chain_too_are_not_changed(tmp_path: Path) -> None:
    begun(tmp_path)
    ledger = tmp_path / "regtest" / "ledger.sqlite"
    other = tmp_path / "testnet4"
    other.mkdir()
    (other / "ledger.sqlite").write_bytes(ledger.read_bytes())
    recovery = read_key(tmp_path / RECOVERY)
    for change in (
        lambda: key_changes.ask_rotation(ledger, tmp_path),
        lambda: key_changes.rotate_stopped(ledger, tmp_path, 0),
        lambda: key_changes.revoke_stopped(ledger, tmp_path, recovery, 0),
    ):
        with pytest.raises(EvidenceError, match="sign for testnet4 too"):
            change()
    assert {path.name for path in tmp_path.glob("site*")} == {CURRENT, NEXT, RECOVERY}
    (other / "ledger.sqlite").unlink()
    assert key_changes.ask_rotation(ledger, tmp_path) == 1
