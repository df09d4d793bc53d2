"""What a dispatcher may see of the site at any time, order or none."""

from __future__ import annotations

from collections.abc import Callable

import msgspec


class Present(msgspec.Struct, frozen=True, kw_only=True):
    """The site now. What is not known is None."""

    import_w: float | None = None
    sheddable_w: float | None = None  # what would go if every machine slept
    is_commanded: bool = True  # False: orders are shown, and no machine is told anything


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What was last told of an order."""

    order_id: str
    at_s: float
    baseline_w: float
    import_w: float | None
    target_w: float

    @property
    def is_reached(self) -> bool | None:
        """Whether the order is obeyed, within 5 % of what it takes away; None where power is not known."""
        if self.import_w is None:
            return None
        return self.import_w <= self.target_w + 0.05 * max(0.0, self.baseline_w - self.target_w) + 1.0


Look = Callable[[], Present]


def nothing_known() -> Present:
    """Return what is seen before the site is looked at."""
    return Present()
