"""The statement, line by line: every figure with its label, and what cannot be shown listed as such."""

import io
import re
from typing import Any

import msgspec
import pytest

from hashwerk.evidence import records
from hashwerk.evidence.bundle import Claim
from hashwerk.evidence.report import pdf_report
from hashwerk.evidence.verify import Report, Verdict, together, verify_bundle
from hashwerk.evidence.verify.run import Options
from support.evidence import (
    ACCOUNTS,
    EPOCH_US,
    REWARD_SAT,
    RULE,
    EditedSite,
    EvidenceSite,
    altered,
    decoded,
    once,
    without,
    write_bundle,
)
from support.forgeries import reclosed

SITE = EvidenceSite().run(4)


def verify(data: bytes) -> Report:
    return verify_bundle(io.BytesIO(data), Options(threads=1))


STATEMENT = verify(SITE.bundle()).statement


def labels(part: Any) -> list[str]:
    """Return every label in a part of a statement."""
    if isinstance(part, dict):
        own = [part["label"]] if "label" in part else []
        return own + [label for inner in part.values() for label in labels(inner)]
    return [label for inner in part for label in labels(inner)] if isinstance(part, list | tuple) else []


def test_every_figure_has_a_label() -> None:
    def figures(part: Any) -> list[dict[str, Any]]:
        if isinstance(part, dict):
            own = [part] if "value" in part and "unit" in part else []
            return own + [one for inner in part.values() for one in figures(inner)]
        return [one for inner in part for one in figures(inner)] if isinstance(part, list | tuple) else []

    found = figures(STATEMENT)
    assert len(found) > 15
    for one in found:
        assert one["label"].split(";")[0].split()[0].rstrip(":") in ("proven", "attested", "asserted"), one


def test_each_account_has_its_hashes_and_their_interval() -> None:
    for row in STATEMENT["work"]["accounts"]:
        assert row["label"] == "proven"
        assert row["low"] < int(row["hashes"]) < row["high"]
        assert int(row["hashes"]) == 16 * row["shares"]


def test_energy_is_told_by_source_and_hour() -> None:
    (hour,) = (hour for hour in STATEMENT["energy"]["hours"] if hour["load_wh"])
    assert (hour["load_wh"], hour["clean_wh"], hour["sources"]) == (20_000, 12_000, {"hydro": 12_000})
    (row,) = STATEMENT["energy"]["by_source"]
    assert (row["source"], row["value"], row["evidence"]) == ("hydro", 12_000, "certificate")
    efficiency = STATEMENT["energy"]["efficiency"]
    assert efficiency["low"] < efficiency["value"] < efficiency["high"]
    assert STATEMENT["energy"]["inventory_best"]["value"] == 18.0
    assert STATEMENT["energy"]["best_machine"]["value"] == 9.5
    assert STATEMENT["matching"]["surplus_negative_price"]["value"] == 20_000


def test_cancelled_certificates_are_named_by_registry() -> None:
    certificates = STATEMENT["certificates"]
    assert (certificates["cancelled"]["value"], certificates["cancelled"]["count"]) == (12_000, 1)
    assert certificates["cancelled"]["label"].startswith("attested by registry Test Registry")
    (group,) = certificates["groups"]
    assert (group["registry"], group["beneficiary"]) == ("Test Registry", "site")
    bare = altered(records.Certificate, signature=b"", registry_key=b"")
    unsigned = verify(EditedSite(bare).run(4).bundle()).statement["certificates"]
    assert set(labels(unsigned)) == {"asserted"}


def test_rewards_and_payouts_are_those_that_count() -> None:
    payouts = STATEMENT["payouts"]
    assert payouts["label"] == "proven"
    count = len(SITE.blocks)
    assert payouts["rewards"]["pending"]["value"] == REWARD_SAT * count
    assert (
        sum(row["pending_sat"] for row in payouts["accounts"])
        == REWARD_SAT * count - payouts["fees"]["value"]
    )
    assert [block["reward_sat"] for block in STATEMENT["blocks"]] == [REWARD_SAT] * count
    # What reaches back before the bundle is the operator's word, and is said so.
    site = EvidenceSite(name="late", rule=msgspec.structs.replace(RULE, scheme="tides")).run(4)
    number = max(
        n for n, e in enumerate(site.epochs) if any(isinstance(r, records.Payout) for r in decoded(e))
    )
    late = verify(write_bundle(site, site.epochs[number:], first=number, claims=4)).statement
    assert late["payouts"]["label"] == "asserted"
    assert any("payouts follow the rule" in line for line in late["not_shown"])


def test_shares_that_were_blocks_and_that_nobody_speaks_of_are_counted() -> None:
    silent = EditedSite(lambda n, r: without(records.Block)(n, without(records.Payout)(n, r))).run(4)
    report = verify(silent.bundle())
    assert report.verdict == Verdict.VALID
    count = len(silent.blocks)
    assert any(line.startswith(f"what became of {count} shares") for line in report.statement["not_shown"])


def test_an_upstream_pool_s_work_is_split_by_the_table() -> None:
    site = EvidenceSite(name="mixed", pool=True).run(4)
    rows = verify(site.bundle()).statement["work"]["upstream"]
    by_account = {row["account"]: row["shares"] for row in rows}
    expected: dict[str | None, int] = {}
    for epoch in site.epochs:
        for group in epoch.groups:
            if group.account != records.UNBOUND:
                continue
            for leaf in group.leaves:
                number = int(leaf["extranonce1"])
                account = ACCOUNTS[number - 1].hex() if number <= 2 else None
                expected[account] = expected.get(account, 0) + 1
    assert by_account == expected
    assert len(expected) == 3
    assert {row["pool"] for row in rows} == {"pool"}
    assert all("asserted" in row["label"] for row in rows), "the prefix is the operator's word"


def test_curtailment_is_what_the_meter_saw() -> None:
    start = SITE.epochs[1].header.start_us
    cut = records.Command(
        id=1, at_us=start + 60_000_000, command="sleep", group="hall", machines=50, reason="grid", ordered_w=10_000,
        before_w=20_000, after_w=11_000, effect_us=start + 90_000_000,
    )  # fmt: skip
    back = msgspec.structs.replace(
        cut, id=2, at_us=start + EPOCH_US, command="wake", ordered_w=20_000, before_w=11_000, after_w=20_000,
        effect_us=start + EPOCH_US + 40_000_000,
    )  # fmt: skip
    found = verify(EditedSite(once(1, cut, back)).run(2).bundle()).statement["curtailment"]
    assert (found["orders"]["value"], found["ordered"]["value"], found["delivered"]["value"]) == (
        1,
        10_000,
        9_000,
    )
    assert found["energy"]["value"] == 9_000 * 810 // 3600
    assert found["median_time_to_effect"]["value"] == 30
    assert set(labels(found)) == {"asserted"}


def test_thinning_says_what_it_does_not_open() -> None:
    statement = verify(EvidenceSite(name="thinned", thinning=6).run(2).bundle()).statement
    full = statement["work"]["before_thinning"]
    assert (int(full["value"]), full["label"]) == (2 * 60 * 16, "asserted")
    assert any("thinning" in line for line in statement["not_shown"])


@pytest.mark.parametrize(
    ("edit", "parts"),
    [
        (lambda r: altered(records.Meter, serial="EM-9")(4, r), ("energy", "matching", "emissions")),
        (lambda r: altered(records.SourceInterval, wh=12_001)(4, r), ("certificates",)),
        (lambda r: altered(records.Payout, fee_sat=1)(4, r) if has_payout(r) else r, ()),
    ],
)
def test_a_figure_whose_check_fails_is_not_shown(edit: Any, parts: tuple[str, ...]) -> None:
    report = verify(write_bundle(SITE, reclosed(SITE, 4, logged=edit(decoded(SITE.last)))))
    for part in parts:
        assert report.verdict == Verdict.INVALID
        found = labels(report.statement[part])
        assert any(label.startswith("not shown: the check of") for label in found), (part, found)


def has_payout(logged: list[records.Record]) -> bool:
    return any(isinstance(record, records.Payout) for record in logged)


def test_work_of_a_broken_bundle_is_not_called_proven() -> None:
    groups = list(SITE.last.groups)
    groups[0] = msgspec.structs.replace(groups[0], leaves=groups[0].leaves.copy())
    groups[0].leaves["nonce"][0] += 1
    report = verify(write_bundle(SITE, reclosed(SITE, 4, groups=groups)))
    assert report.verdict == Verdict.INVALID
    work = report.statement["work"]
    assert not any(label.startswith("proven") for label in labels(work)), labels(work)


def test_bundles_of_several_sites_are_added_up() -> None:
    sites = [EvidenceSite(name=name, certificates=name == "north").run(4) for name in ("north", "south")]
    reports = [verify(site.bundle()) for site in sites]
    found = together(reports)
    assert found["subject"] == "simulation"
    assert [name for _, name in found["sites"]] in (["north", "south"], ["south", "north"])
    made = found["figures"]
    assert made["shares"]["value"] == 2 * 240
    assert made["energy"]["value"] == 40_000
    parts = [report.statement["work"]["hashes_at_scale"] for report in reports]
    assert int(made["hashes"]["value"]) == sum(int(part["value"]) for part in parts)
    assert made["hashes"]["low"] == sum(part["low"] for part in parts)
    assert made["hourly_matching"]["value"] == pytest.approx(0.3), (
        "the north's river does not serve the south"
    )
    assert made["certificates"]["value"] == 12_000
    assert made["efficiency"]["low"] < made["efficiency"]["value"] < made["efficiency"]["high"]
    assert made["location_based"]["factors"] == ["test set 2026"]
    assert made["shares"]["label"] == "proven"
    assert made["hashes"]["label"] == "asserted"


def test_periods_of_one_site_are_added_up_but_no_epoch_twice() -> None:
    half = [verify(SITE.bundle(1, 2, claims=4)), verify(SITE.bundle(3, 4, claims=4))]
    assert together(half)["figures"]["shares"]["value"] == 240
    twice = together([half[0], half[0]])
    assert twice["figures"] == {}
    assert "same epochs" in twice["not_shown"][0]


def test_what_is_not_added_up() -> None:
    good = verify(SITE.bundle())
    assert "invalid" in together([good, verify(b"noise")])["not_shown"][0]
    mine = msgspec.structs.replace(verify(EvidenceSite(name="other").run(1).bundle()), subject="mine")
    assert "not added up" in together([good, mine])["not_shown"][0]


def test_hashes_of_a_scale_model_stand_for_more_and_others_for_themselves() -> None:
    own = records.AccountScale(account=ACCOUNTS[0], factor=10**15, basis="a hall of twins")
    site = EvidenceSite(scale=1, private=False, network="main", account_scales=(own,)).run(2)
    report = verify(write_bundle(site, site.epochs[1:], first=1, standing=site.standings[1].records))
    assert report.ok, report.failures()
    assert report.subject == "simulation", "a scale is declared"
    work = report.statement["work"]
    rows = {row["account"]: row for row in work["accounts"]}
    model = rows.pop(ACCOUNTS[0].hex())
    assert model["scale"] == 10**15
    assert all("scale" not in row for row in rows.values())
    real = sum(int(row["hashes"]) for row in rows.values())
    stood_for = int(work["hashes_at_scale"]["value"])
    assert stood_for == real + int(model["hashes"]) * 10**15
    assert int(work["hashes"]["value"]) == real + int(model["hashes"]), "what was counted is told apart"
    low, high = work["hashes_at_scale"]["low"], work["hashes_at_scale"]["high"]
    assert low < stood_for < high
    (scale,) = report.statement["account_scales"]
    assert scale["account"] == ACCOUNTS[0].hex()
    assert (scale["value"], scale["label"]) == (10**15, "asserted")
    wh = report.statement["energy"]["metered"]["value"]
    efficiency = report.statement["energy"]["efficiency"]
    assert efficiency["value"] == pytest.approx(wh * 3600 / (stood_for / 1e12))
    assert efficiency["label"] == "asserted"


def test_efficiency_is_told_of_the_time_that_was_metered() -> None:
    """Of four epochs the first has no reading: joules and hashes are those of the other three."""
    late = EditedSite(lambda n, r: without(records.Meter)(n, r) if n == 1 else r).run(4)
    report = verify(write_bundle(late, late.epochs, claims=Claim(0)))
    assert report.ok, report.failures()
    energy = report.statement["energy"]
    assert energy["whole_period"] is False
    assert STATEMENT["energy"]["whole_period"] is True
    assert energy["metered"]["value"] == 15_000
    hashes = sum(epoch.header.work for epoch in late.epochs[2:]) * late.scale
    assert energy["efficiency"]["value"] == pytest.approx(15_000 * 3600 / (hashes / 1e12))
    assert energy["efficiency"]["value"] < 20_000 * 3600 / (hashes / 1e12), "not that of the whole period"
    both = together([verify(SITE.bundle()), report])["figures"]
    assert both["energy"]["value"] == 35_000
    assert "efficiency" not in both, "hashes without their energy are not put over others' energy"


def test_the_pdf_is_of_a4_pages_only() -> None:
    """Whoever prints it gets every plot on paper, none on a page of its own odd size."""
    pdf = pdf_report(verify_bundle(io.BytesIO(EvidenceSite(name="printed", shares=12).run(4).bundle())))
    sizes = set(re.findall(rb"/MediaBox \[ ?0 0 ([0-9.]+) ([0-9.]+)", pdf))
    assert sizes == {(b"595.44", b"841.68")}


def test_machines_declared_later_bound_the_whole_period_and_none_are_made_up() -> None:
    """As the specification says: the smallest declared over the period, whichever epoch it was first in force in."""

    def edit(number: int, logged: list[records.Record]) -> list[records.Record]:
        kept = [record for record in logged if not isinstance(record, records.Inventory)]
        late = records.Inventory(
            group="hall", make="avalon", model="Q", machines=9, nominal_hs=1, declared_mj_per_th=17_000,
            learned_mj_per_th=None, learned_low_mj_per_th=None, learned_high_mj_per_th=None,
        )  # fmt: skip
        return [*kept, late] if number == 2 else kept

    late = verify(EditedSite(edit).run(4).bundle())
    assert late.ok, late.failures()
    assert late.statement["energy"]["inventory_best"]["value"] == 17.0
    none = verify(EditedSite(without(records.Inventory)).run(2).bundle())
    assert none.ok, none.failures()
    assert none.statement["energy"]["inventory_best"] is None
    bound = next(check for check in none.checks if check.name == "energy bound")
    assert "none is declared" in bound.detail


def test_without_a_price_nothing_is_said_of_negative_ones() -> None:
    unpriced = verify(EditedSite(altered(records.Grid, price_micro_per_mwh=None)).run(2).bundle())
    assert "surplus_negative_price" not in unpriced.statement["matching"]
    assert any("negative prices" in line for line in unpriced.statement["not_shown"])
    assert "surplus_negative_price" not in together([unpriced])["figures"]
