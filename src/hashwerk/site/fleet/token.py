"""The token in the data folder by which programs of the mine's owner command its machines."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

from hashwerk.errors import ConfigError

FILE_NAME: Final = "fleet.token"
_BYTES: Final = 32


def local_token(folder: Path) -> str:
    """Return the token, made on first use, readable by its owner only.

    Raises:
        ConfigError: If others may read it, or it cannot be read or made.
    """
    path = folder / FILE_NAME
    try:
        if path.exists():
            return read_token(path)
        token = "hwk_" + secrets.token_urlsafe(_BYTES)
        temporary = path.with_suffix(".new")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(handle, token.encode() + b"\n")
            os.fsync(handle)
        finally:
            os.close(handle)
        temporary.replace(path)
        return token
    except OSError as error:
        raise ConfigError(f"{path} cannot be used: {error.strerror}") from error


def read_token(path: Path) -> str:
    """Return the token in a file.

    Raises:
        ConfigError: If others may read it, or it is empty.
        OSError: If it cannot be read.
    """
    if path.stat().st_mode & 0o077:
        raise ConfigError(f"{path} can be read by others; run: chmod 600 {path}")
    token = path.read_text(encoding="ascii", errors="replace").strip()
    if not token:
        raise ConfigError(f"{path} is empty; remove it, and the mine makes another")
    return token
