"""Every input the fuzzer ever kept, checked again; no fuzzer is needed for that."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz.stratum_v1 import check

CORPUS = sorted((Path(__file__).parent / "corpus" / "stratum_v1").iterdir())


def test_there_is_a_corpus() -> None:
    assert len(CORPUS) >= 40


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_what_must_hold_holds(path: Path) -> None:
    check(path.read_bytes())
