"""How the miner looks in a terminal, as plain lines, and as JSON."""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from hashwerk.cli.terminal import sparkline
from hashwerk.client.statistics import MinerStats
from hashwerk.units import format_duration, format_hashrate, format_si

_SPARK_WIDTH: Final = 60
_PLAIN_EVERY_S: Final = 10.0
_MISSING: Final = "–"


def shares_text(stats: MinerStats) -> str:
    """Return the counts of shares in words; those that are zero are left out, except the accepted ones."""
    parts = [f"{stats.accepted} accepted"]
    parts += [f"{count} rejected ({reason})" for reason, count in sorted(stats.rejected.items())]
    for count, name in (
        (stats.pending, "unanswered"),
        (stats.unknown, "of unknown fate"),
        (stats.stale, "stale, not sent"),
        (stats.faulty, "faulty, not sent"),
    ):
        if count:
            parts.append(f"{count} {name}")
    return ", ".join(parts)


def latency_text(stats: MinerStats) -> str:
    """Return the median and 99th percentile of the reply times."""
    if stats.latency_ms_p50 is None or stats.latency_ms_p99 is None:
        return _MISSING
    return f"{stats.latency_ms_p50:.1f} ms, 99 % within {stats.latency_ms_p99:.1f} ms"


def job_text(stats: MinerStats) -> str:
    """Return the job, its difficulty and its age."""
    if stats.job is None or stats.difficulty is None:
        return "none yet"
    return f"{stats.job}, difficulty {stats.difficulty:g}, {format_duration(stats.job_age_s)} old"


def summary_lines(stats: MinerStats) -> list[str]:
    """Return what was done, for the end."""
    best = _MISSING if stats.best_difficulty is None else format_si(stats.best_difficulty, "").strip()
    return [
        f"{format_si(stats.hashes, 'hashes')} in {format_duration(stats.elapsed_s)}, "
        f"{format_hashrate(stats.hashrate_mean_hs)} on {len(stats.threads)} threads",
        f"shares: {shares_text(stats)}; best difficulty {best}; replies {latency_text(stats)}",
    ]


class JsonView:
    """One line of JSON for each report."""

    def __init__(self, console: Console) -> None:
        """Write to a console."""
        self._console = console

    def __enter__(self) -> JsonView:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """End; the last report was the summary."""

    def update(self, stats: MinerStats) -> None:
        """Write one line."""
        self._console.file.write(msgspec.json.encode(stats).decode() + "\n")
        self._console.file.flush()

    def finish(self, stats: MinerStats) -> None:
        """Do nothing: the last report was the summary."""


class PlainView:
    """A line of text when the connection changes and every ten seconds, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        """Write to a console."""
        self._console = console
        self._message: str | None = None
        self._due_at = 0.0

    def __enter__(self) -> PlainView:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """End."""

    def update(self, stats: MinerStats) -> None:
        """Write what is new."""
        if stats.message is not None and stats.message != self._message:
            self._message = stats.message
            self._console.print(stats.message, highlight=False, markup=False, soft_wrap=True)
        if stats.elapsed_s >= self._due_at and stats.hashes:
            self._due_at = stats.elapsed_s + _PLAIN_EVERY_S
            self._console.print(
                f"{format_hashrate(stats.hashrate_hs)}; {shares_text(stats)}; job {job_text(stats)}",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )

    def finish(self, stats: MinerStats) -> None:
        """Write the summary."""
        for line in summary_lines(stats):
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)


class LiveView:
    """A panel that is redrawn in place."""

    def __init__(self, console: Console) -> None:
        """Draw on a console that is a terminal."""
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._history: deque[float] = deque(maxlen=_SPARK_WIDTH)

    def __enter__(self) -> LiveView:
        """Take over the lower lines of the terminal."""
        self._live.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        """Give the terminal back; what follows is written after the panel is gone."""
        self._live.__exit__(None, None, None)

    def update(self, stats: MinerStats) -> None:
        """Draw the panel anew."""
        if stats.hashrate_hs is not None:
            self._history.append(stats.hashrate_hs)
        self._live.update(self.panel(stats), refresh=True)

    def finish(self, stats: MinerStats) -> None:
        """Write the summary where the panel was."""
        self._live.stop()
        for line in summary_lines(stats):
            self._console.print(line, highlight=False, markup=False)

    def panel(self, stats: MinerStats) -> RenderableType:
        """Return the panel."""
        rows = Table.grid(padding=(0, 2))
        rows.add_column(style="dim", no_wrap=True)
        rows.add_column(overflow="fold")
        per_thread = " ".join(format_hashrate(thread.hashrate_hs) for thread in stats.threads)
        best = _MISSING if stats.best_difficulty is None else format_si(stats.best_difficulty, "").strip()
        rows.add_row("server", Text(f"{stats.server or 'not connected'} as {stats.user}"))
        rows.add_row("job", Text(job_text(stats)))
        rows.add_row("shares", Text(shares_text(stats)))
        rows.add_row("best", f"difficulty {best}")
        rows.add_row("replies", latency_text(stats))
        rows.add_row("threads", f"{len(stats.threads)}: {per_thread}" + _duty_text(stats))
        if stats.message is not None:
            rows.add_row("", Text(stats.message, style="dim"))
        rate = Text(format_hashrate(stats.hashrate_hs), style="bold")
        rate.append(f"   mean {format_hashrate(stats.hashrate_mean_hs)}", style="dim")
        return Panel(
            Group(rate, Text(sparkline(list(self._history)), style="cyan"), Text(), rows),
            title="hashwerk mine",
            subtitle=f"{format_duration(stats.elapsed_s)} · Ctrl-C ends",
            title_align="left",
            subtitle_align="right",
        )


def _duty_text(stats: MinerStats) -> str:
    return "" if stats.duty == 1 else f", hashing {stats.duty:.0%} of the time"
