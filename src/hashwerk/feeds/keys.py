"""Keys of feeds: they stand in files of their own, and never in an address, a log or a message."""

from __future__ import annotations

from pathlib import Path

from hashwerk.errors import ConfigError


def read_key(name: str, path: str) -> str:
    """Return the key in a file, white space taken off.

    Raises:
        ConfigError: If there is none.
    """
    try:
        key = Path(path).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name}: the key cannot be read from {path}: {error}") from error
    if not key:
        raise ConfigError(f"{name}: the file {path} is empty")
    return key
