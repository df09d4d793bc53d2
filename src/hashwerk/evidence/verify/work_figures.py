"""What a statement says of work: hashes with their intervals, whose they are, blocks, and how rewards were shared."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hashwerk.evidence.records import UNBOUND
from hashwerk.evidence.verify.blocks import STATES
from hashwerk.evidence.verify.figures import WORK_CHECKS, Shown, figure
from hashwerk.evidence.verify.hours import time_text
from hashwerk.evidence.verify.result import Label
from hashwerk.evidence.verify.shares import Work, total_work
from hashwerk.evidence.verify.weighed import Weighed, hashes_of, interval_of_hashes
from hashwerk.work.poisson import rate_interval

MAX_ROWS: Final = 10_000
_PAYOUT_STATES: Final = ("pending", "mature", "reversed")


def work_figures(shown: Shown) -> dict[str, Any]:
    """Return shares and hashes, in all and by account, with their 95 % intervals."""
    counts = shown.work.counts()
    proven = shown.worth(Label.PROVEN, *WORK_CHECKS)
    bound = shown.worth(Label.PROVEN, *WORK_CHECKS, "binding")
    found: dict[str, Any] = {
        "shares": figure(int(counts.sum()), "shares", proven),
        "hashes": hashes_figure(counts, proven),
        "interval": "95 %, the period was fixed beforehand"
        if shown.manifest.period_fixed
        else "95 % of a period fixed beforehand; this one was chosen afterwards",
        "accounts": [
            {
                "account": account.hex(),
                "shares": int(row.sum()),
                **hashes_row(row, bound),
                **_scale_row(shown.work.scale(account)),
            }
            for account, row in sorted(shown.work.accounts.items())
            if account != UNBOUND
        ],
        "hashes_per_hour": _per_hour(shown.work, shown.worth(Label.ASSERTED, *WORK_CHECKS)),
    }
    unbound = shown.work.accounts.get(UNBOUND)
    if unbound is not None:
        label = shown.worth(f"{Label.PROVEN} as work; target and account {Label.ASSERTED}", *WORK_CHECKS)
        found["unbound"] = hashes_figure(unbound, label)
        found["upstream"] = _upstream(shown, label)
    if shown.standing.thinned:
        full = sum(header.full_work for header in shown.headers)
        found["before_thinning"] = figure(str(full), "hashes", shown.worth(Label.ASSERTED, "sums"))
    if shown.work.is_scaled:
        found["hashes_at_scale"] = _at_scale(shown.work.weighed(), shown.worth(Label.ASSERTED, *WORK_CHECKS))
    if shown.duration_s > 0:
        found["hashrate"] = _hashrate(shown, found.get("hashes_at_scale", found["hashes"]))
    return found


def block_figures(shown: Shown) -> list[dict[str, Any]]:
    """Return the blocks that records name, with what each is worth."""
    found = []
    for hash_, logged in shown.facts.blocks.items():
        block = logged[-1][1]
        here = hash_ in shown.block_shares
        label = f"{Label.PROVEN}; its state {Label.ASSERTED}" if here else str(Label.ASSERTED)
        found.append(
            {
                "hash": hash_[::-1].hex(),
                "height": block.height,
                "found": time_text(block.found_us),
                "reward_sat": block.reward_sat,
                "state": STATES[block.state] if block.state < len(STATES) else "unknown",
                "label": shown.worth(label, "shares", "binding", "blocks"),
            }
        )
    return sorted(found, key=lambda row: (row["found"] or "", row["hash"]))[:MAX_ROWS]


def payout_figures(shown: Shown) -> dict[str, Any] | None:
    """Return how rewards were shared, by state and account; None: no payout was logged."""
    if not shown.payouts:
        return None
    by_state = dict.fromkeys(_PAYOUT_STATES, 0)
    accounts: dict[bytes, dict[str, int]] = {}
    for payout in shown.payouts:
        state = _PAYOUT_STATES[min(payout.state, 2)]
        by_state[state] += payout.reward_sat
        for entry in payout.entries:
            row = accounts.setdefault(entry.account, dict.fromkeys(_PAYOUT_STATES, 0))
            row[state] += entry.sat
    label = shown.worth(Label.ASSERTED if shown.lacking else Label.PROVEN, "shares", "sums", "payouts")
    return {
        "rewards": {state: figure(sat, "sat", label) for state, sat in by_state.items()},
        "fees": figure(sum(p.fee_sat for p in shown.payouts), "sat", label),
        "accounts": [
            {"account": account.hex(), **{f"{state}_sat": row[state] for state in _PAYOUT_STATES}}
            for account, row in sorted(accounts.items())[:MAX_ROWS]
        ],
        "label": label,
    }


def hashes_figure(counts: NDArray[np.int64], label: str) -> dict[str, Any]:
    """Return the hashes shown by shares and their 95 % interval."""
    low, high = interval_of(counts)
    return figure(str(total_work(counts)), "hashes", label, low=low, high=high)


def counted_once(work: dict[str, Any], whole: Weighed, elsewhere: Weighed) -> dict[str, Any]:
    """Return shares and hashes of a bundle without those that another bundle counts, by (work_log2, scale)."""
    kept = {kind: count - elsewhere.get(kind, 0) for kind, count in whole.items()}
    label = work.get("hashes_at_scale", work["hashes"])["label"]
    shares = sum(kept.values())
    # Where none is left, all that was done is in the other bundle, and its uncertainty with it.
    hashes = _at_scale(kept, label) if shares else figure("0", "hashes", label, low=0.0, high=0.0)
    return {
        "shares": figure(shares, "shares", work["shares"]["label"]),
        "hashes": hashes,
        "elsewhere": sum(elsewhere.values()),
    }


def _at_scale(counts: Weighed, label: str) -> dict[str, Any]:
    """Return the hashes that shares stand for, each by the scale of its account."""
    low, high = interval_of_hashes(counts)
    return figure(str(hashes_of(counts)), "hashes", label, low=low, high=high)


def _scale_row(scale: int) -> dict[str, Any]:
    """Return what each hash of an account stands for, where that is not one."""
    return {} if scale == 1 else {"scale": scale}


def hashes_row(counts: NDArray[np.int64], label: str) -> dict[str, Any]:
    """Return the hashes of an account and their 95 % interval."""
    low, high = interval_of(counts)
    return {"hashes": str(total_work(counts)), "low": low, "high": high, "label": label}


def interval_of(counts: NDArray[np.int64]) -> tuple[float | None, float | None]:
    """Return the 95 % interval of hashes; without a share there is no upper end."""
    by_target = {work_log2: int(counts[work_log2]) for work_log2 in np.flatnonzero(counts).tolist()}
    if not by_target:
        return 0.0, None
    rate = rate_interval(by_target, 1.0)
    return rate.low_hs, rate.high_hs


def _upstream(shown: Shown, label: str) -> list[dict[str, Any]]:
    """Return the work for upstream pools by pool and account, as the tables of prefixes give it."""
    return [
        {
            "pool": pool,
            "account": None if account == UNBOUND else account.hex(),
            "shares": int(row.sum()),
            **hashes_row(row, label),
        }
        for (pool, account), row in sorted(shown.work.pools.items())[:MAX_ROWS]
        if row.any()
    ]


def _hashrate(shown: Shown, total: dict[str, Any]) -> dict[str, Any]:
    # Work over time: worth no more than the time is.
    attested = shown.timed and not shown.work.is_scaled
    label = "attested by those who name the time" if attested else str(Label.ASSERTED)
    return figure(
        int(total["value"]) / shown.duration_s,
        "H/s",
        shown.worth(label, *WORK_CHECKS, "time bounds", "external time"),
        low=None if total["low"] is None else total["low"] / shown.duration_s,
        high=None if total["high"] is None else total["high"] / shown.duration_s,
    )


def _per_hour(work: Work, label: str) -> list[dict[str, Any]]:
    hours: dict[int, NDArray[np.int64]] = {}
    for (minute, work_log2, _), count in work.minutes.items():
        hours.setdefault(minute // 60, np.zeros(129, np.int64))[work_log2] += count
    return [
        {"start": time_text(hour * 3_600_000_000), **hashes_figure(counts, label)}
        for hour, counts in sorted(hours.items())[:MAX_ROWS]
    ]
