"""The MQTT feed against a real broker: values arrive, break off, and say what is wrong with them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiomqtt
import pytest

from hashwerk.clock import VirtualClock
from hashwerk.energy.ports import Signal
from hashwerk.errors import FeedError
from hashwerk.feeds.mqtt import Mqtt
from hashwerk.feeds.settings import ColumnSettings, MqttFeed
from support.broker import broker

NOW = 1_773_144_000.0


def settings(port: int, column: str = "price.now") -> MqttFeed:
    return MqttFeed(
        name="home",
        host="127.0.0.1",
        port=port,
        topic="energy/price",
        field=ColumnSettings(column=column, signal="price", unit="EUR/MWh", scale=1_000, currency="EUR"),
    )


@contextlib.asynccontextmanager
async def listening(feed: Mqtt) -> AsyncIterator[None]:
    task = asyncio.create_task(feed.run())
    try:
        async with asyncio.timeout(15):
            yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def publish(port: int, payload: str) -> None:
    async with aiomqtt.Client("127.0.0.1", port) as client:
        await client.publish("energy/price", payload, retain=True)


async def next_value(feed: Mqtt) -> None:
    await feed.arrived.wait()
    feed.arrived.clear()


async def test_the_newest_value_stands_for_the_interval_it_came_in(tmp_path):
    clock = VirtualClock(NOW + 20)
    async with broker(tmp_path) as port:
        feed = Mqtt(settings(port), clock, retry_s=0.05)
        await publish(port, '{"price": {"now": 0.2871}}')
        async with listening(feed):
            await next_value(feed)
            first = (await feed.fetch(0, 0, clock.time()))[Signal.PRICE].as_of(clock.time())
            assert first.at(NOW) == pytest.approx(287.1)
            assert first.published_s[0] == NOW + 20
            clock.advance(600)
            await publish(port, '{"price": {"now": -0.5}}')
            await next_value(feed)
            later = (await feed.fetch(0, 0, clock.time()))[Signal.PRICE]
            assert later.as_of(clock.time()).at(NOW + 600) == -500
            assert len(later.as_of(NOW + 100)) == 0


async def test_what_is_no_value_is_said_and_the_last_one_kept(tmp_path):
    async with broker(tmp_path) as port:
        feed = Mqtt(settings(port, column=""), VirtualClock(NOW), retry_s=0.05)
        await publish(port, "unavailable")
        async with listening(feed):
            while True:
                with pytest.raises(FeedError) as caught:
                    await feed.fetch(0, 0, NOW)
                if "neither a number nor JSON" in str(caught.value):
                    break
                await asyncio.sleep(0)
            await publish(port, "0.31")
            await next_value(feed)
            assert (await feed.fetch(0, 0, NOW))[Signal.PRICE].as_of(NOW).at(NOW) == pytest.approx(310)


async def test_without_a_broker_nothing_is_made_up():
    feed = Mqtt(settings(1), VirtualClock(NOW), retry_s=0.01)
    with pytest.raises(FeedError, match="not been connected"):
        await feed.fetch(0, 0, NOW)
    async with listening(feed):
        while True:
            with pytest.raises(FeedError) as caught:
                await feed.fetch(0, 0, NOW)
            if "cannot be reached" in str(caught.value):
                break
            await asyncio.sleep(0)
