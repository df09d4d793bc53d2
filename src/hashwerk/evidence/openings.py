"""Sampled openings: a verifier who has only a signed header draws shares by its own randomness, and the site opens them.

Draws are spread over work, not over shares: each names one hash among all that are claimed, and the opening must be
the share that stands there. If a part f of the work is invented, n draws all miss it with probability (1 - f)^n: 300
draws find 1 % with 95 %.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from itertools import accumulate

import msgspec
import numpy as np

from hashwerk.errors import EvidenceError
from hashwerk.evidence import tree
from hashwerk.evidence.domains import DRAW
from hashwerk.evidence.epoch import Epoch, SignedHeader, work_of
from hashwerk.evidence.proof import EpochProver, ShareProof, check_share, steps_of


class Draw(msgspec.Struct, frozen=True, kw_only=True):
    """Which hashes of an epoch's work are to be opened."""

    epoch: bytes  # hash
    points: tuple[int, ...]  # in 0 … work - 1


def draws_needed(fraud: float, confidence: float = 0.95) -> int:
    """Return how many draws find a given part of invented work with a given confidence.

    Raises:
        ValueError: If either is not between 0 and 1.
    """
    if not (0 < fraud < 1 and 0 < confidence < 1):
        raise ValueError(f"both must lie between 0 and 1: {fraud}, {confidence}")
    return math.ceil(math.log(1 - confidence) / math.log(1 - fraud))


def draw(signed: SignedHeader, randomness: bytes, count: int) -> Draw:
    """Draw points of an epoch's work.

    Args:
        signed: The epoch, as the site published it.
        randomness: The verifier's own, at least 16 bytes, chosen after the header was signed.
        count: How many.

    Raises:
        EvidenceError: If there is no work, or too little randomness.
    """
    work = signed.header.work
    if not work or len(randomness) < 16:
        raise EvidenceError(f"cannot draw from {work} hashes with {len(randomness)} bytes of randomness")
    points = []
    for number in range(count):
        text = DRAW + signed.hash() + randomness + number.to_bytes(4, "big")
        # 384 bits against at most 128: the remainder is even to 2**-256.
        points.append(int.from_bytes(hashlib.sha384(text).digest(), "big") % work)
    return Draw(epoch=signed.hash(), points=tuple(points))


def open_draw(drawn: Draw, epoch: Epoch, prover: EpochProver) -> list[ShareProof]:
    """Return the proof of the share at each point.

    Raises:
        EvidenceError: If the draw is of another epoch.
    """
    if drawn.epoch != epoch.signed.hash():
        raise EvidenceError("the draw is of another epoch")
    sizes = [group_levels[-1].node(0).sums[0] for group_levels in prover.groups]
    ends = list(accumulate(sizes))
    found = []
    for point in drawn.points:
        index = bisect_right(ends, point)
        group = epoch.groups[index]
        offset = point - (ends[index] - sizes[index])
        works = work_of(group.leaves["job"], prover.work)
        inside = list(accumulate(1 << int(work) for work in np.asarray(works).tolist()))
        at = bisect_right(inside, offset)
        found.append(prover.share(group.account, int(group.leaves["position"][at])))
    return found


def check_openings(drawn: Draw, signed: SignedHeader, proofs: list[ShareProof]) -> None:
    """Check that each opening is the share at its point, and that it is work.

    Raises:
        EvidenceError: If one is missing, of another place, or does not hold.
        DecodeError: If one cannot be read.
    """
    if drawn.epoch != signed.hash() or len(proofs) != len(drawn.points):
        raise EvidenceError(f"{len(drawn.points)} openings were asked for, {len(proofs)} came")
    for point, proof in zip(drawn.points, proofs, strict=True):
        if check_share(proof).hash() != drawn.epoch:
            raise EvidenceError("an opening is of another epoch")
        first = tree.before(tree.ACCOUNTS, steps_of(tree.ACCOUNTS, proof.account.path))[0][0]
        first += tree.before(tree.SHARES, steps_of(tree.SHARES, proof.path))[0][0]
        if not first <= point < first + (1 << proof.work_log2):
            raise EvidenceError(f"the opening for hash {point} is the share from {first} on")
