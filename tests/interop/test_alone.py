"""Runs what needs a process of its own: the library for other makes keeps one HTTP client for as long as its process lives, and
with it the ranges to which the process was confined when it was made."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "name",
    [
        "contract/devices/test_devices_contract.py",
        "interop/test_devices_confined.py",
        "interop/test_devices_twin.py",
        "interop/test_twin_pyasic_rs.py",
        "unit/devices/test_devices_asic_rs.py",
    ],
)
def test_in_a_process_of_its_own(name: str) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        str(TESTS / name),
    ]
    done = subprocess.run(
        command,
        env=os.environ | {"HASHWERK_ALONE": "1"},
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
