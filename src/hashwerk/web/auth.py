"""Who may see the page: password, access tokens, signed sessions, and a brake on guessing."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets
from collections import OrderedDict
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from hashwerk.config.web_settings import WebSettings

TOKEN_PREFIX: Final = "hwk_"  # noqa: S105 - a mark by which a leaked token is recognised, not a secret
SESSION_LIFETIME_S: Final = 30 * 86_400
_HASH_PREFIX: Final = "sha256:"
_SESSION_DOMAIN: Final = b"hashwerk/web/session/v1"
_hasher = PasswordHasher()


def hash_password(password: str) -> str:
    """Return the Argon2id hash of a password, for ``password_hash`` in the site file (RFC 9106)."""
    return _hasher.hash(password)


def new_token() -> tuple[str, str]:
    """Return a fresh access token and its hash; only the hash goes into the site file.

    A token holds 256 random bits, so a plain SHA-256 hides it: there is nothing to guess.
    """
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    return token, hash_token(token)


def hash_token(token: str) -> str:
    """Return the hash under which a token stands in the site file."""
    return _HASH_PREFIX + hashlib.sha256(token.encode()).hexdigest()


class Credentials:
    """The password and the tokens of one page.

    Resource handling:
        A check of the password takes 64 MiB and some tens of milliseconds in a thread; at most two run
        at once.
    """

    def __init__(self, settings: WebSettings) -> None:
        self._password_hash = settings.password_hash
        self._tokens = frozenset(settings.tokens)
        self._checks = asyncio.Semaphore(2)

    def is_token(self, token: str) -> bool:
        """Say whether a program may enter with this token."""
        return hash_token(token) in self._tokens

    async def admits(self, secret: str) -> bool:
        """Say whether a person may enter with this password, or token."""
        if self.is_token(secret):
            return True
        if self._password_hash is None:
            return False
        async with self._checks:
            return await asyncio.to_thread(_password_matches, self._password_hash, secret)


def _password_matches(password_hash: str, password: str) -> bool:
    try:
        return _hasher.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False


class Sessions:
    """Signs and checks session cookies; nothing is kept on the server.

    The key is bound to the password and the tokens: when one of them changes, everybody is asked again.
    """

    def __init__(self, key: bytes, settings: WebSettings) -> None:
        secret = "\n".join((settings.password_hash or "", *sorted(settings.tokens)))
        self._key = hmac.new(key, _SESSION_DOMAIN + secret.encode(), hashlib.sha256).digest()

    def issue(self, now: float) -> str:
        """Return a cookie that is good for `SESSION_LIFETIME_S`."""
        body = f"{int(now) + SESSION_LIFETIME_S}.{secrets.token_urlsafe(12)}"
        return f"{body}.{self._sign(body)}"

    def is_valid(self, cookie: str, now: float) -> bool:
        """Say whether a cookie is ours and not too old."""
        body, _, signature = cookie.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._sign(body).encode()):
            return False
        return now < int(body.partition(".")[0])

    def _sign(self, body: str) -> str:
        digest = hmac.new(self._key, body.encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


class LoginBrake:
    """Makes every address wait longer after each wrong password.

    The first ``free`` failures cost nothing, each further one doubles the wait up to five minutes. The
    table holds at most ``capacity`` addresses; the one that failed longest ago is forgotten first.
    """

    __slots__ = ("_capacity", "_failures", "_free")

    def __init__(self, free: int = 5, capacity: int = 4_096) -> None:
        self._free = free
        self._capacity = capacity
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def wait_s(self, address: str, now: float) -> float:
        """Return how long this address still has to wait, 0 when it may try; ``now`` in monotonic seconds."""
        count, at = self._failures.get(address, (0, 0.0))
        if count < self._free:
            return 0.0
        return max(0.0, at + min(2.0 ** (count - self._free + 1), 300.0) - now)

    def failed(self, address: str, now: float) -> None:
        """Remember a wrong password."""
        count, _ = self._failures.pop(address, (0, 0.0))
        self._failures[address] = (count + 1, now)
        if len(self._failures) > self._capacity:
            self._failures.popitem(last=False)

    def succeeded(self, address: str) -> None:
        """Forget the failures of an address that knew the password."""
        self._failures.pop(address, None)
