"""The guard at work: what it is shown of machines and feeders, and what it is not told twice."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hashwerk.dispatch.safety import Decision, GuardedFeeder, Signal, guard
from hashwerk.dispatch.settings import DispatchSettings
from hashwerk.fleet.commands import Sleep
from hashwerk.site.energy.as_seen import drawn_w, guarded
from hashwerk.site.energy.ports import FleetPort, MachineNow
from hashwerk.site.energy.under_way import SEEN_S, UnderWay


class Guarding:
    """Shows the guard the site as it is, and as it will be once who was shed sleeps. Owned by one loop."""

    def __init__(self, settings: DispatchSettings, fleet: FleetPort, under_way: UnderWay) -> None:
        self._settings = settings
        self._fleet = fleet
        self._under_way = under_way
        self._on_feeders: dict[
            str, tuple[float, float]
        ] = {}  # what each will draw, and until when that counts

    def look(
        self, machines: Sequence[MachineNow], signals: Sequence[Signal], emergency: str | None, now: float
    ) -> Decision:
        """Return what the guard asks for now."""
        ours = [machine for machine in machines if machine.held_by is None]
        feeders = [
            GuardedFeeder(name=name, limit_w=limit_kw * 1e3, measured_w=self._feeder_w(name, now))
            for name, limit_kw in self._settings.limits.feeders_kw.items()
        ]
        decision = guard(
            [guarded(machine, is_deaf=self._under_way.is_deaf(machine, now)) for machine in ours],
            feeders=feeders,
            signals=signals,
            emergency=emergency,
            settings=self._settings.safety,
        )
        self._expect_on_feeders(decision, ours, feeders, now)
        return decision

    def _feeder_w(self, name: str, now: float) -> float | None:
        """Return what a feeder draws: while machines that were shed fall asleep, no more than it will once they do."""
        found = self._fleet.meter(f"feeder:{name}")
        if found is None:
            return None
        expected_w, until = self._on_feeders.get(name, (math.inf, 0.0))
        return min(found.power_w, expected_w) if now < until else found.power_w

    def _expect_on_feeders(
        self,
        decision: Decision,
        machines: Sequence[MachineNow],
        feeders: Sequence[GuardedFeeder],
        now: float,
    ) -> None:
        """Keep what feeders will draw without those who are shed now: a meter that is behind takes nobody else."""
        sleepers = {one.machine for one in decision.instructions if isinstance(one.command, Sleep)}
        for feeder in feeders:
            shed = [m for m in machines if m.feeder == feeder.name and m.key in sleepers]
            if feeder.measured_w is None or feeder.measured_w <= feeder.limit_w or not shed:
                continue
            saved_w = sum(max(0.0, drawn_w(machine) - machine.idle_w) for machine in shed)
            until = now + max(machine.sleep_s for machine in shed) + SEEN_S * self._fleet.pace
            self._on_feeders[feeder.name] = (feeder.measured_w - saved_w, until)
