"""The keys of a site: who signs, who signs next, and who may take the right to sign away.

The key identifies the operator; it does not restrain him. Every key event names the hash of the key that comes
next, so a thief of the present key cannot rotate to one of his own; the recovery key, kept off line and committed at
genesis, revokes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from hashwerk.errors import EvidenceError
from hashwerk.evidence.canonical import U8, U64, Hash32, Layout, Signature64
from hashwerk.evidence.domains import KEY, KEY_EVENT, SIGN_KEY_EVENT, tagged

GENESIS: Final = 0
ROTATION: Final = 1
REVOCATION: Final = 2
NO_HASH: Final = bytes(32)


class KeyEventBody(msgspec.Struct, frozen=True, kw_only=True):
    """A key and from when on it signs."""

    kind: U8
    previous: Hash32  # hash of the event before; zero at genesis
    key: Hash32  # the public key that signs from `from_epoch` on
    next_hash: Hash32  # of the key after it
    recovery: Hash32  # at genesis the recovery key's hash; in a revocation the recovery key itself; else zero
    from_epoch: U64
    at_us: U64


class KeyEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A key event with its two signatures."""

    body: KeyEventBody
    possession: Signature64  # by the key that begins
    authority: Signature64  # by the key before; in a revocation by the recovery key; at genesis as above


BODY: Final = Layout(KeyEventBody)
EVENT: Final = Layout(KeyEvent)


def public_bytes(key: Ed25519PrivateKey) -> bytes:
    """Return the 32 bytes of a public key."""
    return key.public_key().public_bytes_raw()


def key_hash(public: bytes) -> bytes:
    """Return the hash by which a key is committed before it is shown."""
    return tagged(KEY, public)


def fingerprint(public: bytes) -> str:
    """Return what people compare: the key's hash as 64 hexadecimal digits."""
    return key_hash(public).hex()


def event_hash(body: KeyEventBody) -> bytes:
    """Return the hash that names a key event. That of the genesis event names the site."""
    return tagged(KEY_EVENT, BODY.encode(body))


def sign(key: Ed25519PrivateKey, domain: bytes, hash_: bytes) -> bytes:
    """Return the signature of one hash in one domain."""
    return key.sign(domain + hash_)


def is_signed(public: bytes, domain: bytes, hash_: bytes, signature: bytes) -> bool:
    """Return whether a signature is this key's."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, domain + hash_)
    except (InvalidSignature, ValueError):
        return False
    return True


def genesis(
    key: Ed25519PrivateKey, next_key: bytes, recovery_key: bytes, now_us: int, *, from_epoch: int = 0
) -> KeyEvent:
    """Return the event that a site begins with."""
    body = KeyEventBody(
        kind=GENESIS,
        previous=NO_HASH,
        key=public_bytes(key),
        next_hash=key_hash(next_key),
        recovery=key_hash(recovery_key),
        from_epoch=from_epoch,
        at_us=now_us,
    )
    return _signed(body, key, key)


def rotate(
    last: KeyEvent,
    old_key: Ed25519PrivateKey,
    new_key: Ed25519PrivateKey,
    next_key: bytes,
    *,
    from_epoch: int,
    now_us: int,
) -> KeyEvent:
    """Return the event by which the committed next key takes over.

    Raises:
        EvidenceError: If the new key is not the one committed before.
    """
    if key_hash(public_bytes(new_key)) != last.body.next_hash:
        raise EvidenceError("the new key is not the one committed before")
    body = KeyEventBody(
        kind=ROTATION,
        previous=event_hash(last.body),
        key=public_bytes(new_key),
        next_hash=key_hash(next_key),
        recovery=NO_HASH,
        from_epoch=from_epoch,
        at_us=now_us,
    )
    return _signed(body, new_key, old_key)


def revoke(
    last: KeyEvent,
    recovery_key: Ed25519PrivateKey,
    new_key: Ed25519PrivateKey,
    next_key: bytes,
    *,
    from_epoch: int,
    now_us: int,
) -> KeyEvent:
    """Return the event by which the recovery key takes the right to sign away and gives it to a new key."""
    body = KeyEventBody(
        kind=REVOCATION,
        previous=event_hash(last.body),
        key=public_bytes(new_key),
        next_hash=key_hash(next_key),
        recovery=public_bytes(recovery_key),
        from_epoch=from_epoch,
        at_us=now_us,
    )
    return _signed(body, new_key, recovery_key)


def _signed(body: KeyEventBody, key: Ed25519PrivateKey, authority: Ed25519PrivateKey) -> KeyEvent:
    hash_ = event_hash(body)
    return KeyEvent(
        body=body,
        possession=sign(key, SIGN_KEY_EVENT, hash_),
        authority=sign(authority, SIGN_KEY_EVENT, hash_),
    )


class KeyChain:
    """Key events from genesis on, checked one by one."""

    __slots__ = ("events",)

    def __init__(self, events: Sequence[KeyEvent]) -> None:
        """Check the chain.

        Raises:
            EvidenceError: If an event does not follow from the ones before it; the message says which and why.
        """
        if not events:
            raise EvidenceError("there is no key event")
        self.events = tuple(events)
        for number, event in enumerate(self.events):
            self._check(number, event)

    @property
    def site(self) -> bytes:
        """The hash that names the site."""
        return event_hash(self.events[0].body)

    @property
    def head(self) -> bytes:
        """The hash of the last event."""
        return event_hash(self.events[-1].body)

    def key_at(self, epoch: int) -> KeyEvent:
        """Return the event whose key signs an epoch.

        Raises:
            EvidenceError: If none does.
        """
        for event in reversed(self.events):
            if event.body.from_epoch <= epoch:
                return event
        raise EvidenceError(f"no key signs epoch {epoch}")

    def revoked_at_us(self, event: KeyEvent) -> int | None:
        """Return when an event's key was revoked; None: it was not."""
        at = self.events.index(event)
        if at + 1 < len(self.events) and self.events[at + 1].body.kind == REVOCATION:
            return self.events[at + 1].body.at_us
        return None

    def has(self, public: bytes) -> bool:
        """Return whether a key ever signed for the site."""
        return any(event.body.key == public for event in self.events)

    def _check(self, number: int, event: KeyEvent) -> None:
        body, hash_ = event.body, event_hash(event.body)
        if not is_signed(body.key, SIGN_KEY_EVENT, hash_, event.possession):
            raise EvidenceError(f"key event {number} is not signed by its own key")
        if number == 0:
            if body.kind != GENESIS or body.previous != NO_HASH or event.authority != event.possession:
                raise EvidenceError("the first key event is not a genesis")
            return
        last = self.events[number - 1].body
        if body.previous != event_hash(last):
            raise EvidenceError(f"key event {number} does not follow the one before it")
        if body.from_epoch < last.from_epoch or body.at_us < last.at_us:
            raise EvidenceError(f"key event {number} reaches back before the one before it")
        if body.kind == ROTATION:
            if key_hash(body.key) != last.next_hash or body.recovery != NO_HASH:
                raise EvidenceError(f"key event {number} rotates to a key that was not committed before")
            signer = last.key
        elif body.kind == REVOCATION:
            if key_hash(body.recovery) != self.events[0].body.recovery:
                raise EvidenceError(
                    f"key event {number} is by a recovery key that was not committed at genesis"
                )
            signer = body.recovery
        else:
            raise EvidenceError(f"key event {number} is of unknown kind {body.kind}")
        if not is_signed(signer, SIGN_KEY_EVENT, hash_, event.authority):
            raise EvidenceError(f"key event {number} is not signed by whom it needs")
