from __future__ import annotations

import numpy as np
import pytest

from hashwerk.stratum.vardiff import Vardiff, VardiffSettings


def test_eight_shares_in_one_turn_of_the_loop_raise_the_target() -> None:
    vardiff = Vardiff(VardiffSettings(), 32, 0.0)
    vardiff.on_shares(7, 0.001, 32)
    assert vardiff.decide(0.001) is None
    vardiff.on_shares(1, 0.001, 32)
    assert vardiff.decide(0.001) == 32 + 14  # six of eight shares in two turns of 1 ms: 2**14 times too fast


def test_the_same_shares_after_a_stall_are_no_flood() -> None:
    vardiff = Vardiff(VardiffSettings(), 32, 0.0)
    for second in range(5, 605, 5):
        vardiff.on_shares(1, float(second), 32)
        assert vardiff.decide(float(second)) is None
    vardiff.on_shares(8, 640.0, 32)
    assert vardiff.decide(640.0) is None


def test_shares_of_the_old_target_under_way_do_not_raise_it_again() -> None:
    vardiff = Vardiff(VardiffSettings(), 32, 0.0)
    vardiff.on_shares(100, 0.1, 32)  # 1,000 a second
    first = vardiff.decide(0.1)
    assert first == 44
    for tick in range(1, 11):  # a second until the machine has the new job
        vardiff.on_shares(100, 0.1 + tick / 10, 32)
        assert vardiff.decide(0.1 + tick / 10) is None
    vardiff.on_shares(1, 5.0, 44)
    vardiff.on_shares(10, 5.0, 32)  # stragglers: left out
    assert vardiff.decide(5.0) is None


def test_silence_from_the_start_lowers_step_by_step_to_the_least() -> None:
    vardiff = Vardiff(VardiffSettings(), 40, 0.0)
    levels = []
    while (deadline := vardiff.next_deadline()) is not None:
        assert deadline < 60.0
        new = vardiff.decide(deadline + 1e-6)
        assert new is not None
        levels.append(new)
    assert levels == [36, 32, 28, 24, 20, 16]


def test_silence_of_a_known_machine_is_given_time_and_a_floor() -> None:
    vardiff = Vardiff(VardiffSettings(), 40, 0.0)
    for second in range(5, 305, 5):
        vardiff.on_shares(1, float(second), 40)
        assert vardiff.decide(float(second)) is None
    assert vardiff.decide(370.0) is None
    now, levels = 300.0, []
    while now < 1500.0:
        deadline = vardiff.next_deadline()
        assert deadline is not None
        now = max(now, deadline) + 1e-6
        vardiff.decide(now)
        levels.append((round(now - 300), vardiff.work_log2))
    assert levels[0][0] > 75
    assert [level for _, level in levels][-3:] == [34, 33, 32]
    assert [at for at, _ in levels][-2:] == [600, 1200]


def test_bounds_move() -> None:
    vardiff = Vardiff(VardiffSettings(), 40, 0.0)
    assert Vardiff(VardiffSettings(min_work_log2=51), 40, 0.0).work_log2 == 51
    vardiff.set_settings(VardiffSettings(max_work_log2=33))
    assert vardiff.decide(1.0) == 33
    assert vardiff.decide(1.0) is None
    vardiff.on_shares(1000, 1.1, 33)
    assert vardiff.decide(1.1) is None


def test_another_rate_of_shares() -> None:
    vardiff = Vardiff(VardiffSettings(shares_per_minute=60.0), 32, 0.0)
    vardiff.on_shares(1000, 1.0, 32)  # 1,000 a second where one is wanted
    assert vardiff.decide(1.0) == 42


def test_no_interval_before_a_share() -> None:
    vardiff = Vardiff(VardiffSettings(), 32, 0.0)
    assert vardiff.interval() is None
    vardiff.on_shares(0, 1.0, 32)
    assert vardiff.interval() is None
    vardiff.on_shares(1, 1.0, 32)
    low, high = vardiff.interval() or (0.0, 0.0)
    assert (low / 2**32, high / 2**32) == pytest.approx((0.0253, 5.572), rel=1e-3)  # Garwood for 1


def test_misuse_raises() -> None:
    with pytest.raises(ValueError, match="-1"):
        Vardiff(VardiffSettings(), 32, 0.0).on_shares(-1, 1.0, 32)
    with pytest.raises(ValueError, match="41"):
        VardiffSettings(min_work_log2=41, max_work_log2=40)


def test_the_hash_rate_is_told_whatever_the_bounds_make_of_the_target() -> None:
    """2**30 hashes a second are 2**32.3 a share at twelve a minute; here no share may be harder than 2**28."""
    vardiff = Vardiff(VardiffSettings(max_work_log2=28), 28, 0.0)
    assert vardiff.hashrate_hs(0.0) is None
    for tick in range(1, 41):
        vardiff.on_shares(4, float(tick), 28)
        vardiff.decide(float(tick))
    assert vardiff.work_log2 == 28
    assert vardiff.is_held_down
    rate = vardiff.hashrate_hs(40.0)
    assert rate is not None
    assert 0.9 * 2**30 < rate < 1.1 * 2**30
    silent = vardiff.hashrate_hs(80.0)
    assert silent is not None
    assert silent < 0.55 * rate, "who falls silent is not as fast as before"


def test_a_proxy_that_hands_in_bursts_keeps_its_target() -> None:
    """Fifty machines behind one connection, polled in turn once a second: all shares of a second come within 60 ms."""
    chance = np.random.default_rng(7)
    vardiff = Vardiff(VardiffSettings(shares_per_minute=600, min_work_log2=4), 32, 0.0)
    rate_hs, target, levels = 2.0**21.5, 32, []
    for second in range(1, 301):
        count = chance.poisson(rate_hs * 2.0**-target)
        for at in np.sort(second + 0.06 * chance.random(count)):
            vardiff.on_shares(1, float(at), target)
            vardiff.decide(float(at))
        deadline = vardiff.next_deadline()
        if deadline is not None and deadline < second + 1:
            vardiff.decide(deadline + 1e-6)
        target = vardiff.work_log2
        levels.append(target)
    # Ten shares a second are 2**18.2 hashes each. Judged by its bursts it would be at 2**23 again and again.
    assert max(levels[30:]) <= 21
    assert np.abs(np.diff(levels[30:])).sum() <= 60
