"""The data folder: one owner, a private key."""

import stat
from pathlib import Path

import pytest

from hashwerk.errors import ConfigError, NodeLockedError
from hashwerk.site.folder import DataFolder, public_bytes


def test_one_owner_at_a_time(tmp_path: Path) -> None:
    first, second = DataFolder(tmp_path, "regtest"), DataFolder(tmp_path, "regtest")
    first.prepare()
    assert first.running_pid() is None
    first.lock()
    with pytest.raises(NodeLockedError, match=str(tmp_path)):
        second.lock()
    assert second.running_pid() is not None
    first.unlock()
    second.lock()
    second.unlock()


def test_the_key_is_kept_and_private(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "new", "regtest")
    folder.prepare()
    key = public_bytes(folder.site_key())
    assert public_bytes(DataFolder(tmp_path / "new", "main").site_key()) == key
    path = tmp_path / "new" / "site.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        folder.site_key()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file"):
        DataFolder(tmp_path / "file" / "sub", "regtest").prepare()
