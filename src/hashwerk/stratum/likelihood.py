"""What shares say of a hash rate, as vardiff keeps it: evidence, and a running test for a change.

Shares of a machine with hash rate r at the target ``work_log2`` w are a Poisson process of rate r / 2**w. The
likelihood of a stretch of it depends on two numbers only: the shares N, and the exposure E = Σ dt / 2**w.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

#: The prior leans towards slow machines: a target too low costs a moment, one too high costs minutes.
_PRIOR_SHAPE: Final = 0.25
_PRIOR_MEDIAN: Final = 0.042_2  # of the gamma distribution of shape 1/4


class Evidence(msgspec.Struct):
    """Shares, and the exposure they came from: Σ dt / 2**w, in seconds per hash."""

    shares: float = 0.0
    exposure: float = 0.0

    def quantile_hs(self, z: float, exposure: float) -> float:
        """Return the posterior's quantile at ``z`` standard deviations; 0 is the median.

        By Wilson and Hilferty's cube root ("The distribution of chi-square", PNAS 17, 1931), good to a per
        cent here.
        """
        if self.shares < 1:
            return _PRIOR_MEDIAN / exposure
        shape = self.shares + _PRIOR_SHAPE
        root = 1 - 1 / (9 * shape) + z / (3 * math.sqrt(shape))
        return shape * max(root, 0.05) ** 3 / exposure


class Cusum(msgspec.Struct):
    """One running test, and the evidence since it was last 0."""

    score: float = 0.0
    evidence: Evidence = msgspec.field(default_factory=Evidence)

    def add(self, score: float, shares: float, exposure: float) -> None:
        """Add a stretch; begin anew where nothing is left of the suspicion."""
        self.score += score
        if self.score <= 0:
            self.score = 0.0
            self.evidence = Evidence()
        else:
            self.evidence.shares += shares
            self.evidence.exposure += exposure
