"""Is the pool honest? Day by day: work proved here, accepted there, credited there, and satoshi, against the scheme's formula.

Two questions are kept apart, because they are answered by different people at a pool. *Is all work credited?* compares the
difficulty that the pool accepted with the difficulty in its books; nothing of this is luck, both counted the same shares.
*Is credited work paid as agreed?* compares satoshi with the scheme's formula; here luck has a part under PPLNS, TIDES and
solo, and then only the whole period is judged, by the exact Poisson interval of the number of blocks.

What may differ honestly, and is tolerated: the rounding of the pool's figures, shares within ``boundary_s`` of the begin and
end of the pool's day, 1/65,535 between the two readings of difficulty 1, and shares of which the answer was lost.
"""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Iterable, Sequence
from decimal import Context, Decimal, localcontext
from typing import Any, Final

import msgspec

from hashwerk.economics.books import DayBooks, WorkerBooks
from hashwerk.economics.findings import Finding, Grade, Reason, Unit
from hashwerk.economics.judge import (
    Allowance,
    block_findings,
    credit_findings,
    luck_findings,
    owed,
    pay_findings,
)
from hashwerk.economics.ports import ProvedWork, ShareSum, total
from hashwerk.economics.schemes import Terms

_PRECISION: Final = Context(prec=40)
_ZERO: Final = Decimal(0)


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One day, one worker's interval, or the whole: what each side has, and what does not agree. None: not known."""

    name: str  # the day or the worker
    shares: int | None = None
    proved: Decimal | None = None
    accepted: Decimal | None = None
    rejected: Decimal | None = None
    lost: Decimal | None = None
    credited: Decimal | None = None
    credited_sat: Decimal | None = None
    other_sat: Decimal | None = None
    owed_low_sat: Decimal | None = None  # by the scheme's formula, on average where luck decides
    owed_high_sat: Decimal | None = None
    paid_sat: Decimal | None = None
    blocks: int | None = None
    findings: tuple[Finding, ...] = ()


class Verdict(enum.Enum):
    """The answer for the whole period."""

    AGREES = "agrees"
    SHORT = "short"
    OVER = "over"
    UNTOLD = "cannot be told"


class Reconciliation(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. ``whole`` sums the days that both sides have; only those can be compared."""

    terms: Terms
    allowance: Allowance
    days: tuple[Line, ...]
    workers: tuple[Line, ...]
    whole: Line
    compared_days: int
    verdict: Verdict
    unpaid_sat: Decimal | None  # credited less paid in the period; what was owed before is not in it


def reconcile(
    terms: Terms,
    days: Sequence[DayBooks],
    workers: Sequence[WorkerBooks] = (),
    *,
    allowance: Allowance | None = None,
    pool_share: Decimal | None = None,
) -> Reconciliation:
    """Compare both sides, day by day, worker by worker, and as a whole.

    ``pool_share`` is this account's share of the pool's work, where it is known: it gives luck's interval for a period in
    which no block paid.
    """
    allowance = allowance or Allowance()
    with localcontext(_PRECISION):
        lines = tuple(_day_line(terms, day, allowance) for day in days)
        whole, compared = _whole(terms, days, lines, allowance, pool_share)
        return Reconciliation(
            terms=terms,
            allowance=allowance,
            days=lines,
            workers=tuple(_worker_line(worker, allowance) for worker in workers),
            whole=whole,
            compared_days=compared,
            verdict=_verdict(whole, compared),
            unpaid_sat=_unpaid_sat(lines),
        )


def as_builtins(result: Reconciliation) -> dict[str, Any]:
    """Return a reconciliation as plain data, each finding with its grade; figures are exact, as text."""
    data: dict[str, Any] = msgspec.to_builtins(result)
    for line, shown in zip(
        (*result.days, *result.workers, result.whole),
        (*data["days"], *data["workers"], data["whole"]),
        strict=True,
    ):
        for finding, plain in zip(line.findings, shown["findings"], strict=True):
            plain["grade"] = finding.grade.value
    return data


def _day_line(terms: Terms, books: DayBooks, allowance: Allowance) -> Line:
    credited = books.credited
    findings: list[Finding] = []
    accepted: Decimal | None = None
    line = Line(name=books.day.isoformat(), paid_sat=books.paid_sat)
    if books.proved is None:
        findings.append(Finding(reason=Reason.LEDGER_MISSING))
    else:
        line, fates = _add_proved(line, books.proved)
        findings += fates
        accepted = line.accepted
    if credited is None:
        findings.append(Finding(reason=Reason.CREDIT_MISSING))
        return msgspec.structs.replace(line, findings=tuple(findings))
    if not credited.is_final:
        findings.append(Finding(reason=Reason.NOT_FINAL))
    edge = books.edge_start + books.edge_end
    if accepted is not None:
        findings += credit_findings(
            accepted,
            credited.difficulty,
            lost=line.lost or _ZERO,
            edge=edge,
            step=credited.difficulty_step,
            allowance=allowance,
        )
    low_sat, high_sat, missing = owed(terms, books, accepted, edge)
    findings += missing
    if terms.scheme.has_luck:
        findings += block_findings(terms, books)
    else:
        findings += pay_findings(credited.mining_sat, credited.sat_step, low_sat, high_sat)
    return msgspec.structs.replace(
        line,
        credited=credited.difficulty,
        credited_sat=credited.mining_sat,
        other_sat=credited.other_sat,
        owed_low_sat=low_sat,
        owed_high_sat=high_sat,
        blocks=credited.blocks,
        findings=tuple(findings),
    )


def _add_proved(line: Line, works: Sequence[ProvedWork]) -> tuple[Line, list[Finding]]:
    """Put the ledger's side into a line; rejects and losses are told with their reasons."""
    rejected: dict[str, ShareSum] = {}
    for work in works:
        for reason, amount in work.rejected.items():
            rejected[reason] = rejected.get(reason, ShareSum()) + amount
    lost = total(work.lost for work in works)
    proved = total(work.proved for work in works)
    findings = [
        Finding(
            reason=Reason.REJECTED,
            detail=f"{_shares(amount)}: {reason}",
            unit=Unit.DIFFICULTY,
            size=-amount.difficulty,
        )
        for reason, amount in sorted(rejected.items())
    ]
    if lost.shares:
        findings.append(
            Finding(reason=Reason.LOST, detail=_shares(lost), unit=Unit.DIFFICULTY, size=-lost.difficulty)
        )
    line = msgspec.structs.replace(
        line,
        shares=proved.shares,
        proved=proved.difficulty,
        accepted=total(work.accepted for work in works).difficulty,
        rejected=total(rejected.values()).difficulty,
        lost=lost.difficulty,
    )
    return line, findings


def _shares(amount: ShareSum) -> str:
    return "1 share" if amount.shares == 1 else f"{amount.shares:,} shares"


def _whole(
    terms: Terms,
    days: Sequence[DayBooks],
    lines: Sequence[Line],
    allowance: Allowance,
    pool_share: Decimal | None,
) -> tuple[Line, int]:
    """Sum the days that both sides have and judge the sum.

    A little less work every day, each time within the tolerance, does not hide here: edges inside an unbroken run of days
    cancel, so the sum is allowed hardly more than one day is.
    """
    both = [i for i, day in enumerate(days) if day.proved is not None and day.credited is not None]
    if not both:
        return Line(name="whole"), 0
    chosen = [days[i] for i in both]
    line, findings = _add_proved(Line(name="whole"), [work for day in chosen for work in day.proved or ()])
    credited = [day.credited for day in chosen if day.credited is not None]
    edge = _outer_edges(chosen)
    step = sum((day.difficulty_step for day in credited), _ZERO)
    difficulty = _sum(row.difficulty for row in credited)
    findings += credit_findings(
        line.accepted or _ZERO, difficulty, lost=line.lost or _ZERO, edge=edge, step=step, allowance=allowance
    )
    sat = _sum(row.mining_sat for row in credited)
    low_sat = _sum(lines[i].owed_low_sat for i in both)
    high_sat = _sum(lines[i].owed_high_sat for i in both)
    blocks = _sum_counts([row.blocks for row in credited])
    sat_step = sum((row.sat_step for row in credited), _ZERO)
    if terms.scheme.has_luck:
        findings += [finding for day in chosen for finding in block_findings(terms, day)]
        findings += luck_findings(
            terms,
            chosen,
            sat=sat,
            blocks=blocks,
            low_sat=low_sat,
            high_sat=high_sat,
            allowance=allowance,
            pool_share=pool_share,
        )
    else:
        findings += pay_findings(sat, sat_step, low_sat, high_sat)
    line = msgspec.structs.replace(
        line,
        credited=difficulty,
        credited_sat=sat,
        other_sat=_sum(row.other_sat for row in credited),
        owed_low_sat=low_sat,
        owed_high_sat=high_sat,
        paid_sat=_sum(day.paid_sat for day in chosen),
        blocks=blocks,
        findings=tuple(findings),
    )
    return line, len(both)


def _worker_line(books: WorkerBooks, allowance: Allowance) -> Line:
    line = Line(name=books.worker, credited=books.credited.difficulty if books.credited else None)
    if not books.is_covered:
        return msgspec.structs.replace(line, findings=(Finding(reason=Reason.LEDGER_MISSING),))
    if books.proved is None:
        return msgspec.structs.replace(line, findings=(Finding(reason=Reason.UNKNOWN_HERE),))
    line, findings = _add_proved(line, [books.proved])
    accepted = line.accepted or _ZERO
    if books.credited is None:
        if accepted > books.edge:
            findings.append(Finding(reason=Reason.UNKNOWN_THERE, unit=Unit.DIFFICULTY, size=-accepted))
    else:
        step = books.credited.difficulty_step
        findings += credit_findings(
            accepted, line.credited, lost=line.lost or _ZERO, edge=books.edge, step=step, allowance=allowance
        )
    return msgspec.structs.replace(line, findings=tuple(findings))


def _outer_edges(days: Sequence[DayBooks]) -> Decimal:
    """Sum the edges at the ends of each unbroken run of days."""
    edges = _ZERO
    for i, day in enumerate(days):
        if i == 0 or days[i - 1].day != day.day - dt.timedelta(days=1):
            edges += day.edge_start
        if i == len(days) - 1 or days[i + 1].day != day.day + dt.timedelta(days=1):
            edges += day.edge_end
    return edges


def _sum(values: Iterable[Decimal | None]) -> Decimal | None:
    """Sum what is known; None as soon as one is not: a sum with a hole in it is no sum."""
    known = _ZERO
    for value in values:
        if value is None:
            return None
        known += value
    return known


def _sum_counts(values: Sequence[int | None]) -> int | None:
    return None if None in values else sum(value for value in values if value is not None)


def _verdict(whole: Line, compared: int) -> Verdict:
    grades = {finding.grade for finding in whole.findings}
    if Grade.SHORT in grades:
        return Verdict.SHORT
    if Grade.OVER in grades:
        return Verdict.OVER
    has_figures = whole.credited is not None or (
        whole.credited_sat is not None and whole.owed_low_sat is not None
    )
    untold = any(finding.reason is Reason.LUCK_UNKNOWN for finding in whole.findings)
    if not compared or not has_figures or (untold and whole.credited is None):
        return Verdict.UNTOLD
    return Verdict.AGREES


def _unpaid_sat(lines: Sequence[Line]) -> Decimal | None:
    credited = _sum(
        None if line.credited_sat is None else line.credited_sat + (line.other_sat or 0) for line in lines
    )
    paid = _sum(line.paid_sat for line in lines)
    return None if credited is None or paid is None else credited - paid
