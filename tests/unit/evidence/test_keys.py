"""Keys: the next one is committed before, the recovery key revokes, and files are their owner's."""

import stat
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hashwerk.errors import DecodeError, EvidenceError
from hashwerk.evidence import key_files
from hashwerk.evidence.keys import (
    EVENT,
    KeyChain,
    KeyEvent,
    fingerprint,
    genesis,
    public_bytes,
    revoke,
    rotate,
)
from support.evidence import seeded_key

FIRST, SECOND, THIRD, RECOVERY = (seeded_key(name) for name in ("1", "2", "3", "recovery"))


def started() -> KeyEvent:
    return genesis(FIRST, public_bytes(SECOND), public_bytes(RECOVERY), 1_000)


def test_a_chain_of_rotation_and_revocation() -> None:
    first = started()
    second = rotate(first, FIRST, SECOND, public_bytes(THIRD), from_epoch=5, now_us=2_000)
    third = revoke(second, RECOVERY, THIRD, public_bytes(FIRST), from_epoch=9, now_us=3_000)
    chain = KeyChain([first, second, third])
    assert [chain.key_at(number) for number in (0, 4, 5, 8, 9)] == [first, first, second, second, third]
    assert chain.revoked_at_us(first) is None
    assert chain.revoked_at_us(second) == 3_000
    assert chain.has(public_bytes(SECOND))
    assert not chain.has(public_bytes(RECOVERY))
    assert EVENT.decode(EVENT.encode(third)) == third


def test_only_the_committed_key_takes_over() -> None:
    with pytest.raises(EvidenceError, match="committed"):
        rotate(started(), FIRST, THIRD, public_bytes(SECOND), from_epoch=5, now_us=2_000)


def test_broken_chains_are_refused() -> None:
    first = started()
    second = rotate(first, FIRST, SECOND, public_bytes(THIRD), from_epoch=5, now_us=2_000)
    thief = revoke(first, THIRD, THIRD, public_bytes(FIRST), from_epoch=1, now_us=3_000)
    other_authority = msgspec.structs.replace(second, authority=second.possession)
    edited = msgspec.structs.replace(second, body=msgspec.structs.replace(second.body, from_epoch=4))
    for events, why in (
        ([], "no key event"),
        ([second], "genesis"),
        ([first, first], "follow"),
        ([first, thief], "recovery key"),
        ([first, other_authority], "whom it needs"),
        ([first, edited], "own key"),
        (
            [first, second, revoke(second, RECOVERY, FIRST, public_bytes(FIRST), from_epoch=1, now_us=9_000)],
            "reaches",
        ),
    ):
        with pytest.raises(EvidenceError, match=why):
            KeyChain(events)


def test_a_fingerprint_is_64_digits() -> None:
    assert len(fingerprint(public_bytes(FIRST))) == 64
    assert fingerprint(public_bytes(FIRST)) != fingerprint(public_bytes(SECOND))


def test_key_files_are_private_and_survive(tmp_path: Path) -> None:
    keys = key_files.open_keys(tmp_path)
    assert keys.recovery is not None
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = key_files.open_keys(tmp_path)
    assert public_bytes(again.next) == public_bytes(keys.next)
    (tmp_path / key_files.RECOVERY).unlink()  # taken off line
    assert key_files.open_keys(tmp_path).recovery is None
    promoted = key_files.promote_next(tmp_path, THIRD)
    assert public_bytes(promoted.current) == public_bytes(keys.next)
    assert public_bytes(promoted.next) == public_bytes(THIRD)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "k"
    key_files.write_key(path, FIRST)
    path.chmod(0o640)
    with pytest.raises(EvidenceError, match="chmod 600"):
        key_files.read_key(path)
    path.chmod(0o600)
    path.write_text("not a key")
    with pytest.raises(EvidenceError, match="does not hold"):
        key_files.read_key(path)
    with pytest.raises(EvidenceError, match="cannot be read"):
        key_files.read_key(tmp_path / "none")


def test_the_backup_opens_with_its_passphrase_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_files, "_SCRYPT_COST", 1 << 10)
    keys = key_files.SiteKeys(FIRST, SECOND, RECOVERY)
    sealed = key_files.seal_keys(keys, "correct horse battery")
    opened = key_files.unseal_keys(sealed, "correct horse battery")
    assert [public_bytes(k) for k in (opened.current, opened.next)] == [
        public_bytes(FIRST),
        public_bytes(SECOND),
    ]
    assert isinstance(opened.recovery, Ed25519PrivateKey)
    assert FIRST.private_bytes_raw() not in sealed
    for wrong in (sealed[:-1], sealed[:50] + bytes([sealed[50] ^ 1]) + sealed[51:], b"HW"):
        with pytest.raises(DecodeError):
            key_files.unseal_keys(wrong, "correct horse battery")
    with pytest.raises(DecodeError, match="passphrase"):
        key_files.unseal_keys(sealed, "correct horse batterz")
    with pytest.raises(EvidenceError, match="twelve"):
        key_files.seal_keys(keys, "short")
