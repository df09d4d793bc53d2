"""What pages say in words and figures: sentences, intervals, difficulties, ages."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

import msgspec

from hashwerk.units import format_duration, format_hashrate
from hashwerk.work.target import difficulty_from_work_log2

if TYPE_CHECKING:
    from hashwerk.site.messages import NodeView, Rate, Snapshot, WorkerView

SATS_PER_COIN: Final = 100_000_000
_NO_VALUE: Final = "–"
_BEFORE_UNIT: Final = re.compile(r"(\d) (?=(?:s|ms|min|h|d|[kMGTPEZY]?H/s)\b)")

#: What a rejected share means for the one who runs the machine. A new reason is one row here.
REJECT_WORDS: Final[dict[str, str]] = {
    "stale": "the tip had moved on; a few of these come with every block",
    "unknown_job": "work that was never sent to it, or long ago",
    "duplicate": "handed in twice",
    "low_difficulty": "above the share target: wrong hashes or a wrong difficulty",
    "time_too_old": "its time lies before the one the chain allows",
    "time_too_new": "its time lies too far in the future",
    "bad_version": "rolled version bits that were not agreed on",
    "unauthorized": "handed in before the machine gave its name",
    "not_subscribed": "handed in before the machine asked for work",
    "malformed": "not a share that can be read",
    "not_stored": "the disk did not take it; the machine was told",
}

_STATE_WORDS: Final[dict[str, tuple[str, str]]] = {
    "submitted": ("◌", "waits for the node"),
    "accepted": ("●", "accepted, not yet mature"),
    "mature": ("◆", "mature: its reward can be spent"),
    "orphaned": ("✕", "the chain went another way"),
    "rejected": ("✕", "refused by the node"),
}


class Verdict(msgspec.Struct, frozen=True):
    """What stands at the top of every page: how things are (good, attention or act) and the sentence."""

    state: str
    glyph: str
    sentence: str


def verdict(snapshot: Snapshot | None, reason: str | None, now: float, *, stale: bool) -> Verdict:
    """Return the one sentence on what is happening and why.

    ``reason`` is why no work is served, None while it is.
    """
    if snapshot is None:
        return Verdict("attention", "◌", "The mine is starting: the server has not reported yet.")
    if stale:
        return Verdict("act", "■", f"{_capital(reason)}; it is started again by itself.")
    if reason is not None:
        return Verdict("act", "■", f"No work is being served: {reason}.")
    idle = hashing_machines(snapshot) == 0
    if snapshot.warnings or (idle and snapshot.workers_total):
        return Verdict("attention", "▲", mining_sentence(snapshot, now))
    return Verdict("good", "○" if idle else "●", mining_sentence(snapshot, now))


def mining_sentence(snapshot: Snapshot, now: float) -> str:
    """Return what the machines do and when the next block can be expected."""
    machines = hashing_machines(snapshot)
    chain = chain_name(snapshot.node)
    if machines == 0:
        known = snapshot.workers_total
        if known:
            known_words = "1 is known" if known == 1 else f"{known:,} are known"
            return f"No machine is connected, {known_words}; work for {chain} is ready."
        return f"No machine has connected yet; work for {chain} is ready."
    rate = measured_rate(snapshot)
    count = "1 machine hashes" if machines == 1 else f"{machines:,} machines hash"
    speed = f" at {format_hashrate(rate.hs)}" if rate is not None else ""
    pools = [each for each in snapshot.upstreams if each.sessions]
    if pools and sum(each.sessions for each in pools) >= machines:
        failed = [each.name for each in snapshot.upstreams if each.state == "failed"]
        words = f"{count}{speed} for {_listed([each.name for each in pools])}"
        return (
            f"{words}; {_listed(failed)} {'does' if len(failed) == 1 else 'do'} not work."
            if failed
            else f"{words}."
        )
    parts = [
        f"{count}{speed} on {chain}" + (f" and for {_listed([each.name for each in pools])}" if pools else "")
    ]
    if snapshot.node.expected_block_s is not None:
        parts.append(f"a block is expected every {format_duration(snapshot.node.expected_block_s)}")
    if snapshot.recent_blocks:
        last = max(block.found_at for block in snapshot.recent_blocks)
        parts.append(f"the last came {format_duration(max(0.0, now - last))} ago")
    return "; ".join(parts) + "."


def _listed(names: list[str]) -> str:
    """Return names as a sentence lists them."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def chain_name(node: NodeView) -> str:
    """Return the chain in words."""
    if node.private:
        return f"a private {node.network} chain"
    return "Bitcoin" if node.network == "main" else f"the public {node.network} chain"


def private_notice(node: NodeView) -> str:
    """Return what must be said of a chain of our own; empty for any other."""
    if not node.private:
        return ""
    return (
        f"Private chain under {node.network} rules, known to this computer only: its coins are worth nothing."
    )


def hashing_machines(snapshot: Snapshot) -> int:
    """Return how many machines are connected and have a measured rate or are about to."""
    return sum(1 for worker in snapshot.workers if worker.sessions > 0)


def measured_rate(snapshot: Snapshot) -> Rate | None:
    """Return the rate that stands for now: over ten minutes, or over one while ten are not known."""
    rates = (snapshot.hashrate.get(window) for window in ("10m", "1m"))
    return next((rate for rate in rates if rate is not None and rate.shares), None)


def keep_units(text: str) -> str:
    """Return a text in which no line can break between a figure and its unit."""
    return _BEFORE_UNIT.sub("\\1\u00a0", text)


def split_unit(text: str) -> tuple[str, str]:
    """Return figure and unit of a formatted quantity; the unit is empty for a missing value."""
    figure, _, unit = text.partition(" ")
    return figure, unit


def format_interval(low_hs: float, high_hs: float) -> str:
    """Return a hash-rate interval in one unit, for example ``91.4 – 105 MH/s``."""
    if not math.isfinite(high_hs):
        return _NO_VALUE
    high, unit = split_unit(format_hashrate(high_hs))
    power = math.floor(math.log10(high_hs / float(high)) + 0.5) if float(high) > 0 else 0
    low = low_hs / 10**power
    decimals = max(0, 2 - max(0, math.floor(math.log10(low)))) if low > 0 else 0
    return f"{low:.{min(decimals, 2)}f} – {high} {unit}"


def format_rate_interval(rate: Rate | None) -> str:
    """Return the 95 % interval of a rate."""
    return _NO_VALUE if rate is None else format_interval(rate.low_hs, rate.high_hs)


def format_difficulty(difficulty: float | None) -> str:
    """Return a difficulty: large ones with a prefix, those below one as fractions where that is exact."""
    if difficulty is None:
        return _NO_VALUE
    if difficulty >= 1e6:
        return f"{difficulty:.3g}" if difficulty >= 1e18 else _with_prefix(difficulty)
    if difficulty >= 1:
        return f"{difficulty:,.0f}" if difficulty == int(difficulty) else f"{difficulty:,.2f}"
    inverse = 1 / difficulty
    return f"1/{inverse:,.0f}" if inverse == round(inverse) else f"{difficulty:.3g}"


def format_work(work_log2: int | None) -> str:
    """Return a share target as the difficulty a machine is told."""
    return _NO_VALUE if work_log2 is None else format_difficulty(difficulty_from_work_log2(work_log2))


def format_coins(amount_sat: int, node: NodeView) -> str:
    """Return an amount of satoshi in coins, exactly; test coins are named so."""
    whole, rest = divmod(amount_sat, SATS_PER_COIN)
    unit = "BTC" if node.network == "main" else "tBTC"
    return f"{whole:,}.{rest:08d} {unit}"


def format_age(since: float | None, now: float) -> str:
    """Return how long ago a time was."""
    if since is None:
        return _NO_VALUE
    passed_s = max(0.0, now - since)
    return "now" if passed_s < 1 else f"{format_duration(passed_s)} ago"


def format_ms(latency_ms: float | None) -> str:
    """Return a latency in its best unit."""
    if latency_ms is None:
        return _NO_VALUE
    if latency_ms >= 1000:
        return f"{latency_ms / 1000:.2f} s"
    return f"{latency_ms * 1000:.0f} µs" if latency_ms < 0.1 else f"{latency_ms:.3g} ms"


def format_share_of(part: int, whole: int) -> str:
    """Return a part as a percentage."""
    if whole == 0:
        return _NO_VALUE
    percent = 100 * part / whole
    if part == 0:
        return "0 %"
    return f"{percent:.2g} %" if percent < 10 else f"{percent:.0f} %"


def short_hash(text: str) -> str:
    """Return the part of a block hash that tells it from others: zeros left out, its last digits."""
    return f"…{text[-12:]}" if len(text) > 14 else text


def block_state(state: str) -> tuple[str, str]:
    """Return the glyph of a block's state and what it means."""
    return _STATE_WORDS.get(state, ("?", state))


def worker_name(worker: WorkerView) -> str:
    """Return account and machine as the machine writes them."""
    return f"{worker.account}.{worker.machine}" if worker.machine else worker.account


def _capital(text: str | None) -> str:
    return text[:1].upper() + text[1:] if text else ""


def _with_prefix(value: float) -> str:
    power = min(int(math.log10(value) // 3), 6)
    return f"{value / 1000**power:.3g} {('', 'k', 'M', 'G', 'T', 'P', 'E')[power]}"
