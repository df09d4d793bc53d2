import pytest

from hashwerk.errors import StoreError
from hashwerk.web.history import RANGES, History


@pytest.fixture
def ledger(clock, web_site):
    return web_site.SampleLedger(clock.now)


@pytest.fixture
def history(ledger, clock):
    history = History(ledger, clock)
    yield history
    history.close()


async def test_gaps_are_points_without_a_rate(history, clock):
    points = await history.series(60, clock.now - 3_600, clock.now)
    assert len(points) == 60
    gaps = [point for point in points if point.hashrate_hs is None]
    assert 4 <= len(gaps) <= 6
    assert all(point.low_hs is None and point.high_hs is None and point.accepted == 0 for point in gaps)


async def test_the_running_step_is_left_out(history, clock):
    points = await history.series(60, clock.now - 600, clock.now)
    assert points[-1].start + 60 <= clock.now
    assert points[-1].start + 120 > clock.now


async def test_what_was_read_serves_everybody_until_it_is_old(history, ledger, clock):
    hour = RANGES[0]
    first = await history.range(hour)
    assert await history.range(hour) is first
    clock.advance(hour.step_s / 6)
    assert await history.range(hour) is not first
    assert ledger.reads == ["series", "series"]


async def test_without_a_ledger_there_is_no_history(clock):
    history = History(None, clock)
    assert not history.is_known
    assert await history.range(RANGES[0]) == []
    assert await history.events(10) == []
    assert await history.blocks(10) == []
    history.close()


async def test_an_unreadable_ledger_raises_and_recovers(history, ledger):
    ledger.fails = True
    with pytest.raises(StoreError):
        await history.range(RANGES[0])
    ledger.fails = False
    assert len(await history.range(RANGES[0])) == 60


async def test_ranges_have_few_points_and_whole_steps():
    for span in RANGES:
        assert span.span_s % span.step_s == 0
        assert span.step_s % 60 == 0
        assert span.span_s / span.step_s <= 200
