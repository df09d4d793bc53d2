"""The fleet for Prometheus. A value that is not known is left out, never written as 0."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from hashwerk.site.fleet import FleetService
    from hashwerk.site.fleet.view import FleetColumns, FleetView


class FleetCollector(Collector):
    """Turns the present into metric families, each time it is asked."""

    def __init__(self, service: FleetService) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        """Yield every family."""
        view = self._service.view()
        yield from _sums(view)
        yield _counted("hashwerk_fleet_machines", "Machines, by state.", "state", view.by_state)
        alerts = Counter(alert.kind.value for alert in self._service.alerts())
        yield _counted("hashwerk_fleet_alerts", "Open alerts, by cause.", "kind", alerts)
        orders = Counter(
            order.state.value for order in self._service.commander.orders.values() if order.is_open
        )
        yield _counted("hashwerk_fleet_orders", "Open orders, by state.", "state", orders)
        yield from _machines(self._service.columns())


def _sums(view: FleetView) -> Iterator[Metric]:
    power = GaugeMetricFamily(
        "hashwerk_fleet_power_watts",
        "Power of the fleet: the site's meter, or the sum of what is believed of each machine.",
        labels=["basis"],
    )
    if view.power_w is not None:
        power.add_metric(["meter" if view.power_is_metered else "believed"], view.power_w)
    yield power
    for name, words, value in (
        ("power_unknown_machines", "Machines whose power nobody knows.", float(view.power_unknown)),
        ("reported_hashrate_hashes_per_second", "What all machines say they hash.", view.reported_hs),
        ("measured_hashrate_hashes_per_second", "What their shares show.", view.measured_hs),
        ("stale_machines", "Machines not heard of for three polls.", float(view.stale)),
        ("control", "1 where commands are sent at all.", float(view.control)),
        ("simulation", "1 where machines are simulated.", float(view.simulation)),
        ("poll_lateness_seconds", "How late the last poll began.", view.poll_lateness_s),
    ):
        family = GaugeMetricFamily(f"hashwerk_fleet_{name}", words)
        if value is not None:
            family.add_metric([], value)
        yield family


def _counted(name: str, words: str, label: str, counts: dict[str, int]) -> Metric:
    family = GaugeMetricFamily(name, words, labels=[label])
    for value, count in sorted(counts.items()):
        family.add_metric([value], count)
    return family


def _machines(columns: FleetColumns) -> Iterator[Metric]:
    """Yield what is known of each machine, by its id; three truths, never merged."""
    power = _machine_family("power_watts", "What is believed that a machine draws, and by whom.", "basis")
    reported = _machine_family("reported_power_watts", "What a machine says that it draws.")
    rate = _machine_family("hashrate_hashes_per_second", "A machine's hash rate, said and measured.", "truth")
    chip = _machine_family("chip_celsius", "A machine's hottest chip.")
    for number, key in enumerate(columns.key):
        if (power_w := columns.power_w[number]) is not None:
            power.add_metric([key, columns.bases[columns.basis[number]]], power_w)
        if (said_w := columns.reported_w[number]) is not None:
            reported.add_metric([key], said_w)
        for truth, ths in (
            ("reported", columns.reported_ths[number]),
            ("measured", columns.measured_ths[number]),
        ):
            if ths is not None:
                rate.add_metric([key, truth], ths * 1e12)
        if (chip_c := columns.chip_c[number]) is not None:
            chip.add_metric([key], chip_c)
    yield from (power, reported, rate, chip)


def _machine_family(name: str, words: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"hashwerk_machine_{name}", words, labels=["machine", *labels])
