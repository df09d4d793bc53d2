"""Makes and checks bundles in a process of its own: what it reads may be hostile, and it may take all of a processor.

``python -m hashwerk.site.evidence_worker`` reads one `Task` as JSON from standard input, does it, and prints one `Outcome`.
Cancellation: whoever started it ends it; it leaves nothing but the file it was told to write.
"""

from __future__ import annotations

import os
import re
import resource
import sys
import time
from pathlib import Path
from typing import Any, Final

import msgspec

from hashwerk import __version__
from hashwerk.errors import EvidenceError, HashwerkError
from hashwerk.evidence.key_files import CURRENT, read_key
from hashwerk.evidence.report_tables import figures, period
from hashwerk.evidence.verify import verify_bundle
from hashwerk.evidence.verify.result import Report
from hashwerk.evidence.verify.run import Options
from hashwerk.store.bundles import Period, write_bundle
from hashwerk.store.connection import connect_reader

#: Shares and pages are served before this.
_NICENESS: Final = 10
#: Times to the second are what people read.
_FRACTION: Final = re.compile(r"T(\d\d:\d\d:\d\d)(?:\.\d+)?Z")


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What to do: write ``file`` from a ledger, check it, or both."""

    file: str
    ledger: str = ""  # empty: ``file`` is there already
    keys: str = ""  # folder of the site's key
    start_us: int = 0
    end_us: int = 0
    verify: bool = False
    key: str | None = None  # pinned fingerprint
    cpu_s: int = 600  # the kernel ends this process after so much of it, even when nobody is there any more


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it; ``problem`` says why nothing did."""

    problem: str = ""
    size: int = 0
    report: dict[str, Any] | None = None


def do(task: Task) -> Outcome:
    """Do a task.

    Raises:
        HashwerkError: If the bundle cannot be made.
        OSError: If a file cannot be read or written.
    """
    file = Path(task.file)
    if task.ledger:
        _write(task, file)
    report = _plain(verify_bundle(file, Options(key=task.key))) if task.verify else None
    return Outcome(size=file.stat().st_size, report=report)


def _write(task: Task, file: Path) -> None:
    connection = connect_reader(Path(task.ledger))
    try:
        with file.open("wb") as stream:
            write_bundle(
                connection,
                stream,
                read_key(Path(task.keys) / CURRENT),
                Period(start_us=task.start_us, end_us=task.end_us, fixed_beforehand=False),
                now_us=int(time.time() * 1e6),
                software=f"hashwerk {__version__}",
            )
    finally:
        connection.close()


def _plain(report: Report) -> dict[str, Any]:
    """Return a report as `hashwerk verify --json` prints it, and its figures as rows for people."""
    return {
        "verdict": str(report.verdict),
        "subject": report.subject,
        "checks": [
            {
                "name": check.name,
                "ok": check.ok,
                "label": check.label,
                "detail": check.detail,
                **({} if check.ok else {"meaning": check.meaning, "consequence": str(check.consequence)}),
            }
            for check in report.checks
        ],
        "statement": report.statement,
        "period": _FRACTION.sub(r" \1 UTC", period(report)),
        "figures": [{"name": name, "value": value, "label": label} for name, value, label in figures(report)],
    }


def main() -> None:
    """Do the task on standard input."""
    task = msgspec.json.decode(sys.stdin.buffer.read(), type=Task)
    os.nice(_NICENESS)
    resource.setrlimit(resource.RLIMIT_CPU, (task.cpu_s, task.cpu_s + 1))
    try:
        outcome = do(task)
    except (HashwerkError, OSError) as error:
        outcome = Outcome(problem=_words(error))
    sys.stdout.buffer.write(msgspec.json.encode(outcome))


def _words(error: HashwerkError | OSError) -> str:
    if isinstance(error, EvidenceError) or not isinstance(error, OSError):
        return str(error)
    return f"the disk refused: {error.strerror}"


if __name__ == "__main__":
    main()
