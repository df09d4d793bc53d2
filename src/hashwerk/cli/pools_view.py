"""How a reconciliation is shown: a table of days, one of workers, what was found, and one sentence."""

from __future__ import annotations

from decimal import Decimal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hashwerk.economics.findings import Finding, Grade, Reason, Unit
from hashwerk.economics.reconcile import Line, Reconciliation, Verdict
from hashwerk.units import format_si

_STYLES = {Grade.NOTE: "dim", Grade.MISSING: "yellow", Grade.SHORT: "bold red", Grade.OVER: "cyan"}
_FEW = 3
_MARKS = {Grade.NOTE: "·", Grade.MISSING: "?", Grade.SHORT: "−", Grade.OVER: "+"}
_SENTENCES = {
    Verdict.AGREES: "The books agree, within what is tolerated.",
    Verdict.SHORT: "The pool has less than it should.",
    Verdict.OVER: "The pool has more than it should.",
    Verdict.UNTOLD: "It cannot be told: there is nothing, or not enough, to compare.",
}


def show(result: Reconciliation, console: Console) -> None:
    """Print a reconciliation for people."""
    table = _table("day", [*result.days, result.whole])
    console.print(table)
    if result.workers:
        console.print(_table("worker", result.workers))
    for sentence in _sentences(result):
        console.print(sentence, highlight=False)
    if result.unpaid_sat is not None:
        console.print(f"Credited less paid in this period: {result.unpaid_sat:,.0f} sat.", highlight=False)
    console.print(
        f"{result.compared_days} of {len(result.days)} days can be compared; {result.terms.scheme.value}, "
        f"{_luck(result)}.",
        highlight=False,
    )
    style = {Verdict.AGREES: "bold green", Verdict.SHORT: "bold red"}.get(result.verdict, "bold yellow")
    console.print(Text(_SENTENCES[result.verdict] + _not_judged(result), style=style))


def _not_judged(result: Reconciliation) -> str:
    """Return which of the two questions has no answer, so that half an agreement is not read as a whole one."""
    if result.verdict is Verdict.UNTOLD:
        return ""
    if result.whole.owed_low_sat is None:
        return " Only work is judged, not pay: see --chain and --fee."
    return (
        " Only pay is judged: the pool does not tell its work by day."
        if result.whole.credited is None
        else ""
    )


def _table(name: str, lines: tuple[Line, ...] | list[Line]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(name)
    for heading in (
        "shares",
        "proved",
        "accepted",
        "rejected",
        "lost",
        "credited",
        "Δ %",
        "credited sat",
        "owed sat",
        "paid",
    ):
        table.add_column(heading, justify="right")
    table.add_column("")
    for line in lines:
        table.add_row(
            line.name,
            "–" if line.shares is None else f"{line.shares:,}",
            _si(line.proved),
            _si(line.accepted),
            _si(line.rejected),
            _si(line.lost),
            _si(line.credited),
            _percent(line),
            _sat(line.credited_sat),
            _owed(line),
            _sat(line.paid_sat),
            _marks(line),
        )
    return table


def _si(value: Decimal | None) -> str:
    return format_si(None if value is None else float(value), "", digits=4).strip()


def _sat(value: Decimal | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _owed(line: Line) -> str:
    if line.owed_low_sat is None:
        return "–"
    if line.owed_high_sat is None:
        return f"≥ {line.owed_low_sat:,.0f}"
    low, high = f"{line.owed_low_sat:,.0f}", f"{line.owed_high_sat:,.0f}"
    return low if low == high else f"{low} … {high}"


def _percent(line: Line) -> str:
    """Return how much of the accepted work is not credited, or is credited on top, in per cent."""
    if not line.accepted or line.credited is None:
        return "–"
    return f"{float(line.credited / line.accepted - 1) * 100:+.3f}"


def _marks(line: Line) -> Text:
    grades = sorted({finding.grade for finding in line.findings}, key=list(Grade).index)
    return Text.assemble(*((_MARKS[grade], _STYLES[grade]) for grade in grades))


def _sentences(result: Reconciliation) -> list[Text]:
    """Return what was found; what is missing on many days alike is one sentence."""
    lines = (*result.days, *result.workers, result.whole)
    missing: dict[tuple[Reason, str], list[str]] = {}
    for line in lines:
        for finding in line.findings:
            if finding.grade is Grade.MISSING:
                missing.setdefault((finding.reason, finding.detail), []).append(line.name)
    sentences = []
    for line in lines:
        for finding in line.findings:
            names = missing.get((finding.reason, finding.detail), [])
            if len(names) <= _FEW:
                sentences.append(_sentence(line.name, finding))
            elif line.name == names[0]:
                sentences.append(_sentence(f"{names[0]} and {len(names) - 1} more", finding))
    return sentences


def _sentence(name: str, finding: Finding) -> Text:
    words = f"{name}: {finding.reason.value}"
    if finding.detail:
        words += f" ({finding.detail})"
    if finding.size is not None:
        size = float(finding.size)
        words += f": {format(size, '+,.0f')} {'sat' if finding.unit is Unit.SAT else 'of difficulty'}"
    if finding.low is not None:
        high = "any" if finding.high is None else f"{float(finding.high):,.0f}"
        words += f"; honest is {float(finding.low):,.0f} … {high}"
    if finding.confidence is not None:
        words += f" in {finding.confidence:.0%} of all periods"
    return Text(words, style=_STYLES[finding.grade])


def _luck(result: Reconciliation) -> str:
    if result.terms.scheme.has_luck:
        return f"so luck decides, and money is judged for the whole period only, at {result.allowance.confidence:.0%}"
    return "so luck has no part"
