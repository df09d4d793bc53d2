"""The pages with the energy of a site, as a process of their own: real recorded days stand behind every figure.

    python energy_site.py [--case plain|rich|bare|extreme] [--port N]

Prices and carbon are recorded ones of ../shared/data, moved to today; machines are those of `hall_site`. Prints the page's URL
and the token for commands once it listens, and "ended" once every page is closed. SIGUSR1 takes feeds, meters and tariff away.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import importlib.util
import json
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType

import msgspec
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hashwerk.clock import Clock, SystemClock
from hashwerk.config.site import parse_site
from hashwerk.dispatch.orders import Order
from hashwerk.energy.sources import RULES
from hashwerk.site.energy.view import (
    BillLine,
    BillView,
    CleanView,
    EnergyView,
    FeedView,
    GroupPlan,
    GroupView,
    HourView,
    Moments,
    OrderView,
    PlanView,
    RuleView,
    SeriesView,
    SourcePower,
)
from hashwerk.site.fleet import FleetService
from hashwerk.site.fleet.token import local_token
from hashwerk.web.app import create_app
from hashwerk.web.energy_api import energy_router
from hashwerk.web.fleet_api import fleet_router
from hashwerk.web.server import serve_web
from hashwerk.web.state import MineView, Site

HERE = Path(__file__).parent
DATA = HERE.parents[1].parent / "shared" / "data"
HOUR_S = 3_600
ROOF_W = 420_000.0
#: Name, machines, watts of one, euro a MWh above which it sleeps.
GROUPS = (
    ("S21 hydro, A", 120, 5_360.0, 128.0),
    ("M60S, B", 160, 3_441.0, 104.0),
    ("S19j Pro, C", 150, 2_970.0, 81.0),
    ("Avalon Q, D", 70, 1_403.0, 62.0),
)


def hourly(file: str, column: str, first: datetime.datetime, hours: int, **where: str) -> list[float | None]:
    """Return recorded hours; None where there is no record."""
    table = pq.read_table(DATA / file)
    last = first + datetime.timedelta(hours=hours)
    within = pc.and_(pc.greater_equal(table["time_utc"], first), pc.less(table["time_utc"], last))
    for name, value in where.items():
        within = pc.and_(within, pc.equal(table[name].cast("string"), value))
    table = table.filter(within)
    known = {
        at.timestamp(): value
        for at, value in zip(table["time_utc"].to_pylist(), table[column].to_pylist(), strict=True)
    }
    return [known.get(first.timestamp() + hour * HOUR_S) for hour in range(hours)]


class RecordedEnergy:
    """Answers as the running energy would: recorded prices and carbon, and the merit order they give."""

    def __init__(self, clock: Clock, case: str = "rich") -> None:
        self.clock = clock
        self.case = case
        self.received: list[Order] = []
        self.cancelled: list[str] = []
        today = datetime.datetime.fromtimestamp(clock.time(), datetime.UTC).replace(
            hour=0, minute=0, second=0, microsecond=0
        )
        self.first_s = int(today.timestamp()) - 24 * HOUR_S
        self.starts_s = tuple(self.first_s + hour * HOUR_S for hour in range(72))
        if case == "extreme":
            # The Texan days of February 2021, at 9,000 USD/MWh, and a negative hour of the year's first spring.
            first = datetime.datetime(2021, 2, 14, tzinfo=datetime.UTC)
            prices = hourly("ercot_dam_hubavg_2020_2024.parquet", "dam_hb_hubavg_usd_mwh", first, 71)
            self.prices: tuple[float | None, ...] = (*prices, -500.0)
        else:
            # Around 11 May 2025: far below zero at noon, dear in the evening.
            first = datetime.datetime(2025, 5, 10, tzinfo=datetime.UTC)
            self.prices = tuple(hourly("smard_prices_2025.parquet", "price_de_lu_eur_mwh", first, 72))
        carbon_first = datetime.datetime(2024, 5, 11, tzinfo=datetime.UTC)
        self.carbon = tuple(
            hourly(
                "carbon_intensity_hourly_2021_2024_odbl.parquet",
                "ci_lca_g_kwh",
                carbon_first,
                72,
                zone="DE-LU",
            )
        )
        solar = hourly(
            "smard_de_generation_2025.parquet",
            "solar_mw",
            datetime.datetime(2025, 5, 10, tzinfo=datetime.UTC),
            72,
        )
        top = max(value or 0.0 for value in solar)
        self.solar_w = tuple((value or 0.0) / top * ROOF_W for value in solar)

    def price_at(self, at_s: float) -> float | None:
        return self.prices[int((at_s - self.first_s) // HOUR_S)]

    def running(self, group: int, at_s: float) -> float:
        price = self.price_at(at_s)
        _, machines, _, strike = GROUPS[group]
        if price is None or price <= strike:
            return float(machines)
        return float(machines // 3) if price <= strike * 1.08 else 0.0

    def load_w(self, at_s: float) -> float:
        return sum(self.running(number, at_s) * group[2] for number, group in enumerate(GROUPS))

    def own_w(self, at_s: float) -> tuple[float, float]:
        """Return what roof and engine give: the engine runs while power is dear."""
        roof_w = self.solar_w[int((at_s - self.first_s) // HOUR_S)]
        return roof_w, 90_000.0 if (self.price_at(at_s) or 0.0) > 60 else 0.0

    def import_w(self, at_s: float) -> float:
        return max(0.0, self.load_w(at_s) - sum(self.own_w(at_s)))

    def series(
        self, name: str, unit: str, source: str, values: tuple[float | None, ...], now: float
    ) -> SeriesView:
        return SeriesView(
            name=name,
            unit=unit,
            source=source,
            resolution_s=HOUR_S,
            starts_s=self.starts_s,
            values=values,
            is_typical=self.case == "typical",
            forecast_from_s=float(now // HOUR_S * HOUR_S + 12 * HOUR_S),
        )

    def plan(self, now: float) -> PlanView:
        begin = now // 300 * 300
        starts = [begin + 300 * step for step in range(72)] + [
            begin + 21_600 + 900 * step for step in range(96)
        ]
        ends = [*starts[1:], starts[-1] + 900]
        starts, ends = map(
            list,
            zip(*((a, b) for a, b in zip(starts, ends, strict=True) if b <= self.starts_s[-1]), strict=True),
        )
        groups = tuple(
            GroupPlan(
                name=name,
                running=tuple(self.running(number, at) for at in starts),
                power_w=tuple(self.running(number, at) * power_w for at in starts),
            )
            for number, (name, _, power_w, _) in enumerate(GROUPS)
        )
        load = tuple(self.load_w(at) for at in starts)
        return PlanView(
            made_s=begin,
            origin="optimiser",
            policy="optimiser",
            took_s=0.14,
            starts_s=tuple(starts),
            ends_s=tuple(ends),
            load_w=load,
            import_w=tuple(self.import_w(at) for at in starts),
            price_per_mwh=tuple((self.price_at(at) or 0.0) + 21.5 for at in starts),
            groups=groups,
            margin="1834.20",
            remarks=("no grid fees of next month are known yet",),
        )

    def groups(self, now: float) -> tuple[GroupView, ...]:
        shown = f"{self.price_at(now) or 0.0:.1f}"
        found = []
        for number, (name, machines, power_w, strike) in enumerate(GROUPS):
            on = int(self.running(number, now))
            action = "runs" if on == machines else "sleeps" if on == 0 else "runs in part"
            why = f"price {shown} €/MWh is {'below' if on else 'above'} its {strike:.0f}."
            found.append(
                GroupView(
                    name=name,
                    machines=machines,
                    running=on,
                    power_w=on * power_w * 1.004 + (machines - on) * 12,
                    wanted_w=on * power_w,
                    strike_per_mwh=strike,
                    action=action,
                    sentence=f"{'All run' if on == machines else f'{machines - on} sleep'}: {why}",
                )
            )
        return tuple(found)

    def view(self) -> EnergyView:
        now = self.clock.time()
        if self.case == "bare":
            return bare(now)
        load_w, price = self.load_w(now), self.price_at(now)
        shown = "–" if price is None else f"{price:.1f}"
        asleep = sum(group[1] for group in GROUPS) - sum(
            self.running(number, now) for number in range(len(GROUPS))
        )
        is_typical = self.case == "typical"
        revenue, cost = load_w / 1e6 * 121.4, load_w * 0.8 / 1e6 * ((price or 0.0) + 21.5)
        return EnergyView(
            at_s=now,
            is_simulation=is_typical,
            sentence=f"{asleep:,.0f} of 500 machines sleep: price {shown} €/MWh is above theirs; they wake when it falls."
            if asleep
            else f"All 500 machines run: price {shown} €/MWh is below what they earn.",
            policy="optimiser",
            controls=self.case != "typical",
            stance="free",
            reasons=(),
            currency="EUR",
            price_per_mwh=None if price is None else price + 21.5,
            hashprice_per_ph_day=44.12,
            hashprice_from="from difficulty 126.4 T, fees of 144 blocks (1.8 % of the subsidy) and 96,412 EUR a coin at Kraken",
            setpoint_w=self.import_w(now),
            measured_w=self.import_w(now) * 1.004,
            measured_by="meter site",
            revenue_per_h=f"{revenue:.2f}",
            cost_per_h=f"{cost:.2f}",
            margin_per_h=f"{revenue - cost:.2f}",
            price=self.series(
                "price", "EUR/MWh", "Bundesnetzagentur | SMARD.de, CC BY 4.0, 2025", self.prices, now
            ),
            carbon=self.series("carbon", "g/kWh", "Electricity Maps, ODbL 1.0, 2024", self.carbon, now),
            sources=(
                SourcePower(name="roof", fuel="solar", is_clean=True, power_w=self.own_w(now)[0]),
                SourcePower(name="engine", fuel="gas", is_clean=False, power_w=self.own_w(now)[1]),
                SourcePower(name="grid", fuel="mix", is_clean=None, power_w=self.import_w(now) * 1.004),
            ),
            groups=self.groups(now),
            plan=self.plan(now),
            orders=tuple(order for order in orders(now) if order.id not in self.cancelled),
            bill=bill(now),
            clean=CleanView(
                since_s=now - 20 * 86_400,
                until_s=now,
                rule="own-first/1",
                is_declared_before=True,
                hourly_matched=0.412,
                carbon_free=0.688,
                g_per_kwh=214.0,
                rules=(
                    RuleView(
                        rule="own-first/1",
                        words=RULES["own-first/1"],
                        order=("roof",),
                        sources=("roof (own, solar)", "engine (own, gas)"),
                        factors="IPCC 2014, life cycle",
                        factors_source="IPCC AR5 WG III, annex III, medians",
                        declared_s=now - 20 * 86_400 - 1_200,
                        since_s=now - 20 * 86_400,
                        until_s=None,
                    ),
                ),
                hours=tuple(
                    HourView(
                        start_s=now // HOUR_S * HOUR_S - HOUR_S * back,
                        covered_s=HOUR_S if back != 3 else HOUR_S - 900,
                        load_wh=1_204_100 + 1_000 * back,
                        by_source={"roof": 412_000, "engine": 90_100, "grid": 702_000 + 1_000 * back},
                        rule="own-first/1",
                        g_per_kwh=214.0 + back,
                    )
                    for back in range(1, 25)
                ),
            ),
            feeds=(
                FeedView(
                    name="day-ahead", state="good", text="prices until tomorrow 22:00", since_s=now - 3_600
                ),
                FeedView(
                    name="carbon",
                    state="stale",
                    text="says nothing new for 3 h",
                    since_s=now - 10_800,
                    instead="the typical day of the month",
                ),
            ),
            meters=(FeedView(name="site", state="good", text="1,204.1 kW, 2 s ago", since_s=now - 2),),
            assumptions=("grid fees, taxes and levies on each MWh: 21.5 EUR", "the pool pays full rewards"),
        )

    async def history(self, start_s: float, stop_s: float, step_s: float) -> Moments:
        at = [
            start_s // step_s * step_s + step_s * number
            for number in range(int((stop_s - start_s) // step_s))
        ]
        known = [when >= self.first_s and not 9.0 <= (stop_s - when) / HOUR_S < 10.5 for when in at]
        load = [self.import_w(when) if when >= self.first_s else None for when in at]
        return Moments(
            at_s=tuple(at),
            measured_w=tuple(
                None
                if watts is None or not is_known
                else watts * (1.004 + 0.006 * ((number * 7) % 5 - 2) / 2)
                for number, (watts, is_known) in enumerate(zip(load, known, strict=True))
            ),
            setpoint_w=tuple(load),
            price_per_mwh=tuple(None for _ in at),
            hashrate_hs=tuple(None for _ in at),
            sources={
                name: tuple(self.own_w(when)[number] if when >= self.first_s else None for when in at)
                for number, name in enumerate(("roof", "engine"))
            },
        )

    # As the API asks of the running energy

    def receive(self, order: Order) -> OrderView:
        self.received.append(order)
        return msgspec.structs.replace(orders(self.clock.time())[0], id=order.id, laggards=())

    def cancel(self, order_id: str) -> OrderView | None:
        self.cancelled.append(order_id)
        return orders(self.clock.time())[0]

    def orders(self) -> tuple[OrderView, ...]:
        return self.view().orders


def orders(now: float) -> tuple[OrderView, ...]:
    active = OrderView(
        id="event-7",
        source="openadr:grid",
        kind="reduce to",
        received_s=now - 400,
        start_s=now - 300,
        stop_s=now + 1_500,
        amount_w=900_000.0,
        baseline="meter before",
        baseline_w=1_390_000.0,
        target_w=900_000.0,
        import_w=914_000.0,
        delivered_w=476_000.0,
        state="active",
        reached_s=now - 252,
        laggards=("10.20.0.17 still draws 5.3 kW: it reports a fault; switch it off at breaker B3",),
    )
    over = msgspec.structs.replace(
        active,
        id="event-6",
        kind="reduce by",
        start_s=now - 90_000,
        stop_s=now - 88_200,
        state="over",
        laggards=(),
        settlement={"delivered_kwh": "241.2", "of ordered": "98.6 %"},
    )
    return (active, over)


def bill(now: float) -> BillView:
    return BillView(
        tariff="de-day-ahead",
        currency="EUR",
        since_s=now - 20 * 86_400,
        until_s=now,
        import_wh=512_400_000,
        peak_w=1_412_000.0,
        lines=(
            BillLine(text="energy at the day-ahead price", quantity="512.4 MWh", amount="31022.18"),
            BillLine(text="grid fee, energy", quantity="512.4 MWh", amount="7891.96"),
            BillLine(text="grid fee, demand", quantity="1,412 kW", amount="11296.00"),
            BillLine(text="electricity tax, reduced", quantity="512.4 MWh", amount="256.20"),
        ),
        total="50466.34",
        missing=("3 quarters of an hour have no reading",),
    )


def bare(now: float) -> EnergyView:
    """Return a site with a fleet and nothing else: no feed, no meter, no tariff."""
    return EnergyView(
        at_s=now,
        is_simulation=False,
        sentence="There is no plan: no price is known; machines stay as they are.",
        policy="optimiser",
        controls=False,
        stance="free",
        reasons=(),
        currency="EUR",
        price_per_mwh=None,
        hashprice_per_ph_day=None,
        hashprice_from="no feed tells difficulty and the coin's price",
        setpoint_w=None,
        measured_w=None,
        measured_by="machines' own reports",
        revenue_per_h=None,
        cost_per_h=None,
        margin_per_h=None,
        price=None,
        carbon=None,
        sources=(),
        groups=(),
        plan=None,
        orders=(),
        bill=None,
        clean=None,
        feeds=(),
        meters=(),
    )


def load_beside(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


async def serve(folder: Path, case: str, port: int) -> None:
    loop, shutdown, clock = asyncio.get_running_loop(), asyncio.Event(), SystemClock()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, shutdown.set)
    hall_site, web_site = load_beside("hall_site"), load_beside("web_site")
    config = parse_site(hall_site.SITE.format(scale=1, poll_s=20, last=1))
    hall = hall_site.Hall(500)
    fleet = FleetService(
        config.fleet,
        folder / "fleet.sqlite",
        clock,
        drivers=[hall],
        site=config.site.name,
        meters=[hall_site.HallMeter(hall)],
        channels=(),
    )
    fleet.open()
    hall_site.furnish(fleet, hall)
    energy, token = RecordedEnergy(clock, case), local_token(folder)
    loop.add_signal_handler(signal.SIGUSR1, lambda: setattr(energy, "case", "bare"))
    view = MineView(web_site.SampleLedger(time.time()), clock)
    settings = msgspec.structs.replace(config.web, port=port, title=config.site.name)
    app = create_app(
        view,
        settings,
        clock,
        session_key=bytes(32),
        routers=[
            fleet_router(fleet, is_guarded=False, local_token=token),
            energy_router(energy, clock, is_guarded=False, local_token=token),  # type: ignore[arg-type]
        ],
        site=Site(fleet=fleet, config=config, energy=energy),  # type: ignore[arg-type]
    )

    async def report() -> None:
        while True:
            view.receive(web_site.sample(time.time()))
            await asyncio.sleep(1.0)

    tasks = [asyncio.create_task(fleet.run()), asyncio.create_task(report())]
    said = lambda url: print(json.dumps({"url": url, "token": token}), flush=True)  # noqa: E731
    await serve_web(app, settings, shutdown, said)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await fleet.close()
    print("ended", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--case", default="rich")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(serve(Path(folder), options.case, options.port))


if __name__ == "__main__":
    main()
