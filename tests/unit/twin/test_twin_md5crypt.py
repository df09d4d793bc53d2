"""The md5-crypt of WhatsMiner tokens, against values made by OpenSSL (`openssl passwd -1 -salt SALT PASSWORD`)."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from hashwerk.twin.dialects.md5crypt import md5crypt

OPENSSL = shutil.which("openssl")


@pytest.mark.skipif(OPENSSL is None, reason="openssl is not installed: md5-crypt is not compared with it")
@pytest.mark.parametrize(
    ("password", "salt"), [("admin", "BQ5hoXV9"), ("a", "12345678"), ("longer than sixteen characters", "ab")]
)
def test_it_is_what_openssl_makes(password: str, salt: str) -> None:
    command = [str(OPENSSL), "passwd", "-1", "-salt", salt, password]
    expected = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    assert f"$1${salt}${md5crypt(password.encode(), salt.encode())}" == expected
