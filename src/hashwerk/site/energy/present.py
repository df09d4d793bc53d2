"""The present of a site: what is measured, how old signals are, and the history that is made of it, moment by moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from hashwerk.dispatch.safety import Signal as Watched
from hashwerk.dispatch.settings import DispatchSettings
from hashwerk.energy.settings import EnergySettings
from hashwerk.fleet.states import State
from hashwerk.site.energy.ports import FleetPort, MachineNow
from hashwerk.site.energy.record import QUARTER_S, Moment, Quarter

_CHANGING: Final = (State.WAKING, State.FALLING_ASLEEP, State.CHANGING_MODE, State.REBOOTING)
#: What a moment shows held since the one before it, if that is no more than so many of their distances ago.
HELD: Final = 3.0
#: How fast what the site draws besides machines is learned, per look at a settled fleet.
_LEARNING: Final = 0.2
#: Machines ramp up for minutes after they first hash; until then what they say is not what they draw.
_SETTLED_S: Final = 300.0


class Gauge:
    """What the site draws, and from where. Owned by one loop."""

    def __init__(self, fleet: FleetPort, settings: DispatchSettings, energy: EnergySettings) -> None:
        self._fleet = fleet
        self._settings = settings
        self._own = tuple(source.name for source in energy.sources if source.kind == "own")
        self._auxiliary_w: float | None = None
        self._metered_s: float | None = None  # when the site's meter was last heard
        self.by = "machines' own reports"
        self.import_w: float | None = None
        self.own_w: dict[str, float] = {}

    def look(self, machines: Sequence[MachineNow], now: float) -> None:
        """Take in what meters and machines show now."""
        self.own_w = {
            name: max(0.0, abs(found.power_w))
            for name in self._own
            if (found := self._fleet.meter(f"source:{name}")) is not None
        }
        meter = self._fleet.meter("site")
        if meter is not None and now - meter.at <= self._settings.meter_max_age_s:
            self._metered_s = meter.at
            self.import_w, self.by = meter.power_w, "meter of the site"
            self._learn(machines, now)
        elif self._metered_s is not None:
            self.import_w, self.by = None, "meter of the site, which is silent"
        else:
            self.import_w = self._reported_w(machines)

    def auxiliary_w(self, machines: Sequence[MachineNow]) -> float:
        """Return what the site draws besides the machines that plans may switch."""
        if self._auxiliary_w is not None:
            return self._auxiliary_w
        others = [machine.power_w or 0.0 for machine in machines if machine.reason_not_ours is not None]
        return self._settings.limits.auxiliary_kw * 1e3 + sum(others)

    @property
    def cooling_share(self) -> float:
        """Watts of cooling for each watt of machine, where no meter shows them together."""
        return 0.0 if self._auxiliary_w is not None else self._settings.limits.cooling_share

    def meter_signal(self, now: float) -> Watched | None:
        """Return the site's meter as a signal that decisions rest on; None where there never was one."""
        if self._metered_s is None:
            return None
        return Watched(
            name="the site's meter",
            age_s=max(0.0, now - self._metered_s),
            max_age_s=self._settings.meter_max_age_s,
            when_stale=self._settings.when_meter_stale,
        )

    def _reported_w(self, machines: Sequence[MachineNow]) -> float | None:
        known = [machine.power_w for machine in machines if machine.power_w is not None]
        if not known:
            return None
        limits = self._settings.limits
        return sum(known) * (1 + limits.cooling_share) + limits.auxiliary_kw * 1e3 - sum(self.own_w.values())

    def _learn(self, machines: Sequence[MachineNow], now: float) -> None:
        """Learn what is drawn besides the machines in plans, while all of these are known and have long been as they are."""
        ours = [machine for machine in machines if machine.reason_not_ours is None]
        settled_s = _SETTLED_S * self._fleet.pace
        is_settled = all(
            _power_w(machine) is not None and now - machine.since >= settled_s for machine in ours
        ) and not any(machine.state in _CHANGING for machine in machines)
        if self.import_w is None or not ours or not is_settled:
            return
        drawn_w = self.import_w + sum(self.own_w.values())
        rest_w = max(0.0, drawn_w - sum(_power_w(machine) or 0.0 for machine in ours))
        before_w = rest_w if self._auxiliary_w is None else self._auxiliary_w
        self._auxiliary_w = before_w + _LEARNING * (rest_w - before_w)


def _power_w(machine: MachineNow) -> float | None:
    """Return what a machine draws; many say nothing of it while they sleep."""
    return machine.idle_w if machine.power_w is None and machine.state is State.ASLEEP else machine.power_w


@dataclass(slots=True)
class _Sum:
    """What a quarter of an hour has come to so far."""

    start_s: int
    covered_s: float = 0.0
    import_wh: float = 0.0
    counts: dict[str, tuple[float, float]] = field(default_factory=dict)  # value · s, s
    sources_wh: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, value: float | None, length_s: float) -> None:
        """Take in a value that held for a while."""
        if value is not None:
            total, seconds = self.counts.get(name, (0.0, 0.0))
            self.counts[name] = (total + value * length_s, seconds + length_s)

    def mean(self, name: str) -> float | None:
        """Return a mean over the time in which it was known."""
        total, seconds = self.counts.get(name, (0.0, 0.0))
        return total / seconds if seconds else None


class Integrator:
    """Makes moments into quarters of an hour: each moment's values held since the one before, if that was not long ago."""

    def __init__(self, every_s: float) -> None:
        self._longest_s = HELD * every_s
        self._last: Moment | None = None
        self._sum: _Sum | None = None

    def take(self, moment: Moment) -> list[Quarter]:
        """Take in a moment; return the quarters of an hour that are over with it."""
        last, self._last = self._last, moment
        if last is None or not 0 < moment.at_s - last.at_s <= self._longest_s:
            return self._turn(moment.at_s)
        done: list[Quarter] = []
        at_s = last.at_s
        while at_s < moment.at_s:
            end_s = min(moment.at_s, (at_s // QUARTER_S + 1) * QUARTER_S)
            done += self._turn(at_s)
            self._add(moment, end_s - at_s)
            at_s = end_s
        return [*done, *self._turn(moment.at_s)]

    def _turn(self, at_s: float) -> list[Quarter]:
        start_s = int(at_s // QUARTER_S) * QUARTER_S
        now = self._sum
        if now is not None and now.start_s == start_s:
            return []
        self._sum = _Sum(start_s)
        return [] if now is None or not now.counts else [_finished(now)]

    def _add(self, moment: Moment, length_s: float) -> None:
        assert self._sum is not None
        if moment.measured_w is not None:
            self._sum.covered_s += length_s
            self._sum.import_wh += moment.measured_w * length_s / 3_600
        for name in ("measured_w", "setpoint_w", "price_per_mwh", "hashrate_hs"):
            self._sum.add(name, getattr(moment, name), length_s)
        for name, watts in moment.sources.items():
            self._sum.sources_wh[name] = self._sum.sources_wh.get(name, 0.0) + watts * length_s / 3_600


def _finished(done: _Sum) -> Quarter:
    return Quarter(
        start_s=done.start_s,
        covered_s=done.covered_s,
        import_wh=done.import_wh,
        setpoint_w=done.mean("setpoint_w"),
        price_per_mwh=done.mean("price_per_mwh"),
        hashrate_hs=done.mean("hashrate_hs"),
        sources=done.sources_wh,
    )
