"""Search for bundles on which the two verifiers fall over or part, guided by coverage (Atheris, libFuzzer).

    .venv/bin/python tests/fuzz/fuzz_evidence_bundle.py -max_total_time=600 tests/fuzz/corpus/evidence_bundle

New inputs that reach new code are kept in the first folder named; what breaks is written to ``crash-…`` and belongs
into the corpus together with the fix. `test_fuzz_evidence` replays the corpus in every test run.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1]))

# Compiled code cannot be instrumented.
_COMPILED = ("lanes", "rehash", "share_leaf", "share_tree")
_NOT_INSTRUMENTED = [
    "hashwerk.work.sha256",
    "hashwerk.work.batch",
    *(f"hashwerk.evidence.{name}" for name in _COMPILED),
]
with atheris.instrument_imports(include=["hashwerk.evidence"], exclude=_NOT_INSTRUMENTED):
    from fuzz.evidence_bundle import check


def main() -> None:
    """Run until told to stop."""
    atheris.Setup([*sys.argv, "-max_len=256"], check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
