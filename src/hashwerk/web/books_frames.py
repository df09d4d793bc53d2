"""What pools credited, beside what was proved here: the rows of the page *Work*."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hashwerk.economics.findings import Grade
from hashwerk.economics.reconcile import Verdict
from hashwerk.units import format_hashrate, format_si
from hashwerk.web import words

if TYPE_CHECKING:
    from decimal import Decimal

    from hashwerk.economics.reconcile import Line
    from hashwerk.site.pool_books import AccountBooks, PoolBooks

#: Difficulty 1 is 2**32 hashes; a pool's day has 86,400 seconds.
_HASHES_PER_DIFFICULTY: Final = 2**32
_DAY_S: Final = 86_400
_VERDICTS: Final = {
    Verdict.AGREES: ("✓", "agrees"),
    Verdict.SHORT: ("✕", "the pool has less than it should"),
    Verdict.OVER: ("+", "the pool has more than it should"),
    Verdict.UNTOLD: ("?", "cannot be told yet"),
}
_GRADES: Final = (Grade.SHORT, Grade.OVER, Grade.MISSING, Grade.NOTE)


def books_frame(books: PoolBooks | None, now: float) -> dict[str, Any]:
    """Return one row a day and account, the newest day first, and a sentence for each account."""
    accounts = () if books is None else books.view()
    return {
        "rows.books": [
            _row(one, line)
            for one in accounts
            if one.result is not None
            for line in reversed(one.result.days)
        ],
        "rows.verdicts": [_verdict(one, now) for one in accounts],
    }


def _verdict(one: AccountBooks, now: float) -> dict[str, Any]:
    result = one.result
    glyph, text = ("◌", "not compared yet") if result is None else _VERDICTS[result.verdict]
    compared = "–" if result is None else f"{result.compared_days} of {len(result.days)}"
    return {
        "k": one.upstream,
        "c": [
            one.upstream,
            {"t": f"{glyph} {text}", "s": text},
            compared,
            {"t": "–" if one.at is None else words.format_age(one.at, now), "s": -(one.at or 0)},
            one.problem or _worst(() if result is None else (result.whole, *result.days)),
        ],
    }


def _row(one: AccountBooks, line: Line) -> dict[str, Any]:
    return {
        "k": f"{one.upstream} {line.name}",
        "c": [
            one.upstream,
            {"t": line.name, "s": line.name},
            _rate(line.proved),
            _rate(line.accepted),
            _rate(line.credited),
            {"t": _difference(line), "s": _difference(line)},
            {
                "t": "–" if line.credited_sat is None else f"{line.credited_sat:,.0f}",
                "s": str(line.credited_sat),
            },
            {"t": _owed(line), "s": str(line.owed_low_sat)},
            _worst((line,)),
        ],
    }


def _rate(difficulty: Decimal | None) -> dict[str, Any]:
    """Return a day's difficulty as the hash rate that does so much in a day, with the figure itself on hover."""
    if difficulty is None:
        return {"t": "–", "s": 0}
    hs = float(difficulty) * _HASHES_PER_DIFFICULTY / _DAY_S
    return {
        "t": format_hashrate(hs),
        "s": hs,
        "h": f"difficulty {format_si(float(difficulty), '', digits=6).strip()}",
    }


def _difference(line: Line) -> str:
    if not line.accepted or line.credited is None:
        return "–"
    return f"{float(line.credited / line.accepted - 1) * 100:+.3f} %"


def _owed(line: Line) -> str:
    if line.owed_low_sat is None:
        return "–"
    low = f"{line.owed_low_sat:,.0f}"
    if line.owed_high_sat is None:
        return f"≥ {low}"
    high = f"{line.owed_high_sat:,.0f}"
    return low if low == high else f"{low} … {high}"


def _worst(lines: tuple[Line, ...]) -> str:
    """Return the findings of the worst grade there is, each reason once."""
    findings = [finding for line in lines for finding in line.findings]
    for grade in _GRADES:
        reasons = dict.fromkeys(finding.reason.value for finding in findings if finding.grade is grade)
        if reasons:
            return "; ".join(reasons)
    return ""
