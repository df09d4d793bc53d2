"""A pool as pages and the API see it."""

from __future__ import annotations

from fractions import Fraction

from hashwerk.pool.upstream.pool import Pool
from hashwerk.pool.upstream.views import UpstreamView
from hashwerk.pool.upstream.work import UpstreamWork


def view_of(
    pool: Pool, work: UpstreamWork | None, sessions: int, *, now: float, monotonic: float
) -> UpstreamView:
    """Return a pool as it is now.

    Args:
        pool: The pool.
        work: What it gives; None while it gives nothing.
        sessions: How many machines work for it.
        now: Unix seconds.
        monotonic: The same moment of the steady clock.
    """
    settings, record, links = pool.settings, pool.record, pool.open_links
    usable_in_s = pool.trust.usable_in_s(monotonic)
    if links:  # noqa: SIM108 - three answers on one line would be read by nobody
        state = "working" if usable_in_s <= 0 else "proving"
    else:
        state = "connecting" if pool.failed_because is None else "failed"
    last = max((link.last_job_at for link in links if link.last_job_at is not None), default=None)
    return UpstreamView(
        name=settings.name,
        url=str(settings.server),
        user=settings.user,
        priority=settings.priority,
        share=settings.share,
        state=state,
        role="in use" if sessions else "standby" if links else "out",
        reason=pool.failed_because,
        usable_in_s=usable_in_s if links and usable_in_s > 0 else None,
        sessions=sessions,
        connections=len(links),
        difficulty=None if work is None else float(work.job.difficulty),
        height=None if work is None else work.template.height or None,
        last_job_at=last,
        seen_hs=record.seen.rates_hs(now),
        credited_hs=record.credited.rates_hs(now),
        forwarded=record.forwarded,
        accepted=record.accepted,
        rejected=dict(record.rejected),
        lost=record.lost,
        waiting=sum(link.waiting for link in links),
        accepted_difficulty=_decimal(record.accepted_difficulty),
        latency_ms_p50=record.latency.quantile_ms(0.5, monotonic),
        latency_ms_p99=record.latency.quantile_ms(0.99, monotonic),
    )


def _decimal(number: Fraction) -> str:
    """Return a sum of difficulties as people read it; exact where it is whole."""
    return str(number.numerator) if number.denominator == 1 else f"{float(number):.9g}"
