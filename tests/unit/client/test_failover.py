"""Which server is tried next, and when."""

from __future__ import annotations

import random

import pytest

from hashwerk.client.failover import Failover
from hashwerk.client.settings import ServerUrl

SERVERS = tuple(ServerUrl("127.0.0.1", port) for port in (1, 2, 3))


class _NoJitter(random.Random):
    def random(self) -> float:
        return 0.0


def _failover(rng: random.Random | None = None) -> Failover:
    return Failover(SERVERS, rng or _NoJitter(), retry_min_s=1.0, retry_max_s=60.0)


def test_the_preferred_server_comes_first_and_stand_ins_follow_without_waiting() -> None:
    failover = _failover()
    tried = []
    for _ in SERVERS:
        index, wait_s = failover.next(100.0)
        assert wait_s == 0
        tried.append(failover.server(index))
        failover.failed(index, 100.0)
    assert tuple(tried) == SERVERS


def test_when_all_rest_the_first_to_be_ready_is_awaited() -> None:
    failover = _failover()
    failover.failed(0, 100.0)
    failover.failed(0, 101.0)  # rests 2 s, until 103
    failover.failed(1, 101.5)  # until 102.5
    failover.failed(2, 102.0)  # until 103
    assert failover.next(102.0) == (1, pytest.approx(0.5))


def test_the_rest_doubles_up_to_its_limit_and_starts_again_when_proven() -> None:
    failover = _failover()
    rests = [failover.failed(0, 0.0) for _ in range(8)]
    assert rests == [1, 2, 4, 8, 16, 32, 60, 60]
    failover.proven(0)
    assert failover.next(0.0) == (0, 0.0)
    assert failover.failed(0, 0.0) == 1


def test_a_thousand_failures_do_not_overflow() -> None:
    failover = _failover()
    assert max(failover.failed(0, 0.0) for _ in range(1000)) == 60


def test_jitter_takes_up_to_half_away() -> None:
    rests = [_failover(random.Random(seed)).failed(0, 0.0) for seed in range(200)]
    assert 0.5 <= min(rests) < 0.55
    assert 0.95 < max(rests) <= 1.0


def test_the_servers_own_wish_makes_the_rest_longer_never_shorter() -> None:
    failover = _failover()
    assert failover.failed(0, 0.0, at_least_s=5.0) == 5.0
    assert failover.failed(0, 0.0, at_least_s=1.0) == 2.0
    assert failover.failed(0, 0.0, at_least_s=1e9) == 60.0
