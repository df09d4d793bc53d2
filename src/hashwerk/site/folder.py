"""The data folder of a mine: where everything lies, one owner at a time, and the key that names the site."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hashwerk.errors import ConfigError, NodeLockedError


def default_data_dir() -> Path:
    """Return the user's own folder for application data."""
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "hashwerk"


class DataFolder:
    """Names and opens what a mine keeps on disk.

    Resource handling:
        `lock` holds an advisory lock on the folder until the process ends or `unlock` is called.
    """

    def __init__(self, root: Path, network: str) -> None:
        self.root = root.expanduser().absolute()
        self.network = network
        self._lock: int | None = None

    @property
    def here(self) -> Path:
        """The folder of this network."""
        return self.root / self.network

    @property
    def ledger(self) -> Path:
        """The ledger's database."""
        return self.here / "ledger.sqlite"

    @property
    def pid_file(self) -> Path:
        """Holds the supervisor's process id while the mine runs."""
        return self.here / "run.pid"

    def prepare(self) -> None:
        """Make the folders, private to their owner.

        Raises:
            ConfigError: If they cannot be made or written.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.here.mkdir(exist_ok=True, mode=0o700)
        except OSError as error:
            raise ConfigError(f"the data folder {self.root} cannot be used: {error.strerror}") from error
        if not os.access(self.here, os.W_OK):
            raise ConfigError(f"the data folder {self.here} cannot be written by this user")

    def lock(self) -> None:
        """Claim the folder for this process.

        Raises:
            NodeLockedError: If another mine runs on it; the message names it.
        """
        handle = os.open(self.pid_file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.read(handle, 32).decode(errors="replace").strip()
            os.close(handle)
            raise NodeLockedError(
                f"{self.here} is in use by another mine (process {owner or 'unknown'}); stop it, or give --data-dir"
            ) from error
        os.ftruncate(handle, 0)
        os.write(handle, f"{os.getpid()}\n".encode())
        os.set_inheritable(handle, False)
        self._lock = handle

    def unlock(self) -> None:
        """Let go of the folder."""
        if self._lock is not None:
            os.ftruncate(self._lock, 0)
            os.close(self._lock)
            self._lock = None

    def running_pid(self) -> int | None:
        """Return the process id of the supervisor that holds this folder, or None."""
        try:
            handle = os.open(self.pid_file, os.O_RDWR)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            text = os.read(handle, 32).decode(errors="replace").strip()
            return int(text) if text.isdigit() else None
        finally:
            os.close(handle)
        return None

    def site_key(self) -> Ed25519PrivateKey:
        """Return the site's signing key, made on first use, readable by its owner only.

        Raises:
            ConfigError: If the file is not a key, or others may read it.
        """
        path = self.root / "site.key"
        if path.exists():
            if path.stat().st_mode & 0o077:
                raise ConfigError(f"{path} can be read by others; run: chmod 600 {path}")
            try:
                return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(path.read_text().strip()))
            except ValueError as error:
                raise ConfigError(f"{path} does not hold a site key") from error
        key = Ed25519PrivateKey.generate()
        secret = key.private_bytes(
            serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()
        )
        temporary = path.with_suffix(".new")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(handle, secret.hex().encode() + b"\n")
            os.fsync(handle)
        finally:
            os.close(handle)
        temporary.replace(path)
        return key


def public_bytes(key: Ed25519PrivateKey) -> bytes:
    """Return the 32 bytes that name the site."""
    return key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
