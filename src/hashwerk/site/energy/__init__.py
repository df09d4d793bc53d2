"""The site's energy at work: feeds, plans, set-points, orders, history. Pages and API read `view`."""

from __future__ import annotations

from hashwerk.site.energy.planner import EnergyParts
from hashwerk.site.energy.service import EnergyService

__all__ = ["EnergyParts", "EnergyService"]
