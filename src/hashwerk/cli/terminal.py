"""The live view of `hashwerk run` in a terminal: one screen, once a second, nothing that moves without meaning."""

from __future__ import annotations

from collections import deque

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from hashwerk.site.messages import Rate, Snapshot
from hashwerk.units import format_duration, format_hashrate

_BARS = " ▁▂▃▄▅▆▇█"


def sparkline(values: list[float]) -> str:
    """Return the values as a line of bars from zero to their largest."""
    top = max(values, default=0.0)
    if top <= 0:
        return ""
    return "".join(_BARS[min(8, round(8 * value / top))] for value in values)


def format_rate(rate: Rate | None) -> str:
    """Return a measured rate with its 95 % interval, or a dash where there is none yet."""
    if rate is None or rate.shares == 0:
        return "–"
    return f"{format_hashrate(rate.hs)}  ({format_hashrate(rate.low_hs)} … {format_hashrate(rate.high_hs)})"


class RunView:
    """What `hashwerk run` shows: where to look, the node, the work, the last blocks, the last log lines."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rates: deque[float] = deque(maxlen=60)
        self._snapshot: Snapshot | None = None
        self.urls: dict[str, str] = {}
        self.busy: dict[str, str] = {}
        self.live = Live(self.render(), console=console, auto_refresh=False, transient=False)

    def update(self, snapshot: Snapshot | None = None) -> None:
        """Take a new snapshot, if there is one, and draw."""
        if snapshot is not None:
            self._snapshot = snapshot
            rate = snapshot.hashrate.get("1m")
            self._rates.append(rate.hs if rate else 0.0)
        self.live.update(self.render(), refresh=True)

    def log(self, name: str, line: str) -> None:
        """Print a log line above the view."""
        self._console.print(Text(f"{name:>6} │ {line}", style="dim"))

    def render(self) -> RenderableType:
        """Return the whole view."""
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim", justify="right")
        table.add_column()
        if page := self.urls.get("web"):
            table.add_row("page", Text(page, style="bold cyan"))
        if stratum := self.urls.get("stratum"):
            table.add_row("Stratum", Text(stratum))
        for name, message in self.busy.items():
            table.add_row(name, Text(message, style="yellow"))
        if self._snapshot is not None:
            self._add_snapshot(table, self._snapshot)
        return Group(Text("Hashwerk", style="bold"), table, Text("Ctrl-C ends the mine.", style="dim"))

    def _add_snapshot(self, table: Table, now: Snapshot) -> None:
        node = now.node
        state = Text(f"{node.kind}, {node.network}, height {node.height:,}")
        if not node.healthy:
            state = Text(f"{node.kind}: {node.message or 'not reachable'}", style="bold red")
        elif node.private:
            state.append("  private chain: its coins are worth nothing", style="yellow")
        table.add_row("node", state)
        table.add_row("hash rate", Text(format_rate(now.hashrate.get("10m")) + "  over 10 min"))
        table.add_row("", Text(sparkline(list(self._rates)), style="magenta"))
        rejected = sum(now.rejected.values())
        table.add_row(
            "shares", f"{now.accepted:,} accepted, {rejected:,} rejected, {now.sessions:,} connections"
        )
        if now.submit_ms_p99 is not None:
            table.add_row(
                "answers", f"p99 {format_duration(now.submit_ms_p99 / 1000)} from submit to durable answer"
            )
        wait = node.expected_block_s
        found = sum(count for state_, count in now.blocks.items() if state_ in {"accepted", "mature"})
        table.add_row(
            "blocks", f"{found:,} accepted" + (f", one about every {format_duration(wait)}" if wait else "")
        )
        for block in now.recent_blocks[:3]:
            age = format_duration(max(0.0, now.at - block.found_at))
            table.add_row(
                "", Text(f"{block.height:>7}  {block.hash[:24]}…  {block.state}, {age} ago", style="green")
            )
        for warning in now.warnings:
            table.add_row("attention", Text(warning, style="bold yellow"))
