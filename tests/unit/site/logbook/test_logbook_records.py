"""Commands, sources, grid, machines and certificates as evidence: what is known, and nothing that is not."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from hashwerk.config.site import EvidenceSettings
from hashwerk.dispatch.baselines import BaselineKind, Settlement
from hashwerk.dispatch.orders import Order as GridOrder
from hashwerk.dispatch.orders import OrderKind
from hashwerk.energy.series import Quality, Series, SeriesInfo, make_series
from hashwerk.energy.settings import EnergySettings, GridSettings, SourceSettings
from hashwerk.errors import EvidenceError
from hashwerk.evidence import records
from hashwerk.evidence.leaf import encode_record
from hashwerk.fleet.batch import ReduceTo, Step
from hashwerk.fleet.commands import Reboot, Sleep
from hashwerk.fleet.identity import MachineKey
from hashwerk.fleet.lease import Holder
from hashwerk.fleet.orders import (
    Aborted,
    Ended,
    Opened,
    OrderEvent,
    OrderSpec,
    Planned,
    Reached,
    Reduce,
    RestoreAsked,
    Stopped,
    Tell,
)
from hashwerk.site.energy.record import OrderRecord
from hashwerk.site.logbook.certificates import certificate_records
from hashwerk.site.logbook.grid import grid_record
from hashwerk.site.logbook.inventory import is_news
from hashwerk.site.logbook.orders import fleet_commands, grid_commands, is_logged
from hashwerk.site.logbook.sources import aligned, rule_record, source_records
from hashwerk.site.logbook.state import LogState, decode_state, encode_state
from hashwerk.site.logbook.words import plain

NOW = 1_790_000_100.0
KEYS = tuple(MachineKey(f"mac:{number}") for number in range(2))


def spec(task: Reduce | Tell, **more: Any) -> OrderSpec:
    given = {
        "id": "o1",
        "at": NOW,
        "who": "ann",
        "why": "a test",
        "holder": Holder.OPERATOR,
        "dry_run": False,
    }
    return OrderSpec(task=task, **{**given, **more})


def reduction(*, metered: bool = True, **more: Any) -> list[OrderEvent]:
    """Return the events of an order that brings 50 kW down to 20."""
    steps = tuple(Step(key=key, command=Sleep(), before_w=15_000.0, after_w=100.0) for key in KEYS)
    return [
        Opened(at=NOW, spec=spec(Reduce(goal=ReduceTo(20_000.0)), **more)),
        Planned(at=NOW + 1, steps=steps, skips=(), total_w=50_000.0, is_metered=metered, target_w=20_000.0),
    ]


def test_a_curtailment_is_logged_with_what_the_meter_saw_once_it_saw_it() -> None:
    events = reduction()
    assert fleet_commands([events], ()) == ([], ()), "nothing was measured yet"
    events.append(Reached(at=NOW + 30, measured_w=19_500.0, text="2 done"))
    (down,), logged = fleet_commands([events], ())
    assert (down.command, down.group, down.machines) == ("reduce power", "site", 2)
    assert (down.ordered_w, down.before_w, down.after_w) == (20_000, 50_000, 19_500)
    assert (down.at_us, down.effect_us) == (int(NOW * 1e6), int((NOW + 30) * 1e6))
    assert down.reason == "ann: a test; 2 done"
    events += [
        Reached(at=NOW + 40, measured_w=18_000.0, text="again"),
        RestoreAsked(at=NOW + 600, who="ann", why="enough"),
        Ended(at=NOW + 700, text="2 done", measured_w=49_000.0),
    ]
    (back,), again = fleet_commands([events], logged)
    assert (back.command, back.group, back.at_us) == ("restore power", "site", int((NOW + 600) * 1e6))
    assert (back.ordered_w, back.before_w, back.after_w) == (None, None, 49_000)
    assert down.id != back.id
    assert is_logged("o1", again)
    assert fleet_commands([events], again) == ([], again), "once each"
    # The whole story at once, as after a restart, is the same.
    assert fleet_commands([events], ())[0] == [down, back]


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([*reduction(), Stopped(at=NOW + 9, reason="the meter did not fall")], "the meter did not fall"),
        ([*reduction(), Aborted(at=NOW + 9, who="bob", why="no")], "aborted by bob: no"),
    ],
)
def test_a_command_that_failed_is_logged_as_such(events: list[OrderEvent], reason: str) -> None:
    (record,), _ = fleet_commands([events], ())
    assert (record.ordered_w, record.before_w, record.after_w, record.effect_us) == (
        20_000,
        50_000,
        None,
        None,
    )
    assert reason in record.reason


def test_only_the_sites_own_meter_counts_as_a_measurement() -> None:
    reached = Reached(at=NOW + 30, measured_w=19_500.0, text="")
    for events in (reduction(metered=False), reduction(group="north"), reduction(keys=KEYS)):
        (record,), _ = fleet_commands([[*events, reached]], ())
        assert (record.before_w, record.after_w, record.effect_us) == (None, None, None)
    dry = [*reduction(dry_run=True), reached, Ended(at=NOW + 31, text="")]
    records_, logged = fleet_commands([dry], ())
    assert records_ == []
    assert is_logged("o1", logged)


def test_what_machines_are_told_is_logged_when_it_is_over() -> None:
    steps = tuple(Step(key=key, command=Reboot(), before_w=None, after_w=None) for key in KEYS)
    events: list[OrderEvent] = [
        Opened(at=NOW, spec=spec(Tell(command=Reboot()), keys=KEYS)),
        Planned(at=NOW, steps=steps, skips=(), total_w=0.0, is_metered=False, target_w=None),
    ]
    assert fleet_commands([events], ())[0] == []
    (record,), _ = fleet_commands([[*events, Ended(at=NOW + 60, text="2 done")]], ())
    assert (record.command, record.machines, record.group) == ("reboot", 2, "order o1")
    assert record.ordered_w is record.before_w is record.after_w is None


def test_an_order_of_a_grid_operator_is_logged_when_it_is_settled() -> None:
    order = GridOrder(
        id="7", source="openadr:dso", kind=OrderKind.REDUCE_BY, received_s=NOW, start_s=NOW + 60,
        stop_s=NOW + 660, amount_w=20_000.0,
    )  # fmt: skip
    open_ = OrderRecord(order=order, baseline_w=50_000.0, baseline_text="mean of 900 s", reached_s=NOW + 100)
    assert grid_commands([open_], ()) == ([], ())
    settled = Settlement(
        order_id="7", source="openadr:dso", baseline=BaselineKind.METER_BEFORE, start_s=NOW + 60, stop_s=NOW + 660,
        interval_s=60.0, target_w=30_000.0, baseline_w=(50_000.0,) * 3, measured_w=(32_000.0, None, 28_000.0),
        delivered_wh=3_333.0, missing_intervals=1, response_s=40.0, worst_above_w=0.0,
    )  # fmt: skip
    (begin, end), logged = grid_commands([msgspec.structs.replace(open_, settlement=settled)], ())
    assert (begin.ordered_w, begin.before_w, begin.after_w) == (30_000, 50_000, 30_000)
    assert begin.effect_us == int((NOW + 100) * 1e6)
    assert (end.group, end.at_us) == (begin.group, int((NOW + 660) * 1e6))
    assert grid_commands([msgspec.structs.replace(open_, settlement=settled)], logged)[0] == []


ENERGY = EnergySettings(
    sources=(
        SourceSettings(name="roof", kind="own", fuel="solar"),
        SourceSettings(name="dam", kind="contract", fuel="hydro"),
    ),
    grid=GridSettings(g_per_kwh=Decimal(50), residual_g_per_kwh=Decimal("400.5")),
)


def test_the_load_is_shared_among_sources_by_the_declared_rule() -> None:
    rule = rule_record(ENERGY)
    assert rule.rule == "own-first/1"
    assert "roof (own, solar)" in rule.parameters
    found = source_records(
        ENERGY, 0, 900, import_wh=700, export_wh=0, own_wh={"roof": 300}, meters={"roof": "roof meter"}
    )
    shown = {(r.name, r.source, r.wh, r.meter, r.certificate) for r in found}
    assert shown == {
        ("roof", int(records.Source.SOLAR), 300, "roof meter", ""),
        ("grid", int(records.Source.UNKNOWN), 700, "", ""),
    }
    fed_in = source_records(ENERGY, 0, 900, import_wh=0, export_wh=200, own_wh={"roof": 300}, meters={})
    assert [(r.name, r.wh) for r in fed_in] == [("roof", 100)], "what is fed in serves no load"
    assert aligned(10, 3_000, 900) == [(900, 1_800), (1_800, 2_700)]


def series(value: float, unit: str, quality: Quality = Quality.MEASURED) -> Series:
    info = SeriesInfo(name="x", unit=unit, resolution_s=3_600, source="a feed")
    return make_series(info, np.array([0], np.int64), [value], published_s=0, quality=quality)


def test_the_grid_is_told_with_the_names_of_its_factors() -> None:
    record = grid_record(
        ENERGY, "EUR", 600, 900, carbon=series(41.26, "g/kWh", Quality.TYPICAL), clean_share=series(0.93, ""),
        price=series(-3.5, "EUR/MWh"),
    )  # fmt: skip
    assert record is not None
    assert (record.location_mg_per_kwh, record.residual_mg_per_kwh) == (41_260, 400_500)
    assert (record.carbon_free_ppm, record.price_micro_per_mwh, record.currency) == (
        930_000,
        -3_500_000,
        "EUR",
    )
    assert record.factors == (
        "location: a feed (a typical day, not this one); residual: set by the operator; carbon-free part: a feed;"
        " price: a feed"
    )
    fixed = grid_record(ENERGY, "EUR", 600, 900, carbon=None, clean_share=None, price=None)
    assert fixed is not None
    assert (fixed.location_mg_per_kwh, fixed.carbon_free_ppm, fixed.price_micro_per_mwh) == (50_000, 0, None)
    assert "carbon-free part: not told" in fixed.factors
    nothing = grid_record(EnergySettings(), "EUR", 600, 900, carbon=None, clean_share=None, price=None)
    assert nothing is None, "where nobody tells it nothing is said"


def test_machines_are_declared_anew_only_when_there_is_news() -> None:
    group = records.Inventory(
        group="avalon Q", make="avalon", model="Q", machines=9, nominal_hs=9 * 10**13, declared_mj_per_th=15_000,
        learned_mj_per_th=17_000, learned_low_mj_per_th=15_000, learned_high_mj_per_th=18_000,
    )  # fmt: skip
    assert is_news(group, None)
    assert not is_news(group, msgspec.structs.replace(group, learned_mj_per_th=17_100))
    assert is_news(group, msgspec.structs.replace(group, learned_mj_per_th=17_900))
    assert is_news(group, msgspec.structs.replace(group, learned_low_mj_per_th=None))
    assert is_news(group, msgspec.structs.replace(group, machines=8))


ENTRY = {
    "id": "gc-1", "registry": "reg", "source": "hydro", "start": "2026-11-23T08:00:00Z", "end": "2026-11-23T09:00:00Z",
    "wh": 5_000, "beneficiary": "the site", "registry_key": "ab", "signature": "cd",
}  # fmt: skip


def test_certificates_are_logged_once_with_the_energy_they_are_of(tmp_path: Path) -> None:
    path = tmp_path / "certificates.json"
    path.write_text(json.dumps([ENTRY, ENTRY]))
    settings = EvidenceSettings(certificates=str(path))
    (certificate, claimed), state = certificate_records(settings, LogState(begun_s=0))
    assert isinstance(certificate, records.Certificate)
    assert isinstance(claimed, records.SourceInterval)
    assert (certificate.id, certificate.wh, certificate.signature) == ("gc-1", 5_000, b"\xcd")
    assert (claimed.certificate, claimed.source, claimed.wh) == ("gc-1", int(records.Source.HYDRO), 5_000)
    assert certificate_records(settings, decode_state(encode_state(state)))[0] == []
    assert certificate_records(EvidenceSettings(), state) == ([], state)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[", "no certificates"),
        (json.dumps([{**ENTRY, "more": 1}]), "no certificates"),
        (json.dumps([{**ENTRY, "source": "cheese"}]), "unknown source"),
        (json.dumps([{**ENTRY, "end": "2026-11-23T10:00:00Z"}]), "at most an hour"),
        (json.dumps([{**ENTRY, "signature": "x"}]), "key or signature"),
    ],
)
def test_a_file_that_holds_something_else_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "certificates.json"
    path.write_text(text)
    with pytest.raises(EvidenceError, match=reason):
        certificate_records(EvidenceSettings(certificates=str(path)), LogState(begun_s=0))
    with pytest.raises(EvidenceError, match="cannot be read"):
        certificate_records(EvidenceSettings(certificates=str(tmp_path)), LogState(begun_s=0))


def test_texts_are_as_evidence_takes_them() -> None:
    text = plain("a\tb\n\x00c " + "e\u0301" * 900)
    encode_record(records.LocalFact(name=text, value=""))
    assert text.startswith("a b c \u00e9")
