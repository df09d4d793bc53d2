"""A machine's words, before they go on to pages, logs and the database: one short line without control characters and secrets.

A hostile or broken machine may call itself by half a megabyte, by escape codes of a terminal, or by NULs that a database
refuses; and it may repeat a command that it does not take, with the passwords in it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

#: The longest words of real machines, those that name all options of a command, have about as much.
MAX_LENGTH: Final = 512
#: Shorter ones, like the "x" of pools that ask for no password, are none.
_SHORTEST_SECRET: Final = 4


def line_of(text: str) -> str:
    """Return ``text`` as one line of at most `MAX_LENGTH` characters that can all be printed."""
    text = text[:MAX_LENGTH]
    if not text.isprintable():
        text = "".join(letter if letter.isprintable() else " " for letter in text)
    return text.strip()


def without_secrets(text: str, secrets: Iterable[str | None]) -> str:
    """Return ``text`` with each secret in it replaced, the longest first."""
    told = {secret for secret in secrets if secret is not None and len(secret) >= _SHORTEST_SECRET}
    for secret in sorted(told, key=len, reverse=True):
        text = text.replace(secret, "…")
    return text


def without_login(url: str) -> str:
    """Return a pool's address without the name and password that some write into it."""
    scheme, mark, rest = url.rpartition("://")
    place, slash, path = rest.partition("/")
    return f"{scheme}{mark}{place.rpartition('@')[2]}{slash}{path}"
