"""Texts as evidence takes them: normal, in one line, not longer than anybody reads."""

from __future__ import annotations

import unicodedata
from typing import Final

_MOST: Final = 400


def plain(text: str) -> str:
    """Return a text in Unicode normal form C, without control characters, of at most 400 characters."""
    shown = "".join(" " if unicodedata.category(letter) == "Cc" else letter for letter in text)
    return unicodedata.normalize("NFC", " ".join(shown.split())[:_MOST])
