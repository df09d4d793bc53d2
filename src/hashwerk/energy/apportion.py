"""Whole numbers shared out in proportion, exactly in sum: what energy in Wh is attributed with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

Key = TypeVar("Key")


def apportion(total: int, weights: Mapping[Key, int]) -> dict[Key, int]:
    """Return shares of ``total`` in proportion to the weights, by the largest remainder; ties go to the first named.

    No share exceeds its weight where the total does not exceed the sum of weights: nobody is given more than he has.

    Raises:
        ValueError: If a value is negative, or there is something to share and no weight.
    """
    whole = sum(weights.values())
    if total < 0 or any(weight < 0 for weight in weights.values()):
        raise ValueError(f"only what is not negative can be shared out: {total} by {dict(weights)}")
    if whole == 0:
        if total:
            raise ValueError(f"{total} cannot be shared out among nobody")
        return dict.fromkeys(weights, 0)
    shares = {key: total * weight // whole for key, weight in weights.items()}
    left = total - sum(shares.values())
    by_remainder = sorted(weights, key=lambda key: -(total * weights[key] % whole))
    for key in by_remainder[:left]:
        shares[key] += 1
    return shares
