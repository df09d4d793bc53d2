"""Tariffs as data: bills that people worked out by hand, to the cent, and clear words where a tariff has a hole."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pytest

from hashwerk.energy.bill import make_bill
from hashwerk.energy.series import Aggregate, Gap, SeriesInfo, make_series
from hashwerk.energy.tariff import TariffError, load_tariff, read_tariff, shipped_tariffs
from hashwerk.energy.tariff_price import demand_terms, prices_ahead
from hashwerk.energy.usage import BillingFacts, Usage, usage_of

QUARTER = 900


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).astimezone(UTC).timestamp())


def flat(start: str, hours: int, power_w: int, *, export_w: int = 0) -> Usage:
    count = hours * 4
    return Usage(
        start_s=at(start),
        interval_s=QUARTER,
        import_wh=np.full(count, power_w // 4, dtype=np.int64),
        export_wh=np.full(count, export_w // 4, dtype=np.int64),
    )


def market(start: str, prices: list[float | None]) -> object:
    info = SeriesInfo(name="day-ahead", unit="EUR/MWh", resolution_s=3_600, source="test", currency="EUR")
    begin = at(start)
    return make_series(info, begin + 3_600 * np.arange(len(prices)), prices, published_s=0)


def test_every_shipped_tariff_gives_each_hour_one_price():
    assert len(shipped_tariffs()) == 5
    for name in shipped_tariffs():
        assert load_tariff(name).source


class TestHydroQuebec:
    def test_ten_megawatts_flat_for_thirty_days(self):
        usage = flat("2024-06-01T00:00-04:00", 720, 10_000_000)
        bill = make_bill(load_tariff("hydro-quebec-cb-large"), usage)
        assert bill.amount("energy") == Decimal("289800.00")  # 7,200,000 kWh at 4.025 cents
        assert bill.amount("power demand") == Decimal("154260.00")  # 10,000 kW at 15.426
        assert bill.total == Decimal("444060.00")

    def test_a_month_of_31_days_pays_for_power_by_the_day(self):
        usage = flat("2024-07-01T00:00-04:00", 744, 10_000_000)
        bill = make_bill(load_tariff("hydro-quebec-cb-large"), usage)
        assert bill.amount("power demand") == Decimal("159402.00")  # 154,260 · 31/30

    def test_consumption_in_a_curtailment_beyond_a_twentieth_has_its_own_price(self):
        usage = flat("2024-12-01T00:00-05:00", 720, 10_000_000)
        begin = at("2024-12-10T17:00-05:00")
        facts = BillingFacts(curtailments=(Gap(begin, begin + 4 * 3_600),), peak_12_months_w=10_000_000)
        bill = make_bill(load_tariff("hydro-quebec-cb-large"), usage, facts)
        # 4 h at 9.5 MW beyond 0.5 MW: 38,000 kWh at 58.168 cents, taken out of the rest.
        assert bill.amount("consumption above 5 % while curtailed") == Decimal("22103.84")
        assert bill.amount("energy") == Decimal("288270.50")

    def test_beyond_the_authorised_power_energy_is_dear(self):
        usage = flat("2024-06-01T00:00-04:00", 720, 10_000_000)
        bill = make_bill(load_tariff("hydro-quebec-cb-large"), usage, BillingFacts(authorised_w=8_000_000))
        assert bill.amount("unauthorized consumption") == Decimal("251280.00")  # 1,440,000 kWh at 17.45 cents
        assert bill.amount("energy") == Decimal("231840.00")

    def test_medium_power_has_blocks(self):
        usage = flat("2024-06-01T00:00-04:00", 720, 1_000_000)
        bill = make_bill(load_tariff("hydro-quebec-cb-medium"), usage)
        assert [line.amount for line in bill.lines] == [
            Decimal("12287.10"),  # 210,000 kWh at 5.851 cents
            Decimal("22128.90"),  # 510,000 kWh at 4.339 cents
            Decimal("16962.00"),  # 1,000 kW
        ]

    def test_a_curtailment_without_the_years_peak_cannot_be_billed(self):
        usage = flat("2024-06-01T00:00-04:00", 24, 10_000_000)
        facts = BillingFacts(curtailments=(Gap(usage.start_s, usage.start_s + 3_600),))
        with pytest.raises(TariffError, match="highest power of the last 12 months"):
            make_bill(load_tariff("hydro-quebec-cb-large"), usage, facts)

    def test_before_its_time_a_tariff_makes_no_bill(self):
        with pytest.raises(TariffError, match="holds from 2024-04-01 on, not from 2024-03-31"):
            make_bill(load_tariff("hydro-quebec-cb-large"), flat("2024-03-31T00:00-04:00", 48, 1_000))


class TestGermany:
    #: One hour each: 1 MW at four prices, one of them negative.
    PRICES = (100.0, 50.0, -20.0, 0.0)

    def test_four_hours_by_hand(self):
        usage = flat("2025-03-03T00:00+01:00", 4, 1_000_000)
        bill = make_bill(
            load_tariff("germany-day-ahead-2025"),
            usage,
            market=market("2025-03-03T00:00+01:00", list(self.PRICES)),
        )
        assert bill.amount("energy, day-ahead") == Decimal("144.00")  # 130 + 4 · 3.50
        assert bill.amount("network, work") == Decimal("40.80")
        assert bill.amount("network, power") == Decimal("54.25")  # 1,000 kW · 118.80 · (4/24)/365
        assert bill.amount("concession fee") == Decimal("4.40")
        assert bill.amount("levy for combined heat and power") == Decimal("11.08")
        assert bill.amount("offshore levy") == Decimal("32.64")
        assert bill.amount("levy for special use of the network") == Decimal("62.32")
        assert bill.amount("electricity tax") == Decimal("82.00")
        assert bill.amount("VAT") == Decimal("81.98")  # 19 % of 431.49
        assert bill.total == Decimal("513.47")

    def test_the_levy_falls_after_a_gigawatt_hour_of_the_year(self):
        usage = flat("2025-03-03T00:00+01:00", 4, 1_000_000)
        bill = make_bill(
            load_tariff("germany-day-ahead-2025"),
            usage,
            BillingFacts(year_to_date_kwh=Decimal(999_000)),
            market=market("2025-03-03T00:00+01:00", list(self.PRICES)),
        )
        # 1,000 kWh at 1.558 ct and 3,000 kWh at 0.05 ct.
        assert bill.amount("levy for special use of the network") == Decimal("17.08")

    def test_feeding_in_earns_the_market_less_a_fee(self):
        usage = flat("2025-03-03T00:00+01:00", 4, 0, export_w=1_000_000)
        bill = make_bill(
            load_tariff("germany-day-ahead-2025"),
            usage,
            market=market("2025-03-03T00:00+01:00", list(self.PRICES)),
        )
        assert bill.amount("feed-in") == Decimal("-122.00")  # 130 − 4 · 2
        assert bill.total == Decimal("-122.00")

    def test_a_missing_price_is_named_in_local_time(self):
        with pytest.raises(TariffError, match="no price for 4 intervals, first 2025-03-03 02:00 CET"):
            make_bill(
                load_tariff("germany-day-ahead-2025"),
                flat("2025-03-03T00:00+01:00", 4, 1_000),
                market=market("2025-03-03T00:00+01:00", [1.0, 1.0, None, 1.0]),
            )

    def test_prices_of_a_plan_agree_with_the_bill_of_the_next_kwh(self):
        tariff = load_tariff("germany-day-ahead-2025")
        series = market("2025-03-03T00:00+01:00", list(self.PRICES))
        starts = at("2025-03-03T00:00+01:00") + 3_600 * np.arange(4)
        ahead = prices_ahead(tariff, starts, starts + 3_600, market=series)
        one, two = (
            sum(
                line.amount
                for line in make_bill(tariff, flat("2025-03-03T00:00+01:00", 1, power_w), market=series).lines
                if line.component not in {"network, power", "VAT"}
            )
            for power_w in (100_000_000, 200_000_000)
        )
        per_mwh = float(two - one) / 100 * 1.19
        assert ahead.buy_per_mwh[0] == pytest.approx(per_mwh, abs=0.01)
        assert list(ahead.sell_per_mwh) == [98.0, 48.0, -22.0, -2.0]
        terms = demand_terms(tariff, starts)
        assert terms[0].price_per_kw == pytest.approx(118.80 * 30 / 365 * 1.19)

    def test_a_plan_marks_hours_without_a_price(self):
        starts = at("2025-03-03T00:00+01:00") + 3_600 * np.arange(2)
        ahead = prices_ahead(
            load_tariff("germany-day-ahead-2025"),
            starts,
            starts + 3_600,
            market=market("2025-03-03T00:00+01:00", [1.0, None]),
        )
        assert list(np.isnan(ahead.buy_or_nan)) == [False, True]


class TestSichuan:
    def test_a_day_of_the_wet_season_by_hand(self):
        bill = make_bill(load_tariff("sichuan-time-of-use"), flat("2024-06-10T00:00+08:00", 24, 1_000_000))
        # 0.38 flat; 8 h peak at 0.608, 8 h flat, 8 h valley at 0.152; 1,000 kW of capacity at 33.
        assert bill.amount("energy") == Decimal("4864.00") + Decimal("3040.00") + Decimal("1216.00")
        assert bill.amount("capacity") == Decimal("33000.00")

    def test_july_has_two_critical_hours(self):
        bill = make_bill(load_tariff("sichuan-time-of-use"), flat("2024-07-10T00:00+08:00", 24, 1_000_000))
        critical = [line for line in bill.lines if "critical" in line.text]
        assert [line.amount for line in critical] == [Decimal("1459.20")]  # 2,000 kWh at 0.7296

    def test_the_dry_season_costs_more_than_the_wet(self):
        tariff = load_tariff("sichuan-time-of-use")
        wet = make_bill(tariff, flat("2024-09-10T00:00+08:00", 24, 1_000_000)).amount("energy")
        dry = make_bill(tariff, flat("2024-03-10T00:00+08:00", 24, 1_000_000)).amount("energy")
        assert dry / wet == Decimal("1.245") / Decimal("0.76")

    def test_the_surcharge_is_on_the_whole_account_by_mean_days(self):
        usage = flat("2024-06-01T00:00+08:00", 720, 1_000_000)
        facts = BillingFacts(account_from=date(2024, 6, 21))
        bill = make_bill(load_tariff("sichuan-time-of-use"), usage, facts)
        # 720,000 kWh in 30 days, 10 of them with the surcharge, at 2 CNY.
        assert bill.amount("differential price for mining") == Decimal("480000.00")

    def test_the_surcharge_counts_mean_days_whatever_the_meter_showed_on_them(self):
        usage = flat("2024-06-01T00:00+08:00", 720, 1_000_000)
        idle = usage.import_wh.copy()
        idle[20 * 96 :] = 0
        stopped = Usage(start_s=usage.start_s, interval_s=QUARTER, import_wh=idle)
        bill = make_bill(
            load_tariff("sichuan-time-of-use"), stopped, BillingFacts(account_from=date(2024, 6, 21))
        )
        assert bill.amount("differential price for mining") == Decimal("320000.00")  # 480,000 kWh / 3 · 2

    def test_a_surcharge_that_began_before_is_on_every_kwh(self):
        usage = flat("2024-06-01T00:00+08:00", 720, 1_000_000)
        facts = BillingFacts(account_from=date(2022, 4, 15))
        bill = make_bill(load_tariff("sichuan-time-of-use"), usage, facts)
        assert bill.amount("differential price for mining") == Decimal("1440000.00")


class TestKazakhstan:
    @pytest.mark.parametrize(
        ("circumstances", "fee"),
        [
            ((), "7"),  # 18 KZT paid: 25 − 18
            (("own power",), "10"),
            (("own renewables",), "1"),
            (("no meter",), "25"),
            (("own renewables", "own power"), "10"),  # of several the highest
            (("own renewables", "no meter"), "25"),
        ],
    )
    def test_the_fee_of_a_megawatt_for_a_day(self, circumstances, fee):
        usage = flat("2024-06-10T00:00+05:00", 24, 1_000_000)
        facts = BillingFacts(circumstances=frozenset(circumstances))
        bill = make_bill(load_tariff("kazakhstan-mining-2023"), usage, facts)
        assert bill.amount("energy") == Decimal("432000.00")
        assert bill.amount("fee for digital mining") == 24_000 * Decimal(fee)

    def test_an_unknown_circumstance_is_refused(self):
        with pytest.raises(TariffError, match="knows no circumstance 'friendly'"):
            make_bill(
                load_tariff("kazakhstan-mining-2023"),
                flat("2024-06-10T00:00+05:00", 24, 1_000),
                BillingFacts(circumstances=frozenset({"friendly"})),
            )


HEAD = """
name = "test"
currency = "EUR"
zone = "Europe/Berlin"
source = "test"
valid_from = 2020-01-01
"""


def energy(*rates: str) -> str:
    return HEAD + '[[components]]\nkind = "energy"\nname = "energy"\nrates = [' + ",".join(rates) + "]\n"


class TestHoles:
    def test_a_tariff_without_an_hour_is_refused_and_the_hour_is_named(self):
        text = energy(
            '{name="day", per_kwh="0.2", when={hours=["07:00-22:00"]}}',
            '{name="night", per_kwh="0.1", when={hours=["22:00-06:00"]}}',
        )
        with pytest.raises(TariffError, match="says nothing about 06:00 on a mon in month 1"):
            read_tariff(text, "test")

    def test_an_hour_with_two_prices_is_refused(self):
        text = energy('{name="all", per_kwh="0.2"}', '{name="sunday", per_kwh="0.1", when={days=["sun"]}}')
        with pytest.raises(TariffError, match="has 2 prices for 00:00 on a sun in month 1"):
            read_tariff(text, "test")

    def test_a_holiday_without_a_price_is_found(self):
        text = "holidays = [2025-12-25]\n" + energy(
            '{name="work", per_kwh="0.2", when={days=["mon","tue","wed","thu","fri"], holidays=false}}',
            '{name="weekend", per_kwh="0.1", when={days=["sat","sun"]}}',
        )
        with pytest.raises(TariffError, match="says nothing about 00:00 on a mon that is a holiday"):
            read_tariff(text, "test")

    @pytest.mark.parametrize(
        "rates",
        [
            ('{name="a", per_kwh="1", up_to_kwh=10}', '{name="b", per_kwh="1", above_kwh=20}'),
            ('{name="a", per_kwh="1", up_to_kwh=10}',),
        ],
    )
    def test_blocks_leave_no_gap_and_have_an_end(self, rates):
        with pytest.raises(TariffError, match="blocks"):
            read_tariff(energy(*rates), "test")

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("name = 1", "cannot be read"),
            ("not toml", "cannot be read"),
            (energy('{name="a", per_kwh="1", when={hours=["7-8"]}}'), "span of hours"),
            (energy('{name="a", per_kwh="1", when={hours=["07:00-25:00"]}}'), "no such time"),
            (energy('{name="a", per_kwh="1"}').replace("Europe/Berlin", "Europe/Atlantis"), "time zone"),
            (
                energy('{name="a", per_kwh="1"}')
                + '[[components]]\nkind="percent"\nname="VAT"\npercent=19\non=["x"]',
                "'x'",
            ),
            (
                energy('{name="a", per_kwh="1"}')
                + '[[components]]\nkind="demand"\nname="p"\nper_kw=1\ninterval_min=7',
                "7 min",
            ),
        ],
    )
    def test_what_cannot_be_used_is_told_in_one_line(self, text, says):
        with pytest.raises(Exception, match=says) as caught:
            read_tariff(text, "test")
        assert "\n" not in str(caught.value)

    def test_an_interval_across_two_times_of_use_is_not_divided_by_guess(self):
        text = energy(
            '{name="day", per_kwh="0.2", when={hours=["06:30-22:00"]}}',
            '{name="night", per_kwh="0.1", when={hours=["22:00-06:30"]}}',
        )
        usage = Usage(start_s=at("2025-01-06T00:00+01:00"), interval_s=3_600, import_wh=np.full(24, 1_000))
        with pytest.raises(TariffError, match="from 2025-01-06 06:00 CET lies in two times of use"):
            make_bill(read_tariff(text, "test"), usage)

    def test_unknown_tariffs_are_named_with_those_that_exist(self):
        with pytest.raises(TariffError, match=r"shipped ones are .*sichuan-time-of-use"):
            load_tariff("nowhere.toml")


class TestPower:
    def test_the_peak_is_the_highest_mean_over_the_tariffs_interval(self):
        text = HEAD + '[[components]]\nkind="demand"\nname="p"\nper_kw=10\ninterval_min=30\n'
        wh = np.zeros(288, dtype=np.int64)
        wh[6:12] = 1_000  # 12 kW for half an hour from 00:30
        wh[100] = 4_000  # 48 kW for five minutes: 8 kW over half an hour
        usage = Usage(start_s=at("2025-01-06T00:00+01:00"), interval_s=300, import_wh=wh)
        bill = make_bill(read_tariff(text, "test"), usage)
        assert bill.peak_kw == 12
        assert bill.total == Decimal("120.00")

    def test_a_ratchet_bills_a_part_of_an_older_peak(self):
        text = HEAD + '[[components]]\nkind="demand"\nname="p"\nper_kw=10\nratchet_share="0.8"\n'
        usage = flat("2025-01-06T00:00+01:00", 24, 50_000)
        bill = make_bill(read_tariff(text, "test"), usage, BillingFacts(peak_12_months_w=100_000))
        assert bill.total == Decimal("800.00")

    def test_peaks_within_an_hour_are_not_known_from_hours(self):
        text = HEAD + '[[components]]\nkind="demand"\nname="p"\nper_kw=10\n'
        usage = Usage(start_s=at("2025-01-06T00:00+01:00"), interval_s=3_600, import_wh=np.full(24, 1_000))
        with pytest.raises(TariffError, match="15 min cannot be made from intervals of 3600 s"):
            make_bill(read_tariff(text, "test"), usage)

    def test_coincident_peaks_charge_the_mean_of_what_was_taken_in_them(self):
        text = HEAD + '[[components]]\nkind="coincident"\nname="4CP"\nper_kw=5\n'
        usage = flat("2025-07-01T00:00+02:00", 48, 10_000_000)
        wh = usage.import_wh.copy()
        wh[60] = 0
        usage = Usage(start_s=usage.start_s, interval_s=QUARTER, import_wh=wh)
        spans = tuple(Gap(usage.start_s + n * QUARTER, usage.start_s + (n + 1) * QUARTER) for n in (60, 150))
        bill = make_bill(read_tariff(text, "test"), usage, BillingFacts(coincident_peaks=spans))
        assert bill.total == Decimal("25000.00")  # (0 + 10,000)/2 kW

    def test_a_summer_time_day_has_25_hours_and_each_is_billed_once(self):
        text = energy(
            '{name="day", per_kwh="0.20", when={hours=["06:00-22:00"]}}',
            '{name="night", per_kwh="0.10", when={hours=["22:00-06:00"]}}',
        )
        bill = make_bill(read_tariff(text, "test"), flat("2025-10-26T00:00+02:00", 25, 1_000_000))
        assert [line.quantity for line in bill.lines] == [16_000, 9_000]


class TestUsage:
    INFO = SeriesInfo(name="site meter", unit="Wh", resolution_s=900, source="meter", aggregate=Aggregate.SUM)

    def test_a_bill_is_not_made_from_what_is_not_known(self):
        series = make_series(self.INFO, np.arange(4) * 900, [1.0, None, 1.0, 1.0], published_s=0)
        with pytest.raises(
            TariffError, match=r"site meter lacks 0.25 h of the period, first at 1970-01-01T00:15Z"
        ):
            usage_of(series, 0, 3_600)

    def test_energy_comes_whole(self):
        series = make_series(self.INFO, np.arange(4) * 900, [1.0, 2.0, 3.0, 4.0], published_s=0)
        assert list(usage_of(series, 0, 3_600).import_wh) == [1, 2, 3, 4]
