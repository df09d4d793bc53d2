"""Passwords of meters, in files of their own."""

from __future__ import annotations

from pathlib import Path

from hashwerk.errors import ConfigError


def read_secret(name: str, path: str) -> str:
    """Return the password in a file, white space taken off.

    Raises:
        ConfigError: If there is none.
    """
    try:
        secret = Path(path).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name}: the password cannot be read from {path}: {error}") from error
    if not secret:
        raise ConfigError(f"{name}: the file {path} is empty")
    return secret
