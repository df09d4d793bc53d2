"""Search for bytes that break the Stratum V1 cores, guided by coverage (Atheris, libFuzzer).

    .venv/bin/python tests/fuzz/fuzz_stratum_v1.py -max_total_time=600 tests/fuzz/corpus/stratum_v1

New inputs that reach new code are kept in the first folder named; what breaks is written to ``crash-…`` and belongs
into the corpus together with the fix. `test_fuzz_corpus` replays the corpus in every test run.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1]))

# Compiled code cannot be instrumented: the scanner is checked against the session, which is.
_NOT_INSTRUMENTED = ["hashwerk.stratum.v1.submits", "hashwerk.stratum.v1.results", "hashwerk.work.batch"]
with atheris.instrument_imports(include=["hashwerk.stratum"], exclude=_NOT_INSTRUMENTED):
    from fuzz.stratum_v1 import check


def main() -> None:
    """Run until told to stop."""
    atheris.Setup([*sys.argv, "-max_len=4096"], check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
