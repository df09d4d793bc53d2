"""What machines put into the parameters of their requests, read with tolerance."""

from __future__ import annotations

import re
from typing import Any, Final

from hashwerk.chain.target import DIFFICULTY_1_TARGET
from hashwerk.stratum.v1.configure import positive_difficulty

_MAX_AGENT_CHARS: Final = 128
_TARGET: Final = re.compile(r"[0-9a-fA-F]{1,64}")
# "d=1024" as ckpool and most pools read it, alone or among other options.
_PASSWORD_DIFFICULTY: Final = re.compile(r"(?:^|[,;&\s])d=([0-9][0-9.eE+-]{0,31})(?=$|[,;&\s])")


def printable(value: Any) -> str:
    """Return a user agent fit to be shown and logged: short, and without control characters."""
    if not isinstance(value, str):
        return ""
    return "".join(character for character in value[:_MAX_AGENT_CHARS] if character.isprintable())


def difficulty_from_password(password: str) -> float | None:
    """Return the difficulty a user asks for in the password, None where there is none."""
    found = _PASSWORD_DIFFICULTY.search(password[:256])
    return positive_difficulty(found[1]) if found else None


def difficulty_from_target(value: Any) -> float | None:
    """Return the difficulty of a target in big-endian hex, as in `mining.suggest_target`; None when it is none."""
    if not isinstance(value, str) or not _TARGET.fullmatch(value) or not (target := int(value, 16)):
        return None
    return DIFFICULTY_1_TARGET / target
