"""How a simulated hall looks in a terminal, as plain lines, and as JSON. Every form says that it is a simulation."""

from __future__ import annotations

from collections import deque
from typing import Final, Protocol, Self

import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from hashwerk.cli.terminal import sparkline
from hashwerk.twin import Hall, HallView
from hashwerk.units import format_duration, format_hashrate, format_si

_SPARK_WIDTH: Final = 60
_PLAIN_EVERY_S: Final = 10.0


class View(Protocol):
    """Shows a hall."""

    def __enter__(self) -> Self:
        """Begin."""
        ...

    def __exit__(self, *_: object) -> None:
        """End."""
        ...

    def begin(self, hall: Hall, control_port: int | None, faults: dict[str, str]) -> None:
        """Say what is there."""
        ...

    def update(self, view: HallView, elapsed_s: float) -> None:
        """Show the hall at a moment."""
        ...


class Rate:
    """The hash rate really done, from two counts of hashes."""

    def __init__(self) -> None:
        """Begin without a count."""
        self._counts: deque[tuple[float, int]] = deque(maxlen=30)

    def update(self, elapsed_s: float, hashes: int) -> float | None:
        """Take a count and return the rate over the last half minute."""
        self._counts.append((elapsed_s, hashes))
        first_s, first = self._counts[0]
        return None if elapsed_s <= first_s else (hashes - first) / (elapsed_s - first_s)


def describe(view: HallView, rate_hs: float | None) -> str:
    """Return a hall in one line."""
    phases = ", ".join(f"{count} {phase}" for phase, count in sorted(view.phases.items()))
    text = f"simulation: {phases}; {format_si(view.power_w, 'W')}, {format_hashrate(view.hashrate_hs)}"
    if view.sessions or view.hashed:
        text += f" hashed as {format_hashrate(rate_hs)}; {view.accepted} accepted, {view.rejected} rejected"
    if view.shortfall is not None and view.shortfall > 0.01:
        text += f"; {view.shortfall:.0%} not hashed: the scale is too small for these threads"
    return text


class JsonView:
    """One line of JSON for each report; the first one lists the machines."""

    def __init__(self, console: Console) -> None:
        """Write to a console."""
        self._file = console.file

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """End."""

    def begin(self, hall: Hall, control_port: int | None, faults: dict[str, str]) -> None:
        """Write what is there."""
        machines = [
            {
                "name": machine.identity.name,
                "model": machine.model.key,
                "host": machine.host,
                "port": machine.port or None,
                "http_port": machine.http_port or None,
                "fault": faults.get(machine.identity.name),
            }
            for machine in hall.machines
        ]
        self._write({"simulation": True, "control_port": control_port, "machines": machines})

    def update(self, view: HallView, elapsed_s: float) -> None:
        """Write one line."""
        self._write(view)

    def _write(self, value: object) -> None:
        self._file.write(msgspec.json.encode(value).decode() + "\n")
        self._file.flush()


class PlainView:
    """A line every ten seconds, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        """Write to a console."""
        self._console = console
        self._rate = Rate()
        self._due_at = 0.0

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """End."""

    def begin(self, hall: Hall, control_port: int | None, faults: dict[str, str]) -> None:
        """Write what is there."""
        for line in introduction(hall, control_port, faults):
            self._print(line)

    def update(self, view: HallView, elapsed_s: float) -> None:
        """Write a line when it is time."""
        rate_hs = self._rate.update(elapsed_s, view.hashed)
        if elapsed_s >= self._due_at:
            self._due_at = elapsed_s + _PLAIN_EVERY_S
            self._print(describe(view, rate_hs))

    def _print(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


def introduction(hall: Hall, control_port: int | None, faults: dict[str, str]) -> list[str]:
    """Return in words what a hall is made of."""
    machines = hall.machines
    lines = [
        f"simulation: {len(machines)} virtual machines, {machines[0].host} to {machines[-1].host}, "
        f"scale 1:{hall.settings.scale:g}"
    ]
    if control_port is not None:
        lines.append(f"control: http://127.0.0.1:{control_port}/hall")
    lines += [f"fault: {name} {kind}" for name, kind in faults.items()]
    return lines


class LiveView:
    """A panel that is redrawn in place."""

    def __init__(self, console: Console) -> None:
        """Draw on a console that is a terminal."""
        self._live = Live(console=console, auto_refresh=False, transient=False)
        self._history: deque[float] = deque(maxlen=_SPARK_WIDTH)
        self._rate = Rate()
        self._lines: list[str] = []

    def __enter__(self) -> Self:
        """Take over the lower lines of the terminal."""
        self._live.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        """Give the terminal back."""
        self._live.__exit__(None, None, None)

    def begin(self, hall: Hall, control_port: int | None, faults: dict[str, str]) -> None:
        """Remember what is there."""
        self._lines = introduction(hall, control_port, faults)

    def update(self, view: HallView, elapsed_s: float) -> None:
        """Draw the panel anew."""
        self._history.append(view.power_w)
        self._live.update(self.panel(view, elapsed_s), refresh=True)

    def panel(self, view: HallView, elapsed_s: float) -> RenderableType:
        """Return the panel."""
        rate_hs = self._rate.update(elapsed_s, view.hashed)
        rows = Table.grid(padding=(0, 2))
        rows.add_column(style="dim", no_wrap=True)
        rows.add_column(overflow="fold")
        for phase, count in sorted(view.phases.items()):
            rows.add_row(phase, f"{count}")
        rows.add_row("hash rate", f"{format_hashrate(view.hashrate_hs)}, really {format_hashrate(rate_hs)}")
        rows.add_row(
            "shares", f"{view.accepted} accepted, {view.rejected} rejected, {view.sessions} with work"
        )
        if view.shortfall is not None and view.shortfall > 0.01:
            words = (
                f"{view.shortfall:.0%} of the hashes cannot be done: use a larger --scale or more --threads"
            )
            rows.add_row("shortfall", Text(words, style="bold yellow"))
        rows.add_row("energy", format_si(view.energy_wh, "Wh"))
        rows.add_row("air", f"{view.ambient_c:.1f} °C")
        for kind, count in sorted(view.faults.items()):
            rows.add_row("fault", f"{count} × {kind}")
        head = Text(format_si(view.power_w, "W"), style="bold")
        head.append("   true power at the wall", style="dim")
        return Panel(
            Group(*map(Text, self._lines[:2]), Text(), head, Text(sparkline(list(self._history))), rows),
            title="hashwerk twin · simulation",
            subtitle=f"{format_duration(elapsed_s)} · Ctrl-C ends",
            title_align="left",
            subtitle_align="right",
        )
