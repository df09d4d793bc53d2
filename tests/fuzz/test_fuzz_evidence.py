"""Every bundle the fuzzer ever kept, judged again by both verifiers, and some drawn anew from a fixed seed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from fuzz.evidence_bundle import check

CORPUS = sorted((Path(__file__).parent / "corpus" / "evidence_bundle").iterdir())


def test_there_is_a_corpus() -> None:
    assert len(CORPUS) >= 5


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_what_was_kept_is_judged_alike(path: Path) -> None:
    check(path.read_bytes())


@pytest.mark.parametrize("seed", range(4))
def test_what_is_drawn_is_judged_alike(seed: int) -> None:
    drawn = random.Random(seed)
    for _ in range(30):
        head = bytes([drawn.choice([0, 1, 1, 1]), drawn.randrange(256)])
        check(head + drawn.randbytes(12 * drawn.choice([1, 1, 2, 3])))
