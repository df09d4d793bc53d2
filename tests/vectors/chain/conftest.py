"""Where the real chain data lies: beside the repository, never in it."""

from __future__ import annotations

from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder ``../shared/data`` next to the checkout."""
    if not DATA.is_dir():
        pytest.skip("REAL CHAIN DATA ABSENT: ../shared/data does not exist; chain vectors are not checked")
    return DATA
