"""One contract for every feed that is asked over HTTP, against servers that answer in the shape of each API."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hashwerk.clock import VirtualClock
from hashwerk.energy.ports import Signal
from hashwerk.energy.series import Quality
from hashwerk.errors import FeedError
from hashwerk.feeds.settings import (
    ColumnSettings,
    ElectricityMapsFeed,
    EnergyChartsCarbonFeed,
    EnergyChartsFeed,
    ExchangeFeed,
    FeedSettings,
    HttpFeed,
    SmardFeed,
    WattTimeFeed,
)
from hashwerk.feeds.table import open_feed
from support.feed_server import Answer, Asked, FeedServer, serve_feed

#: 2026-03-10 12:00 UTC, a Tuesday; the week of SMARD begins on Monday, local midnight.
NOW = 1_773_144_000
HOUR = 3_600
START, STOP = NOW - 12 * HOUR, NOW + 12 * HOUR
WEEK = 1_773_010_800  # 2026-03-08 23:00 UTC
KEY = "s3cret"


def iso(moment: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def hours() -> list[int]:
    return list(range(START, STOP, HOUR))


def price(moment: int) -> float:
    return round(50 + (moment // HOUR % 24) * 1.37 - 30 * (moment // HOUR % 24 == 13), 2)


def smard(asked: Asked) -> Answer:
    base = "/app/chart_data/4169/DE-LU"
    if asked.path == f"{base}/index_hour.json":
        return Answer({"timestamps": [(WEEK - 604_800) * 1_000, WEEK * 1_000]})
    if asked.path == f"{base}/4169_DE-LU_hour_{WEEK * 1000}.json":
        series = [[(WEEK + n * HOUR) * 1_000, price(WEEK + n * HOUR) if n < 60 else None] for n in range(168)]
        return Answer({"meta_data": {"version": 1, "created": NOW * 1_000}, "series": series})
    return Answer({"meta_data": {"version": 1}, "series": []})


def energy_charts(asked: Asked) -> Answer:
    assert asked.query["bzn"] == "DE-LU"
    return Answer(
        {
            "license_info": "CC BY 4.0 from Bundesnetzagentur | SMARD.de",
            "unix_seconds": hours(),
            "price": [price(moment) for moment in hours()],
            "unit": "EUR / MWh",
            "deprecated": False,
        }
    )


def energy_charts_carbon(asked: Asked) -> Answer:
    assert asked.path == "/co2eq"
    assert asked.query == {"country": "de"}
    times = list(range(START, STOP, 900))
    return Answer(
        {
            "unix_seconds": times,
            "co2eq": [300.5 if moment < NOW else None for moment in times],
            "co2eq_forecast": [280.0 for _ in times],
            "deprecated": False,
        }
    )


def electricity_maps(asked: Asked) -> Answer:
    if asked.headers.get("auth-token") != KEY:
        return Answer({"error": "Unauthorized"}, 401)
    if asked.path == "/v3/carbon-intensity/history":
        points = [
            {
                "zone": "DE",
                "carbonIntensity": 300 + n,
                "datetime": f"{iso(moment)}.000Z",
                "updatedAt": f"{iso(NOW)}.000Z",
                "createdAt": f"{iso(NOW)}.000Z",
                "emissionFactorType": "lifecycle",
                "isEstimated": n > 9,
                "estimationMethod": "TIME_SLICER_AVERAGE" if n > 9 else None,
            }
            for n, moment in enumerate(range(START, NOW, HOUR))
        ]
        return Answer({"zone": "DE", "history": points})
    ahead = [{"carbonIntensity": 250, "datetime": f"{iso(m)}.000Z"} for m in range(NOW, STOP, HOUR)]
    return Answer({"zone": "DE", "forecast": ahead, "updatedAt": f"{iso(NOW)}.000Z"})


def watttime(asked: Asked) -> Answer:
    if asked.path == "/login":
        expected = "Basic " + base64.b64encode(f"hall:{KEY}".encode()).decode()
        is_known = asked.headers.get("authorization") == expected
        return Answer({"token": "abcdef0123456789"}) if is_known else Answer({"detail": "no"}, 403)
    if asked.headers.get("authorization") != "Bearer abcdef0123456789":
        return Answer({"detail": "token"}, 401)
    begin, end = (START, NOW) if asked.path == "/v3/historical" else (NOW, STOP)
    return Answer(
        {
            "data": [{"point_time": f"{iso(m)}+00:00", "value": 1_000.0} for m in range(begin, end, 300)],
            "meta": {
                "data_point_period_seconds": 300,
                "region": "CAISO_NORTH",
                "signal_type": "co2_moer",
                "units": "lbs_co2_per_mwh",
                "warnings": [],
                "model": {"date": "2023-03-01"},
            },
        }
    )


def kraken(asked: Asked) -> Answer:
    assert asked.query == {"pair": "XBTUSD"}
    ticker = {"a": ["97500.1", "1", "1.0"], "b": ["97500.0", "1", "1.0"], "c": ["97500.10000", "0.0123"]}
    return Answer({"error": [], "result": {"XXBTZUSD": ticker}})


def bitstamp(asked: Asked) -> Answer:
    return Answer(
        {"timestamp": str(NOW), "last": "97500.10", "high": "98000", "low": "96000", "open": "97000"}
    )


def coinbase(asked: Asked) -> Answer:
    return Answer({"trade_id": 1, "price": "97500.10", "size": "0.01", "time": f"{iso(NOW)}Z", "volume": "9"})


def octopus(asked: Asked) -> Answer:
    assert asked.query["period_from"] == f"{iso(START)[:16]}Z"
    rows = [
        {
            "value_exc_vat": round(price(moment) / 10, 4),
            "value_inc_vat": round(price(moment) / 10 * 1.05, 4),
            "valid_from": f"{iso(moment)}Z",
            "valid_to": f"{iso(moment + 1_800)}Z",
            "payment_method": None,
        }
        for moment in range(STOP - 1_800, START - 1, -1_800)
    ]
    return Answer({"count": len(rows), "next": None, "previous": None, "results": rows})


def awattar(asked: Asked) -> Answer:
    assert asked.query == {"start": str(START * 1_000), "end": str(STOP * 1_000)}
    rows = [
        {
            "start_timestamp": moment * 1_000,
            "end_timestamp": (moment + HOUR) * 1_000,
            "marketprice": price(moment),
            "unit": "Eur/MWh",
        }
        for moment in hours()
    ]
    return Answer({"object": "list", "data": rows})


def columns(asked: Asked) -> Answer:
    return Answer({"out": {"t": hours(), "load": [1.5 for _ in hours()]}})


@dataclass
class Case:
    """One kind of feed."""

    handle: Callable[[Asked], Answer]
    settings: Callable[[str, Path], FeedSettings]
    signal: Signal
    unit: str
    resolution_s: int
    keyed: bool = False
    nothing: Any = None  # what the API says when it has nothing


def key_file(folder: Path) -> str:
    path = folder / "key"
    path.write_text(f"{KEY}\n", encoding="utf-8")
    return str(path)


CASES = {
    "smard": Case(
        smard,
        lambda url, _: SmardFeed(name="smard", base_url=url),
        Signal.PRICE,
        "EUR/MWh",
        HOUR,
        nothing={"timestamps": []},
    ),
    "energy-charts": Case(
        energy_charts,
        lambda url, _: EnergyChartsFeed(name="energy-charts", base_url=url),
        Signal.PRICE,
        "EUR/MWh",
        HOUR,
        nothing={
            "license_info": "",
            "unix_seconds": [],
            "price": [],
            "unit": "EUR / MWh",
            "deprecated": False,
        },
    ),
    "energy-charts-carbon": Case(
        energy_charts_carbon,
        lambda url, _: EnergyChartsCarbonFeed(name="carbon", base_url=url),
        Signal.CARBON_AVERAGE,
        "g/kWh",
        900,
        nothing={"unix_seconds": [], "co2eq": [], "co2eq_forecast": [], "deprecated": False},
    ),
    "electricity-maps": Case(
        electricity_maps,
        lambda url, folder: ElectricityMapsFeed(
            name="maps", zone="DE", key_file=key_file(folder), forecast=True, base_url=url
        ),
        Signal.CARBON_AVERAGE,
        "g/kWh",
        HOUR,
        keyed=True,
        nothing={"zone": "DE", "history": [], "forecast": []},
    ),
    "watttime": Case(
        watttime,
        lambda url, folder: WattTimeFeed(
            name="watttime", region="CAISO_NORTH", user="hall", password_file=key_file(folder), base_url=url
        ),
        Signal.CARBON_MARGINAL,
        "g/kWh",
        300,
        keyed=True,
        nothing={
            "token": "abcdef0123456789",
            "data": [],
            "meta": {"data_point_period_seconds": 300, "region": "CAISO_NORTH", "units": "lbs_co2_per_mwh"},
        },
    ),
    **{
        name: Case(
            handle,
            lambda url, _, name=name: ExchangeFeed(name=name, exchange=name, base_url=url),
            Signal.COIN_PRICE,
            "USD/BTC",
            300,
            nothing={},
        )
        for name, handle in (("kraken", kraken), ("bitstamp", bitstamp), ("coinbase", coinbase))
    },
    "octopus": Case(
        octopus,
        lambda url, _: HttpFeed(
            name="octopus",
            url=url
            + "/v1/products/AGILE-24-10-01/electricity-tariffs/E-1R-AGILE-24-10-01-C/standard-unit-rates/"
            "?period_from={start}&period_to={stop}",
            rows="results",
            time_field="valid_from",
            resolution_s=1_800,
            fields=(
                ColumnSettings(
                    column="value_exc_vat", signal="price", unit="GBP/MWh", scale=10, currency="GBP"
                ),
            ),
        ),
        Signal.PRICE,
        "GBP/MWh",
        1_800,
        nothing={"count": 0, "next": None, "previous": None, "results": []},
    ),
    "awattar": Case(
        awattar,
        lambda url, _: HttpFeed(
            name="awattar",
            url=url + "/v1/marketdata?start={start}&end={stop}",
            rows="data",
            time_field="start_timestamp",
            time_unit="ms",
            url_time="ms",
            resolution_s=HOUR,
            fields=(ColumnSettings(column="marketprice", signal="price", unit="EUR/MWh", currency="EUR"),),
        ),
        Signal.PRICE,
        "EUR/MWh",
        HOUR,
        nothing={"object": "list", "data": []},
    ),
    "columns": Case(
        columns,
        lambda url, folder: HttpFeed(
            name="load",
            url=url + "/load?from={start}",
            rows="out",
            layout="columns",
            time_field="t",
            time_unit="s",
            url_time="s",
            resolution_s=HOUR,
            header="X-Api-Key",
            key_file=key_file(folder),
            fields=(ColumnSettings(column="load", signal="load", unit="W", scale=1e6),),
        ),
        Signal.LOAD,
        "W",
        HOUR,
        nothing={"out": {"t": [], "load": []}},
    ),
}


@pytest.fixture(params=sorted(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def opened(case: Case, server: FeedServer, folder: Path):
    return open_feed(case.settings(server.url, folder), VirtualClock(float(NOW)))


async def test_it_gives_series_stamped_with_the_moment_we_learned_them(case, tmp_path):
    async with serve_feed(case.handle) as server:
        answer = await opened(case, server, tmp_path).fetch(START, STOP, NOW + 0.5)
    series = answer[case.signal]
    assert series.info.unit == case.unit
    assert series.info.resolution_s == case.resolution_s
    assert series.info.source
    view = series.as_of(NOW)
    assert view.known.sum() >= 1
    assert (view.published_s == NOW).all()
    assert len(series.as_of(NOW - 1)) == 0
    assert view.starts_s.min() >= START
    assert view.ends_s.max() <= STOP


async def test_a_server_that_is_gone_is_one_clear_error(case, tmp_path):
    async with serve_feed(case.handle) as server:
        feed = opened(case, server, tmp_path)
    with pytest.raises(FeedError) as caught:
        await feed.fetch(START, STOP, NOW)
    assert caught.value.retry
    assert KEY not in str(caught.value)


async def test_two_hundred_with_nothing_is_an_error(case, tmp_path):
    async with serve_feed(lambda _: Answer(case.nothing)) as server:
        with pytest.raises(FeedError, match="nothing"):
            await opened(case, server, tmp_path).fetch(START, STOP, NOW)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(b"<html>maintenance</html>"),
        Answer(b""),
        Answer({"message": "renamed"}),
        Answer([]),
        Answer({}, 500),
        Answer({}, 429),
        Answer(b"[" * 500),
    ],
    ids=["html", "empty", "another shape", "empty list", "500", "429", "deep"],
)
async def test_what_is_no_answer_is_one_clear_error(case, tmp_path, answer):
    async with serve_feed(lambda _: answer) as server:
        with pytest.raises(FeedError) as caught:
            await opened(case, server, tmp_path).fetch(START, STOP, NOW)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


async def test_a_refused_key_is_no_matter_for_trying_again(case, tmp_path):
    async with serve_feed(lambda _: Answer({"error": "key"}, 403)) as server:
        with pytest.raises(FeedError) as caught:
            await opened(case, server, tmp_path).fetch(START, STOP, NOW)
    assert not caught.value.retry
    assert KEY not in str(caught.value)


async def test_keys_travel_in_headers_only(tmp_path):
    for case in CASES.values():
        async with serve_feed(case.handle) as server:
            await opened(case, server, tmp_path).fetch(START, STOP, NOW)
        assert all(KEY not in asked.path + str(asked.query) for asked in server.asked)


class TestValues:
    async def fetch(self, name: str, tmp_path: Path, handle: Callable[[Asked], Answer] | None = None):
        case = CASES[name]
        async with serve_feed(handle or case.handle) as server:
            answer = await opened(case, server, tmp_path).fetch(START, STOP, NOW)
        return answer[case.signal].as_of(NOW)

    async def test_smard_prices_are_those_of_the_week_file_and_null_is_missing(self, tmp_path):
        series = await self.fetch("smard", tmp_path)
        assert len(series) == 24
        assert series.at(NOW) == price(NOW)

    async def test_watttime_is_in_grams_and_says_what_is_forecast(self, tmp_path):
        series = await self.fetch("watttime", tmp_path)
        assert series.at(NOW) == pytest.approx(453.59237)
        assert series.quality[0] == Quality.MEASURED
        assert series.quality[-1] == Quality.FORECAST

    async def test_electricity_maps_says_what_is_estimated_and_what_is_forecast(self, tmp_path):
        series = await self.fetch("electricity-maps", tmp_path)
        assert [int(q) for q in series.quality[[0, 11, 12]]] == [1, 2, 3]

    async def test_carbon_is_measured_until_now_and_forecast_after(self, tmp_path):
        series = await self.fetch("energy-charts-carbon", tmp_path)
        assert (series.at(NOW - 1), series.at(NOW)) == (300.5, 280.0)
        assert [int(series.quality[n]) for n in (0, 47, 48, -1)] == [1, 1, 3, 3]

    @pytest.mark.parametrize("name", ["kraken", "bitstamp", "coinbase"])
    async def test_exchanges_agree(self, name, tmp_path):
        assert (await self.fetch(name, tmp_path)).at(NOW) == 97_500.10

    async def test_an_exchange_that_reports_an_error_is_heard(self, tmp_path):
        with pytest.raises(FeedError, match="EService:Unavailable"):
            await self.fetch("kraken", tmp_path, lambda _: Answer({"error": ["EService:Unavailable"]}))

    async def test_a_price_of_nothing_is_no_price(self, tmp_path):
        with pytest.raises(FeedError, match="says 0 for a price"):
            await self.fetch("coinbase", tmp_path, lambda _: Answer({"price": "0"}))

    async def test_rows_in_falling_order_come_out_rising(self, tmp_path):
        series = await self.fetch("octopus", tmp_path)
        assert len(series) == 48
        assert series.at(NOW) == pytest.approx(price(NOW))

    async def test_the_answer_for_another_zone_is_refused(self, tmp_path):
        with pytest.raises(FeedError, match="asked for DE and answers for FR"):
            await self.fetch("electricity-maps", tmp_path, lambda _: Answer({"zone": "FR", "history": []}))

    async def test_another_unit_is_refused(self, tmp_path):
        reply = {"license_info": "", "unix_seconds": hours(), "price": hours(), "unit": "EUR / kWh"}
        with pytest.raises(FeedError, match="EUR / kWh"):
            await self.fetch("energy-charts", tmp_path, lambda _: Answer(reply))

    async def test_hours_before_the_change_to_quarters_hold_in_each_of_them(self, tmp_path):
        change = 1_759_269_600
        times = [change - 2 * HOUR, change - HOUR, *range(change, change + HOUR, 900)]
        reply = {"license_info": "x", "unix_seconds": times, "price": [1, 2, 3, 4, 5, 6], "unit": "EUR / MWh"}
        async with serve_feed(lambda _: Answer(reply)) as server:
            feed = opened(CASES["energy-charts"], server, tmp_path)
            answer = await feed.fetch(change - 3 * HOUR, change + 3 * HOUR, NOW)
        series = answer[Signal.PRICE].as_of(NOW)
        assert series.info.resolution_s == 900
        assert list(series.values) == [1, 1, 1, 1, 2, 2, 2, 2, 3, 4, 5, 6]

    async def test_a_missing_quarter_stays_missing(self, tmp_path):
        times = [START, START + 900, START + 3 * 900, START + 4 * 900]
        reply = {"license_info": "x", "unix_seconds": times, "price": [1, 2, 4, 5], "unit": "EUR / MWh"}
        series = await self.fetch("energy-charts", tmp_path, lambda _: Answer(reply))
        assert series.at(START + 2 * 900) is None

    async def test_two_values_for_one_hour_are_refused(self, tmp_path):
        rows = [
            {"start_timestamp": START * 1_000, "marketprice": 1.0},
            {"start_timestamp": START * 1_000, "marketprice": 2.0},
        ]
        with pytest.raises(FeedError, match="two values for"):
            await self.fetch("awattar", tmp_path, lambda _: Answer({"data": rows}))

    async def test_a_missing_column_is_named_with_those_that_are_there(self, tmp_path):
        rows = [{"start": START * 1_000, "price": 1.0}]
        with pytest.raises(FeedError, match=r"no 'start_timestamp'.*start, price"):
            await self.fetch("awattar", tmp_path, lambda _: Answer({"data": rows}))

    async def test_watttime_logs_in_again_when_its_token_is_old(self, tmp_path):
        case = CASES["watttime"]
        async with serve_feed(case.handle) as server:
            feed = opened(case, server, tmp_path)
            for now in (NOW, NOW + 60, NOW + 3_000):
                await feed.fetch(START, STOP, now)
        assert [asked.path for asked in server.asked].count("/login") == 2
