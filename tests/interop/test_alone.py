"""Runs what needs a process of its own: the library for other makes keeps one HTTP client for as long as its process lives, and
with it the ranges to which the process was confined when it was made."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.parametrize(
    "name", ["test_devices_confined.py", "test_devices_twin.py", "test_twin_pyasic_rs.py"]
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
        str(HERE / name),
    ]
    done = subprocess.run(
        command,
        env=os.environ | {"HASHWERK_ALONE": "1"},
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
