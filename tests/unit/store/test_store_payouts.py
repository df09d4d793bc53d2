"""Payouts that a mine logs are those that a stranger recomputes, whatever becomes of its blocks."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from hashwerk.evidence.closer import EpochCloser
from hashwerk.evidence.records import Payout, PayoutRule
from hashwerk.evidence.verify import Report, verify_bundle
from hashwerk.evidence.verify.run import Options
from hashwerk.store import epochs
from hashwerk.store.blocks import read_blocks, write_block
from hashwerk.store.connection import connect_reader
from hashwerk.store.payouts import MATURE, PENDING, REVERSED, PaidBlocks, new_payouts
from hashwerk.store.records import put_record
from hashwerk.stratum.ports import BlockRecord
from support.evidence import EPOCH_US, START_US
from support.evidence_ledger import DECLARED, KEYS, Ledger


class Mine:
    """A mine whose shares are a block now and then."""

    def __init__(self, path: Path, rule: PayoutRule) -> None:
        self.ledger = Ledger(path)
        self.closer: EpochCloser = epochs.open_closer(self.ledger.connection, KEYS)
        begun = epochs.begin(self.ledger.connection, self.closer, [*DECLARED, rule], START_US)
        self.ledger.store(begun)
        self.rule = rule
        self.at_us = START_US
        self.paid = PaidBlocks()
        self.logged: list[Payout] = []

    def blocks(self) -> list[BlockRecord]:
        return sorted(read_blocks(self.ledger.connection), key=lambda block: block.found_at)

    def turn(self, block: BlockRecord, state: str, confirmations: int = 5) -> None:
        """Let a block take on a state."""
        self.ledger.connection.execute("BEGIN")
        write_block(
            self.ledger.connection,
            BlockRecord(
                hash=block.hash, height=block.height, found_at=block.found_at, worker_id=1, job_id=block.job_id,
                reward_sat=block.reward_sat, state=state, confirmations=confirmations,
            ),
        )  # fmt: skip
        self.ledger.connection.execute("COMMIT")

    def epoch(self, shares: int = 0) -> list[Payout]:
        """Hash for an epoch, log what is due, and close it; return the payouts in it."""
        if shares:
            jobs = [self.ledger.job(account, self.at_us, self.closer.root) for account in (1, 2, 3)]
            for job, hash_, time_us in self.ledger.shares(jobs, self.at_us, shares):
                found = BlockRecord(
                    hash=hash_, height=job.height, found_at=time_us / 1e6, worker_id=1, job_id=job.id,
                    reward_sat=job.coinbase_value_sat, state="accepted", confirmations=1,
                )  # fmt: skip
                self.turn(found, "accepted", 1)
        self.at_us += EPOCH_US
        reader = connect_reader(self.ledger.path)
        found_now, self.paid = new_payouts(reader, self.rule, self.paid, self.at_us)
        reader.close()
        self.ledger.connection.execute("BEGIN")
        for payout in found_now:
            put_record(self.ledger.connection, payout, self.at_us - 1)
        self.ledger.connection.execute("COMMIT")
        self.ledger.close_epoch(self.closer, self.at_us)
        self.logged += found_now
        return found_now

    def verify(self, start_us: int = START_US) -> Report:
        return verify_bundle(io.BytesIO(self.ledger.bundle(start_us, self.at_us)), Options(threads=1))


@pytest.fixture(params=["solo", "proportional", "pplns", "tides"])
def mine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Mine]:
    window_ppm = {"pplns": 500_000, "tides": 8_000_000}.get(request.param, 0)
    rule = PayoutRule(scheme=request.param, fee_ppm=15_000, window_ppm=window_ppm, threshold_sat=0)
    made = Mine(tmp_path / "ledger.sqlite", rule)
    yield made
    made.ledger.connection.close()


def test_rewards_are_shared_as_a_stranger_recomputes_it(mine: Mine) -> None:
    for _ in range(3):
        assert mine.epoch(100) == [], "nothing is promised while a block lies at the top"
    blocks = mine.blocks()
    assert len(blocks) >= 3, "seeded"
    for block in blocks:
        mine.turn(block, "accepted", 5)
    pending = mine.epoch()
    assert [payout.block_hash for payout in pending] == [block.hash for block in blocks]
    assert {payout.state for payout in pending} == {PENDING}
    assert all(sum(e.sat for e in p.entries) + p.fee_sat == p.reward_sat for p in pending)
    assert mine.epoch() == [], "once"
    # One is taken out of the chain, the others can be spent; each is told once it was so for an epoch.
    mine.turn(blocks[1], "orphaned", 0)
    for block in (blocks[0], *blocks[2:]):
        mine.turn(block, "mature", 101)
    assert mine.epoch() == []
    states = {payout.block_hash: payout.state for payout in mine.epoch()}
    assert states == {b.hash: REVERSED if b is blocks[1] else MATURE for b in blocks}
    assert mine.epoch() == []
    report = mine.verify()
    assert report.ok, report.failures()
    payouts = next(check for check in report.checks if check.name == "payouts")
    assert payouts.label == "proven"
    rewards = report.statement["payouts"]["rewards"]
    assert rewards["mature"]["value"] == sum(b.reward_sat for b in blocks if b is not blocks[1])
    assert rewards["pending"]["value"] == 0
    # A part of it claims no more than it can show.
    part = mine.verify(START_US + 3 * EPOCH_US)
    assert part.ok, part.failures()


def test_nothing_is_shared_by_a_rule_that_is_not_in_force(tmp_path: Path) -> None:
    rule = PayoutRule(scheme="solo", fee_ppm=0, window_ppm=0, threshold_sat=0)
    mine = Mine(tmp_path / "ledger.sqlite", rule)
    other = PayoutRule(scheme="tides", fee_ppm=0, window_ppm=8_000_000, threshold_sat=0)
    for _ in range(3):
        mine.epoch(100)
    for block in mine.blocks():
        mine.turn(block, "accepted", 5)
    mine.rule = other
    assert mine.epoch() == []
    mine.ledger.connection.execute("BEGIN")
    put_record(mine.ledger.connection, other, mine.at_us)
    mine.ledger.connection.execute("COMMIT")
    assert mine.epoch() == [], "it is declared in this one"
    assert mine.epoch() == [], "and in force in this one"
    assert len(mine.epoch()) == len(mine.blocks())
    report = mine.verify()
    assert report.ok, report.failures()
    mine.ledger.connection.close()


def test_full_pay_per_share_is_logged_by_the_hour_from_when_it_is_in_force(tmp_path: Path) -> None:
    tides = PayoutRule(scheme="tides", fee_ppm=0, window_ppm=8_000_000, threshold_sat=0)
    rule = PayoutRule(scheme="fpps", fee_ppm=20_000, window_ppm=0, threshold_sat=0)
    mine = Mine(tmp_path / "ledger.sqlite", tides)
    mine.epoch(30)
    mine.rule = rule
    mine.ledger.connection.execute("BEGIN")
    put_record(mine.ledger.connection, rule, mine.at_us)
    mine.ledger.connection.execute("COMMIT")
    found = [len(mine.epoch(30)) for _ in range(11)]
    # Declared in epoch 2, in force from 3 on: four quarters of an hour later they are over, and every hour from then on.
    assert [number for number, payouts in enumerate(found, 2) if payouts] == [7, 11]
    assert [(payout.height, payout.position) for payout in mine.logged] == [(3, 7), (7, 11)]
    assert all(sum(e.sat for e in p.entries) + p.fee_sat == p.reward_sat > 0 for p in mine.logged)
    assert mine.paid.next_epoch == 11
    report = mine.verify()
    assert report.ok, report.failures()
    payouts = next(check for check in report.checks if check.name == "payouts")
    assert payouts.label == "proven"
    total = sum(entry.sat for payout in mine.logged for entry in payout.entries)
    shown = report.statement["payouts"]["accounts"]
    assert sum(row["mature_sat"] for row in shown) == total
    mine.ledger.connection.close()
