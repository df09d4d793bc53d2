"""What had a price of its own because it should not have been taken: during a curtailment, or beyond the contract."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import numpy.typing as npt

from hashwerk.energy.tariff import Excess, Tariff, TariffError
from hashwerk.energy.usage import BillingFacts, Usage

IntArray = npt.NDArray[np.int64]


def split_excess(tariff: Tariff, usage: Usage, facts: BillingFacts) -> tuple[IntArray, dict[str, int]]:
    """Take out what has a price of its own: first what a curtailment forbade, then what goes beyond the contract."""
    left = usage.import_wh.copy()
    taken: dict[str, int] = {}
    components = [one for one in tariff.components if isinstance(one, Excess)]
    for component in sorted(components, key=lambda one: one.above != "curtailment"):
        if component.above == "authorised":
            cap_wh = None if facts.authorised_w is None else facts.authorised_w * usage.interval_s // 3_600
            over = np.zeros_like(left) if cap_wh is None else np.maximum(left - cap_wh, 0)
        else:
            over = _over_curtailment(tariff, component, usage, facts)
        left = left - over
        taken[component.name] = int(over.sum())
    return left, taken


def _over_curtailment(tariff: Tariff, component: Excess, usage: Usage, facts: BillingFacts) -> IntArray:
    over = np.zeros_like(usage.import_wh)
    if not facts.curtailments:
        return over
    if facts.peak_12_months_w is None:
        raise TariffError(
            f"the tariff {tariff.name}: {component.name} needs the highest power of the last 12 months"
        )
    # The peak of 12 months includes the period that is billed.
    peak_w = max(
        Decimal(facts.peak_12_months_w), Decimal(int(usage.import_wh.max())) * 3_600 / usage.interval_s
    )
    cap_wh = int(component.curtailed_share * peak_w * usage.interval_s // 3_600)
    for span in facts.curtailments:
        touched = (usage.starts_s < span.stop_s) & (usage.starts_s + usage.interval_s > span.start_s)
        whole = (usage.starts_s >= span.start_s) & (usage.starts_s + usage.interval_s <= span.stop_s)
        if (touched & ~whole).any():
            raise TariffError(
                f"the curtailment from {span.start_s} to {span.stop_s} begins or ends within a measured interval"
            )
        over[whole] = np.maximum(usage.import_wh[whole] - cap_wh, 0)
    return over
