"""The meters at the site's border as evidence: their registers, and whose energy it was, from the record of meters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from hashwerk.config.site import SiteConfig
from hashwerk.energy.registers import Direction as Register
from hashwerk.energy.registers import MeterInterval
from hashwerk.energy.series import Quality
from hashwerk.evidence.records import Direction, Record
from hashwerk.meters.settings import MeterSettings
from hashwerk.site.energy.readings import read_intervals
from hashwerk.site.logbook.registers import evidence_name, log_register
from hashwerk.site.logbook.sources import aligned, source_records
from hashwerk.site.logbook.state import LogState
from hashwerk.site.metering import RECORD

_PLANT: Final = "source:"
#: Sources are worked out for so many intervals at a time; the rest follows with the next epoch.
_MOST_STEPS: Final = 500


class _Channel(msgspec.Struct, frozen=True):
    """One register that is logged."""

    settings: MeterSettings
    register: Register
    direction: Direction
    source: str | None = None  # the plant whose production it shows

    @property
    def name(self) -> str:
        return evidence_name(self.settings.name, self.direction)


class Metered:
    """Composes the records of meters and sources. It only reads; every call may run on a thread."""

    def __init__(self, config: SiteConfig, folder: Path) -> None:
        """Take the site's configuration and the folder of the record of meters."""
        self._energy = config.energy
        self._path = folder / RECORD
        # Meters of feeders and machines may leave some out: less energy than the work needs would be told of the site.
        self._border = tuple(settings for settings in config.meter if settings.scope == "site")
        names = {source.name for source in config.energy.sources if source.kind == "own"}
        self._plants = tuple(
            m for m in config.meter if m.scope.removeprefix(_PLANT) in names and m.scope != "site"
        )

    @property
    def step_s(self) -> int:
        """The longest settlement interval: sources are told for each of these."""
        return max((m.interval_s for m in (*self._border, *self._plants)), default=900)

    def is_through(self, end_s: int) -> bool:
        """Say whether every meter has shown what it counted up to its last edge before a moment."""
        for settings in (*self._border, *self._plants):
            edge_s = end_s // settings.interval_s * settings.interval_s
            if not read_intervals(self._path, settings.name, edge_s - settings.interval_s, edge_s):
                return False
        return True

    def compose(self, state: LogState, until_s: int) -> tuple[list[Record], LogState]:
        """Return the records of what was counted up to a moment and is not logged yet.

        Raises:
            StoreError: If the record of meters cannot be read.
        """
        found: list[Record] = []
        state = self._choose_registers(state, until_s)
        channels = self._channels(state)
        registers = dict(state.registers)
        for channel in channels:
            before = registers.get(channel.name)
            since_s = state.begun_s if before is None else before.end_us // 1_000_000
            rows = self._rows(channel, since_s, until_s)
            records, after = log_register(channel.settings, channel.direction, rows, before)
            found += records
            if after is not None:
                registers[channel.name] = after
        state = msgspec.structs.replace(state, registers=registers)
        sources, state = self._sources(channels, state)
        return [*found, *sources], state

    def _choose_registers(self, state: LogState, until_s: int) -> LogState:
        """Find which register of a plant's meter shows what the plant gives: that which moves."""
        plants = dict(state.plants)
        for settings in self._plants:
            if settings.name in plants:
                continue
            rows = read_intervals(self._path, settings.name, state.begun_s, until_s)
            given = {
                register: sum(row.wh or 0 for row in rows if row.direction is register)
                for register in Register
            }
            best = max(given, key=lambda register: given[register])
            if given[best]:
                plants[settings.name] = best.value
        return msgspec.structs.replace(state, plants=plants)

    def _channels(self, state: LogState) -> list[_Channel]:
        found = [
            _Channel(settings, register, direction)
            for settings in self._border
            for register, direction in (
                (Register.IMPORT, Direction.IMPORT),
                (Register.EXPORT, Direction.EXPORT),
            )
        ]
        # What a plant gives is drawn by the site, so it counts as import, whichever way its meter is built in.
        found += [
            _Channel(
                settings,
                Register(state.plants[settings.name]),
                Direction.IMPORT,
                settings.scope.removeprefix(_PLANT),
            )
            for settings in self._plants
            if settings.name in state.plants
        ]
        return found

    def _rows(self, channel: _Channel, start_s: int, until_s: int) -> list[MeterInterval]:
        rows = read_intervals(self._path, channel.settings.name, start_s, until_s)
        return [row for row in rows if row.direction is channel.register and row.stop_s <= until_s]

    def _sources(self, channels: Sequence[_Channel], state: LogState) -> tuple[list[Record], LogState]:
        """Say whose energy each whole interval was that every register has shown; what is not known is left out."""
        known = [state.registers[c.name].end_us // 1_000_000 for c in channels if c.name in state.registers]
        if not known or not self._border:
            return [], state
        begin_s = state.begun_s if state.sources_until_s is None else state.sources_until_s
        steps = aligned(begin_s, min(known), self.step_s)[:_MOST_STEPS]
        if not steps:
            return [], state
        logged = [c for c in channels if c.name in state.registers]
        rows = {c.name: self._rows(c, steps[0][0], steps[-1][1]) for c in logged}
        found: list[Record] = []
        for start_s, stop_s in steps:
            sums = {c.name: _sum(rows[c.name], start_s, stop_s) for c in logged}
            if any(wh is None for wh in sums.values()):
                continue
            own = {c.source: sums[c.name] or 0 for c in logged if c.source is not None}
            found += source_records(
                self._energy,
                start_s,
                stop_s,
                import_wh=self._total(logged, sums, Register.IMPORT),
                export_wh=self._total(logged, sums, Register.EXPORT),
                own_wh=own,
                meters={c.source: c.name for c in logged if c.source is not None},
            )
        return found, msgspec.structs.replace(state, sources_until_s=steps[-1][1])

    @staticmethod
    def _total(channels: Sequence[_Channel], sums: dict[str, int | None], register: Register) -> int:
        return sum(sums[c.name] or 0 for c in channels if c.source is None and c.register is register)


def _sum(rows: Sequence[MeterInterval], start_s: int, stop_s: int) -> int | None:
    """Return what a register counted in an interval; None where part of it is not known."""
    at_s, total = start_s, 0
    for row in rows:
        if row.start_s != at_s or row.stop_s > stop_s:
            continue
        if row.wh is None or row.quality is Quality.MISSING:
            return None
        at_s, total = row.stop_s, total + row.wh
    return total if at_s == stop_s else None
