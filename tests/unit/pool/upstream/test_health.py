"""What counts as a failure of a pool, and when it may be used again."""

from __future__ import annotations

import pytest

from hashwerk.pool.upstream.health import LinkHealth, Trust
from hashwerk.pool.upstream.settings import UpstreamSettings

SETTINGS = UpstreamSettings(name="p", url="stratum+tcp://127.0.0.1:1", user="u")


@pytest.fixture
def health() -> LinkHealth:
    made = LinkHealth(SETTINGS, 0.0)
    made.on_job(1.0)
    return made


def test_no_job_at_first() -> None:
    health = LinkHealth(SETTINGS, 0.0)
    assert health.failure(9.9) is None
    assert health.failure(10.0) == "no job within 10 s"


def test_silence_on_a_live_connection(health: LinkHealth) -> None:
    assert health.failure(120.9) is None
    assert health.failure(121.0) == "connected, but no new job for 120 s"


def test_silence_is_noticed_sooner_when_the_rhythm_is_known(health: LinkHealth) -> None:
    for second in range(11, 71, 10):
        health.on_job(float(second))
    assert health.silence_limit_s == 40
    assert health.failure(100.0) is None
    assert health.failure(101.0) == "connected, but no new job for 40 s"


def test_a_share_without_an_answer(health: LinkHealth) -> None:
    health.on_waiting(5.0)
    assert health.failure(14.9) is None
    assert health.failure(15.0) == "a share was not answered within 10 s"
    health.on_waiting(None)
    assert health.failure(15.0) is None


def test_a_storm_of_refusals(health: LinkHealth) -> None:
    for number in range(20):
        health.on_answer(10.0, accepted=number < 9, code=20, reason="no")
    assert health.failure(11.0) == "refused 11 of the last 20 shares"


def test_a_few_stale_shares_are_no_storm(health: LinkHealth) -> None:
    for number in range(60):
        health.on_answer(10.0, accepted=number % 3 != 0, code=21, reason="stale")
    assert health.failure(11.0) is None


@pytest.mark.parametrize(
    ("code", "reason"), [(23, ""), (None, "Above target"), (20, "low difficulty share of 3")]
)
def test_wrong_difficulty(health: LinkHealth, code: int | None, reason: str) -> None:
    for _ in range(4):
        health.on_answer(10.0, accepted=False, code=code, reason=reason)
    assert health.failure(10.0) is None
    health.on_answer(10.0, accepted=False, code=code, reason=reason)
    assert "meet the difficulty it announced" in (health.failure(10.0) or "")


def test_an_old_block(health: LinkHealth) -> None:
    health.on_height(20.0, behind=True)
    health.on_height(30.0, behind=True)
    assert health.failure(34.9) is None
    assert health.failure(35.0) == "works on an old block for 15 s"
    health.on_height(36.0, behind=False)
    assert health.failure(40.0) is None


def test_trust_is_there_from_the_first_work_on() -> None:
    trust = Trust(60)
    assert not trust.is_usable(0.0)
    trust.on_working(1.0)
    assert trust.is_usable(1.0)


def test_trust_must_be_earned_again_and_longer_each_time() -> None:
    trust = Trust(60)
    now = 0.0
    for proof_s in (60, 120, 240, 480):
        trust.on_working(now)
        trust.on_failure(now)
        trust.on_working(now + 1)
        assert trust.usable_in_s(now + 1) == proof_s
        assert not trust.is_usable(now + proof_s)
        assert trust.is_usable(now + 1 + proof_s)
        now += 2
    # After an hour without a failure it is as good as any other.
    assert trust.is_usable(now + 3_600)
    trust.on_failure(now + 4_000)
    trust.on_working(now + 4_001)
    assert trust.usable_in_s(now + 4_001) == 60
