"""Passwords in files of their own; they are never logged."""

from __future__ import annotations

from pathlib import Path

from hashwerk.errors import ConfigError


def read_secret(name: str, path: str | None) -> str | None:
    """Return what stands in a file, white space taken off; None without a file.

    Raises:
        ConfigError: If it cannot be read or is empty.
    """
    if path is None:
        return None
    try:
        secret = Path(path).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name}: the password cannot be read from {path}: {error}") from error
    if not secret:
        raise ConfigError(f"{name}: the file {path} is empty")
    return secret
