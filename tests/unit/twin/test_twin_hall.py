"""A hall as a whole: addresses, sums, mains, air, and that the same seed makes the same hall."""

from __future__ import annotations

import math
import sys

import pytest

from hashwerk.clock import VirtualClock
from hashwerk.errors import ConfigError, FleetError
from hashwerk.twin import MODELS, Hall, HallSettings
from support.twin import running_hall


def test_addresses_follow_each_other_and_leave_out_the_ends() -> None:
    settings = HallSettings(machines=600, base="127.1.0.250")
    addresses = [settings.address(index) for index in range(600)]
    assert addresses[:6] == [*(f"127.1.0.{last}" for last in range(250, 255)), "127.1.1.1"]
    assert len(set(addresses)) == 600
    assert not any(address.endswith((".0", ".255")) for address in addresses)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"base": "10.0.0.1"}, r"keeps to 127\.0\.0\.0/8"),
        ({"base": "127.1.0.0"}, r"from \.1 to \.254"),
        ({"base": "nowhere"}, "not an address"),
        ({"base": "127.255.255.1", "machines": 255}, "do not fit"),
        ({"models": ()}, "at least one model"),
        ({"models": ("avalon-q", "toaster")}, "no twin of 'toaster'; there are: avalon-q"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        HallSettings(**settings)  # type: ignore[arg-type]


def test_the_same_seed_makes_the_same_hall() -> None:
    def make(seed: int) -> list[tuple[str, float, float]]:
        hall = Hall(HallSettings(machines=10, models=tuple(MODELS), seed=seed), clock=VirtualClock())
        return [(truth.mac, truth.power_w, truth.hashrate_hs) for truth in hall.truth()]

    assert make(3) == make(3)
    assert make(3) != make(4)


def test_breakers_and_feeders_add_up() -> None:
    clock = VirtualClock()
    settings = HallSettings(
        machines=30, models=("avalon-q", "luxos-s19kpro"), per_breaker=4, breakers_per_feeder=3
    )
    hall = Hall(settings, clock=clock)
    now = clock.time()
    assert math.fsum(hall.power_by_breaker_w(now).values()) == pytest.approx(hall.power_w(now))
    assert math.fsum(hall.power_by_feeder_w(now).values()) == pytest.approx(hall.power_w(now))
    assert list(hall.power_by_feeder_w(now)) == ["F1", "F2", "F3"]
    assert hall.power_w(now, breaker="B2") == pytest.approx(hall.power_by_breaker_w(now)["B2"])
    clock.advance(1800)
    assert hall.energy_wh() == pytest.approx(hall.power_w(now) / 2)
    assert hall.energy_wh(feeder="F3") == pytest.approx(hall.power_w(now, feeder="F3") / 2)


def test_a_breaker_takes_its_machines_and_gives_them_back_slowly() -> None:
    clock = VirtualClock()
    hall = Hall(HallSettings(machines=8, per_breaker=4), clock=clock)
    before_w = hall.power_w()
    assert hall.switch_mains(on=False, breaker="B1") == 4
    assert hall.power_w(breaker="B1") == 0
    assert hall.view().phases == {"off": 4, "hashing": 4}
    clock.advance(100)
    hall.switch_mains(on=True, breaker="B1")
    assert hall.view().phases == {"booting": 4, "hashing": 4}
    clock.advance(600)
    assert hall.power_w() == pytest.approx(before_w)
    with pytest.raises(FleetError, match="no machine is behind B9"):
        hall.switch_mains(on=True, breaker="B9")


def test_a_warmer_hall_draws_more_and_runs_its_fans_faster() -> None:
    clock = VirtualClock()
    hall = Hall(HallSettings(machines=3), clock=clock)
    before_w = hall.power_w()
    fans = hall.machines[0].state(clock.time()).fan_share(clock.time())
    hall.set_ambient(38.0)
    clock.advance(3600)
    assert hall.power_w() == pytest.approx(before_w * (1 + 0.0012 * 13))
    assert hall.machines[0].state(clock.time()).fan_share(clock.time()) > fans
    assert hall.view().ambient_c == 38.0


def test_the_air_follows_the_day() -> None:
    warm, cold = (
        Hall(HallSettings(ambient_c=20, ambient_swing_c=8), clock=VirtualClock(now)).ambient_c
        for now in (86_400 * 20_000 + 15 * 3600, 86_400 * 20_000 + 3 * 3600)
    )
    assert warm == pytest.approx(28)
    assert cold == pytest.approx(12)


async def test_a_cold_hall_boots_for_as_long_as_real_machines_do() -> None:
    async with running_hall(machines=2, started=False) as (hall, clock):
        assert hall.view().phases == {"booting": 2}
        clock.advance(230)
        assert hall.view().phases == {"starting": 2}
        clock.advance(60)
        assert hall.view().phases == {"hashing": 2}
        assert hall.power_w() < 2 * 800
        clock.advance(90)
        assert hall.power_w() == pytest.approx(2 * 1403, rel=0.06)


async def test_two_halls_at_one_address_are_told_apart() -> None:
    async with running_hall() as (hall, _clock):
        port = hall.machines[0].port
        second = Hall(HallSettings(machines=1, base="127.79.1.1", port=port, http_port=0))
        with pytest.raises(ConfigError, match="is taken, perhaps by another hall"):
            await second.start()


async def test_an_address_that_macos_lacks_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    import errno
    import socket

    def refuse(self: object, address: object) -> None:
        raise OSError(errno.EADDRNOTAVAIL, "Can't assign requested address")

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(socket.socket, "bind", refuse)
    hall = Hall(HallSettings(machines=1, base="127.79.1.1", port=0, http_port=0))
    with pytest.raises(ConfigError, match=r"sudo ifconfig lo0 alias 127\.79\.1\.1 up"):
        await hall.start()
