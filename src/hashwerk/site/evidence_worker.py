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
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography import x509

from hashwerk import __version__
from hashwerk.chain.header import double_sha256
from hashwerk.errors import DecodeError, EvidenceError, HashwerkError
from hashwerk.evidence.key_files import CURRENT, read_key
from hashwerk.evidence.proof_file import check_proof
from hashwerk.evidence.receipt import read_receipts
from hashwerk.evidence.report_tables import figures, period
from hashwerk.evidence.verify import together, verify_bundle
from hashwerk.evidence.verify.result import Report, counted
from hashwerk.evidence.verify.run import Options, verify_together
from hashwerk.store.bundles import Period, write_bundle
from hashwerk.store.connection import connect_reader
from hashwerk.units import format_si

#: Shares and pages are served before this.
_NICENESS: Final = 10
#: Times to the second are what people read.
_FRACTION: Final = re.compile(r"T(\d\d:\d\d:\d\d)(?:\.\d+)?Z")


#: How files begin that are no bundles.
_BEGINS: Final = {
    "receipts": b"HASHWERK-RECEIPTS",
    "proof": b"HASHWERK-PROOF",
    "roots": b"-----BEGIN CERTIFICATE",
}


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What to do: write ``file`` from a ledger, check it, or both."""

    file: str
    ledger: str = ""  # empty: ``file`` is there already
    keys: str = ""  # folder of the site's key
    start_us: int = 0
    end_us: int = 0
    verify: bool = False
    key: str | None = None  # pinned fingerprint
    names: tuple[str, ...] = ()  # check files 0, 1 … beside ``file`` together; what people call them
    cpu_s: int = 600  # the kernel ends this process after so much of it, even when nobody is there any more


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it; ``problem`` says why nothing did."""

    problem: str = ""
    size: int = 0
    report: dict[str, Any] | None = None
    found: tuple[dict[str, Any], ...] = ()  # of several files, one each


def do(task: Task) -> Outcome:
    """Do a task.

    Raises:
        HashwerkError: If the bundle cannot be made.
        OSError: If a file cannot be read or written.
    """
    file = Path(task.file)
    if task.names:
        paths = [file.with_name(str(number)) for number in range(len(task.names))]
        return Outcome(found=check_together(list(zip(task.names, paths, strict=True)), task.key))
    if task.ledger:
        _write(task, file)
    report = _plain(verify_bundle(file, Options(key=task.key))) if task.verify else None
    return Outcome(size=file.stat().st_size, report=report)


def check_together(files: list[tuple[str, Path]], key: str | None) -> tuple[dict[str, Any], ...]:
    """Return what each of several files is: bundles are held against each other, and against the receipts among them.

    Block headers, and roots of time-stamping authorities in PEM, are brought along by the verifier: they count for all bundles.
    """
    kinds = [_kind(path) for _, path in files]
    found: list[dict[str, Any]] = [
        {"name": name, "kind": kind, "size": path.stat().st_size}
        for (name, path), kind in zip(files, kinds, strict=True)
    ]
    options = Options(key=key)
    for one, (_, path) in zip(found, files, strict=True):
        try:
            options = _bring(options, one, path, key)
        except (EvidenceError, DecodeError, ValueError) as error:
            one["problem"] = str(error)
    bundles = [one for one in found if one["kind"] == "bundle"]
    reports = verify_together(
        [file for file, kind in zip(files, kinds, strict=True) if kind == "bundle"], options
    )
    for one, report in zip(bundles, reports, strict=True):
        one["report"] = _plain(report)
    if len(reports) > 1:
        found.append(
            {"name": f"{len(reports)} bundles", "kind": "together", "size": 0, **_sum_words(reports)}
        )
    return tuple(found)


def _sum_words(reports: Sequence[Report]) -> dict[str, Any]:
    """Return what several bundles come to, in words, or why they are not added up; and the figures."""
    whole = together(reports)
    figures = whole["figures"]
    if not figures:
        return {"problem": whole["not_shown"][0], "statement": whole}
    words = [f"{figures['shares']['value']:,} shares", format_si(int(figures["hashes"]["value"]), "H")]
    if "energy" in figures:
        words.append(format_si(figures["energy"]["value"], "Wh"))
    if "efficiency" in figures:
        words.append(f"{figures['efficiency']['value']:.2f} J/TH")
    return {
        "words": f"{', '.join(words)}; each share counted once, all of it {whole['subject']}",
        "statement": whole,
    }


def _bring(options: Options, one: dict[str, Any], path: Path, key: str | None) -> Options:
    """Return the options with what a file brings along; of a proof, note what it shows."""
    kind = one["kind"]
    if kind == "bundle":
        return options
    data = path.read_bytes()
    if kind == "receipts":
        receipts = read_receipts(data)
        one["words"] = counted(len(receipts), "receipt")
        return msgspec.structs.replace(options, receipts=(*options.receipts, *receipts))
    if kind == "proof":
        shown = check_proof(data)
        if key is not None and key.lower() not in (shown.key, shown.site):
            raise EvidenceError("it is not by the pinned key")
        figures = ", ".join(f"{name} {value}" for name, value in shown.figures.items())
        one["words"] = f"holds: {shown.kind} of epoch {shown.epoch}: {figures}; signed by {shown.key}"
        return options
    if kind == "roots":
        roots = tuple(x509.load_pem_x509_certificates(data))
        one["words"] = ", ".join(root.subject.rfc4514_string() for root in roots)
        return msgspec.structs.replace(options, tsa_roots=(*options.tsa_roots, *roots))
    one["words"] = counted(len(data) // 80, "block header")
    return msgspec.structs.replace(options, headers=data)


def _kind(path: Path) -> str:
    """Return what a file is by how it begins; whatever is nothing else is judged as a bundle."""
    with path.open("rb") as file:
        head = file.read(80)
    for kind, begin in _BEGINS.items():
        if head.startswith(begin):
            return kind
    is_header = len(head) == 80 and path.stat().st_size % 80 == 0 and double_sha256(head).endswith(bytes(3))
    return "headers" if is_header else "bundle"


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
        **report.as_data(),
        "period": _FRACTION.sub(r" \1 UTC", period(report)),
        "figures": [
            {"name": name, "value": _FRACTION.sub(r" \1 UTC", value), "label": label}
            for name, value, label in figures(report)
        ],
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
