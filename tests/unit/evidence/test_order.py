"""The order of shares, brought together from accounts, in memory and in files alike."""

import numpy as np

from hashwerk.evidence.rehash import Hashed
from hashwerk.evidence.share_leaf import LEAF_DTYPE
from hashwerk.evidence.verify.block_shares import BlockShares
from hashwerk.evidence.verify.order import OrderBuilder
from support.evidence import ACCOUNTS, REWARD_SAT, EvidenceSite

A, B, C = ACCOUNTS
SITE = EvidenceSite()
JOBS = {job.id: job for job in (SITE.job(account, SITE.start_us) for account in ACCOUNTS)}
JOB = {job.account: job.id for job in JOBS.values()}


def builder(max_held: int) -> tuple[OrderBuilder, BlockShares]:
    """Take two epochs whose positions have gaps; the share at position 5 of the first was a block."""
    made, blocks = OrderBuilder(max_held), BlockShares()
    leaf = np.zeros(1, LEAF_DTYPE)
    leaf["position"], leaf["job"] = 5, JOB[B]
    hashed = Hashed(
        np.full((1, 32), 7, np.uint8), np.zeros(1, np.uint16), np.zeros(1), np.ones(1, np.bool_), np.zeros(1, np.intp)
    )  # fmt: skip
    blocks.add(1, leaf, hashed)
    parts = [(A, [0, 4, 9], 4), (B, [2, 5], 6)]
    for number in (1, 2):
        order = [
            (name, np.array(positions, np.uint32), np.full(len(positions), work, np.uint8))
            for name, positions, work in parts
        ]
        by_job = {(name, JOB[name]): len(positions) for name, positions, _ in parts}
        made.add(number, order, by_job=by_job, credited={JOB[A]: 4, JOB[B]: 6}, jobs=JOBS, blocks=blocks)
    return made, blocks


def test_in_memory_and_in_files_it_is_the_same() -> None:
    for max_held in (1000, 7, 0):
        made, blocks = builder(max_held)
        order = made.order(from_beginning=True)
        made.close()
        assert [order.accounts[i] for i in order.account.tolist()] == [A, B, A, B, A] * 2
        assert order.work_log2.tolist() == [4, 6, 4, 6, 4] * 2
        found = blocks.among([bytes([7]) * 32])[bytes([7]) * 32]
        assert (found.at, found.position, found.job.account) == (3, 5, B)
        assert blocks.unnamed([]) == 1
        assert blocks.unnamed([found.hash]) == 0


def test_value_is_counted_by_epoch() -> None:
    made, _ = builder(10)
    network = next(iter(made.values[1]))[2]
    assert made.value()[A, REWARD_SAT, network] == 2 * 3 * 16
    assert made.value([1])[B, REWARD_SAT, network] == 2 * 64
    assert made.value([3]) == {}
