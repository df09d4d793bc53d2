"""Files of series, local times at the changes of daylight saving, and the typical days."""

from __future__ import annotations

from datetime import datetime, time
from pathlib import Path

import pytest

from hashwerk.clock import VirtualClock
from hashwerk.energy.ports import Signal
from hashwerk.energy.series import Quality
from hashwerk.errors import ConfigError, FeedError
from hashwerk.feeds.files import File
from hashwerk.feeds.moments import day_ahead_published_s, epoch_s, iso_s, local_rows_s
from hashwerk.feeds.settings import ColumnSettings, EntsoeFeed, FileFeed, GridstatusFeed, TypicalFeed
from hashwerk.feeds.table import open_feed
from hashwerk.feeds.typical import typical_days

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"
PRICE = ColumnSettings(column="price", signal="price", unit="EUR/MWh", currency="EUR")


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def csv_feed(folder: Path, text: str, **settings: object) -> File:
    path = folder / "prices.csv"
    path.write_text(text, encoding="utf-8")
    return File(FileFeed(name="file", path=str(path), columns=(PRICE,), resolution_s=3_600, **settings))


class TestLocalTimes:
    def test_the_hour_that_comes_twice_is_told_apart_by_its_order(self):
        texts = ["2025-10-26 01:00", "2025-10-26 02:00", "2025-10-26 02:00", "2025-10-26 03:00"]
        starts = local_rows_s("x", texts, "Europe/Berlin")
        assert [later - starts[0] for later in starts] == [0, 3_600, 7_200, 10_800]

    def test_quarters_of_the_double_hour_too(self):
        quarters = [f"26.10.2025 02:{minute}" for minute in ("00", "15", "30", "45")]
        starts = local_rows_s("x", [*quarters, *quarters], "Europe/Berlin", "%d.%m.%Y %H:%M")
        assert [later - starts[0] for later in starts] == [900 * n for n in range(8)]

    def test_an_hour_that_does_not_exist_is_refused(self):
        with pytest.raises(FeedError, match="daylight saving leaves out"):
            local_rows_s("x", ["2025-03-30 02:30"], "Europe/Berlin")

    @pytest.mark.parametrize("texts", [["2025-10-26 02:00"] * 3, ["2025-06-01 02:00"] * 2])
    def test_an_hour_too_many_is_refused(self, texts):
        with pytest.raises(FeedError, match="times"):
            local_rows_s("x", texts, "Europe/Berlin")

    def test_a_time_without_its_offset_is_no_moment(self):
        with pytest.raises(FeedError, match="without its offset"):
            iso_s("x", "2025-06-01T00:00:00")

    def test_milliseconds_are_not_taken_for_seconds(self):
        with pytest.raises(FeedError, match="no time in seconds"):
            epoch_s("x", 1_773_144_000_000)

    def test_day_ahead_is_published_the_local_day_before_in_summer_and_winter(self):
        published = day_ahead_published_s(at("2025-03-30T10:00+00:00"), "Europe/Berlin", time(12, 57))
        assert published == at("2025-03-29T11:57+00:00")
        published = day_ahead_published_s(at("2025-03-31T22:30+00:00"), "Europe/Berlin", time(12, 57))
        assert published == at("2025-03-31T10:57+00:00")


class TestCsv:
    async def test_rows_carry_the_time_of_their_publication(self, tmp_path):
        feed = csv_feed(
            tmp_path,
            "# a comment\ntime,price,published\n2026-03-10T00:00Z,41.5,2026-03-09T11:57Z\n"
            "2026-03-10T01:00Z,,2026-03-09T11:57Z\n2026-03-10T02:00Z,-500,2026-03-10T02:30Z\n",
            published_column="published",
        )
        series = (await feed.fetch(0, 0, 0.0))[Signal.PRICE]
        before = series.as_of(at("2026-03-09T11:56+00:00"))
        assert len(before) == 0
        day_before = series.as_of(at("2026-03-10T00:00+00:00"))
        assert day_before.at(at("2026-03-10T00:30+00:00")) == 41.5
        assert day_before.at(at("2026-03-10T01:30+00:00")) is None
        assert day_before.at(at("2026-03-10T02:30+00:00")) is None
        assert series.hindsight().at(at("2026-03-10T02:30+00:00")) == -500

    async def test_the_day_ahead_rule_stamps_rows_without_a_column(self, tmp_path):
        feed = csv_feed(
            tmp_path,
            "time,price\n2025-10-26 02:00,1\n2025-10-26 02:00,2\n2025-10-26 03:00,3\n",
            zone="Europe/Berlin",
            published="day ahead",
            published_at=time(12, 57),
        )
        series = (await feed.fetch(0, 0, 0.0))[Signal.PRICE]
        assert len(series.as_of(at("2025-10-25T10:56+00:00"))) == 0
        assert list(series.as_of(at("2025-10-25T10:57+00:00")).values) == [1, 2, 3]

    async def test_a_file_that_changes_is_read_again(self, tmp_path):
        feed = csv_feed(tmp_path, "time,price\n2026-03-10T00:00Z,1\n")
        assert len((await feed.fetch(0, 0, 0.0))[Signal.PRICE]) == 1
        (tmp_path / "prices.csv").write_text("time,price\n2026-03-10T00:00Z,1\n2026-03-10T01:00Z,2\n")
        assert len((await feed.fetch(0, 0, 0.0))[Signal.PRICE]) == 2

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("time,other\n2026-03-10T00:00Z,1\n", "no column 'price'; there is other, time"),
            ("time,price\n", "nothing"),
            ("time,price\n2026-03-10T00:00Z,1,2\n", "more or fewer fields"),
            ("time,price\n2026-03-10T00:00Z,much\n", "where a number should be"),
            ("time,price\n2026-03-10T00:00Z,inf\n", "says inf"),
            ("time,price\nyesterday,1\n", "where a time should be"),
            ("time,price\n2026-03-10T00:00Z,1\n2026-03-10T00:30Z,1\n", "between two intervals"),
            ("time,price\n2026-03-10T00:00Z,1\n2026-03-10T00:00Z,2\n", "two values"),
        ],
    )
    async def test_what_cannot_be_read_is_told_in_one_line(self, tmp_path, text, says):
        with pytest.raises(FeedError, match=says) as caught:
            await csv_feed(tmp_path, text).fetch(0, 0, 0.0)
        assert "\n" not in str(caught.value)

    async def test_a_file_that_is_not_there(self, tmp_path):
        feed = csv_feed(tmp_path, "time,price\n")
        (tmp_path / "prices.csv").unlink()
        with pytest.raises(FeedError, match=r"prices.csv cannot be read"):
            await feed.fetch(0, 0, 0.0)

    def test_only_files_of_series(self):
        with pytest.raises(ConfigError, match=r"ends in .csv or .parquet"):
            File(FileFeed(name="x", path="x.xlsx", columns=(PRICE,), resolution_s=3_600))


@pytest.mark.skipif(not DATA.is_dir(), reason=f"NO RECORDED SERIES: {DATA} is absent")
class TestRecorded:
    async def test_texas_in_february_2021_from_parquet(self):
        feed = File(
            FileFeed(
                name="ercot",
                path=str(DATA / "ercot_dam_hubavg_2020_2024.parquet"),
                time_column="time_utc",
                columns=(
                    ColumnSettings(
                        column="dam_hb_hubavg_usd_mwh", signal="price", unit="USD/MWh", currency="USD"
                    ),
                ),
                resolution_s=3_600,
                published="day ahead",
                published_at=time(13, 30),
            )
        )
        series = (await feed.fetch(0, 0, 0.0))[Signal.PRICE]
        february = series.hindsight(at("2021-02-15T00:00+00:00"), at("2021-02-20T00:00+00:00"))
        assert february.known.all()
        assert february.values.max() > 8_000
        assert len(series.as_of(at("2021-02-14T13:29+00:00"), at("2021-02-15T00:30+00:00"))) == 0

    async def test_one_zone_of_many_is_selected(self):
        feed = File(
            FileFeed(
                name="carbon",
                path=str(DATA / "carbon_intensity_hourly_2021_2024_odbl.parquet"),
                time_column="time_utc",
                columns=(ColumnSettings(column="ci_lca_g_kwh", signal="carbon average", unit="g/kWh"),),
                select={"zone": "DE-LU"},
                resolution_s=3_600,
            )
        )
        series = (await feed.fetch(0, 0, 0.0))[Signal.CARBON_AVERAGE].hindsight()
        assert len(series) == 35_064

    def test_the_shipped_table_is_what_its_script_makes(self, tmp_path, capsys):
        import importlib.util

        root = Path(__file__).resolve().parents[3]
        spec = importlib.util.spec_from_file_location("typical_days_tool", root / "tools" / "typical_days.py")
        tool = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(tool)
        tool.main(DATA)
        shipped = (root / "src" / "hashwerk" / "feeds" / "typical_days.csv").read_text(encoding="utf-8")
        assert capsys.readouterr().out == shipped


class TestTypical:
    async def test_a_typical_day_is_marked_as_such_in_every_value(self):
        feed = open_feed(TypicalFeed(name="typical", zone="DE-LU"), VirtualClock())
        start = at("2026-06-10T00:00+02:00")
        answer = await feed.fetch(start, start + 86_400, start)
        price = answer[Signal.PRICE].as_of(start)
        assert len(price) == 24
        assert (price.quality == Quality.TYPICAL).all()
        assert "typical day" in price.info.name
        assert "SMARD.de, CC BY 4.0" in price.info.source
        # A June in Germany: the sun makes noon cheap and the evening is dear.
        assert price.at(start + 13 * 3_600) < 10 < price.at(start + 20 * 3_600)
        carbon = answer[Signal.CARBON_AVERAGE].as_of(start)
        assert carbon.at(start + 13 * 3_600) < carbon.at(start + 22 * 3_600)

    async def test_hours_are_local_at_the_change_of_daylight_saving(self):
        feed = open_feed(TypicalFeed(name="typical", zone="DE-LU"), VirtualClock())
        start = at("2026-10-25T00:00+02:00")
        price = (await feed.fetch(start, start + 25 * 3_600, start))[Signal.PRICE].as_of(start)
        assert len(price) == 25
        assert price.values[2] == price.values[3]

    def test_every_zone_has_each_hour_of_each_month(self):
        assert {day.zone for day in typical_days()} == {"DE-LU", "FR", "NL", "NO2", "SE4", "US-ERCOT"}
        for day in typical_days():
            assert len(day.mean) == 12
            assert all(len(month) == 24 for month in day.mean)
            for low, mean, high in zip(day.low, day.mean, day.high, strict=True):
                assert all(one <= other for one, other in zip(low, high, strict=True))
                assert len(mean) == 24

    def test_a_zone_without_typical_days_is_named_with_those_that_exist(self):
        with pytest.raises(ConfigError, match="no typical days for 'XX'; there are DE-LU"):
            open_feed(TypicalFeed(name="typical", zone="XX"), VirtualClock())


class TestExtras:
    def test_a_library_that_is_absent_is_named_with_what_to_do(self, tmp_path):
        key = tmp_path / "key"
        key.write_text("k")
        for settings, package in (
            (EntsoeFeed(name="e", area="DE_LU", key_file=str(key)), "entsoe-py"),
            (GridstatusFeed(name="g", grid="ERCOT", location="HB_HUBAVG"), "gridstatus"),
        ):
            try:
                __import__("entsoe" if package == "entsoe-py" else package)
            except ImportError:
                with pytest.raises(ConfigError, match=f"pip install {package}"):
                    open_feed(settings, VirtualClock())

    @pytest.mark.parametrize("text", ["", None])
    def test_a_key_that_is_not_there_is_told_before_anything_is_asked(self, tmp_path, text):
        path = tmp_path / "key"
        if text is not None:
            path.write_text(text)
        with pytest.raises(ConfigError, match="key"):
            open_feed(EntsoeFeed(name="e", area="DE_LU", key_file=str(path)), VirtualClock())
