"""Finds a policy that knows the future, whatever way it came by it.

Everything that was published after a moment is replaced by noise. Whoever decides otherwise before that moment has read it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import msgspec
import numpy as np

from hashwerk.dispatch.backtest.replay import replay
from hashwerk.dispatch.backtest.scenario import Scenario
from hashwerk.dispatch.policies.port import Policy

#: A battery's power is a continuous choice: below this it is the same one.
_SAME_W: Final = 1.0


class Leak(msgspec.Struct, frozen=True, kw_only=True):
    """A decision that changed with what was not yet known."""

    policy: str
    cut_s: float  # what was published after this was changed
    decided_s: float  # the first decision that changed all the same

    def __str__(self) -> str:
        cut, decided = (
            np.datetime_as_string(np.datetime64(int(time_s), "s"), unit="m")
            for time_s in (self.cut_s, self.decided_s)
        )
        return f"{self.policy} knew at {decided}Z what was published only after {cut}Z"


def find_leak(
    scenario: Scenario, make_policy: Callable[[Scenario], Policy], cuts: Sequence[float], *, seed: int = 1
) -> Leak | None:
    """Return the first leak that shows at one of the given moments, or None.

    Args:
        scenario: What is replayed.
        make_policy: Makes a fresh policy for a scenario; whatever it hands over of the scenario is what the policy may misuse.
        cuts: Moments, Unix seconds.
        seed: Of the noise.
    """
    honest = replay(scenario, make_policy(scenario)).schedule
    for cut_s in cuts:
        changed = replace(scenario, history=scenario.history.changed_after(cut_s, seed))
        other = replay(changed, make_policy(changed)).schedule
        before = scenario.grid.starts_s <= cut_s
        differs = (honest.running != other.running).any(axis=(0, 1)) & before
        differs |= (np.abs(honest.charge_w - other.charge_w) > _SAME_W) & before
        differs |= (np.abs(honest.discharge_w - other.discharge_w) > _SAME_W) & before
        if differs.any():
            first = int(np.argmax(differs))
            return Leak(
                policy=make_policy(scenario).name, cut_s=cut_s, decided_s=float(scenario.grid.starts_s[first])
            )
    return None
