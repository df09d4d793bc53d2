"""The figures of a bundle, each with what it is worth, and the list of what cannot be shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from hashwerk.evidence.bundle import Claim
from hashwerk.evidence.epoch import header_hash
from hashwerk.evidence.verify.energy import common_intervals
from hashwerk.evidence.verify.energy_figures import (
    certificate_figures,
    command_figures,
    curtailment_figures,
    emission_figures,
    energy_figures,
    is_whole,
    matching_figures,
)
from hashwerk.evidence.verify.figures import Shown, figure
from hashwerk.evidence.verify.hours import Hour, hours_of, time_text
from hashwerk.evidence.verify.result import Label, counted
from hashwerk.evidence.verify.work_figures import block_figures, payout_figures, work_figures

ALWAYS_NOT_SHOWN: Final = (
    "which machine, site or meter made a hash: rented or remote hash rate fits under any meter with slack",
    "that no machine mined elsewhere: that leaves no trace but energy",
    "that there is one history only: the owner of a key can keep two, and only comparing bundles or a witness shows it",
    "that meters are honest: registers are as they were read",
)


def make_statement(shown: Shown) -> dict[str, Any]:
    """Return the statement of a bundle."""
    headers = shown.headers
    hours = hours_of(shown.facts, headers[0].start_us, headers[-1].end_us)
    return {
        "subject": "simulation" if shown.standing.simulation else "mine",
        "site": _site(shown),
        "period": _period(shown),
        "scale": figure(shown.standing.scale, "hashes a hash", shown.worth(Label.ASSERTED)),
        "account_scales": [
            {
                "account": own.account.hex(),
                "basis": own.basis,
                **figure(own.factor, "hashes a hash", shown.worth(Label.ASSERTED)),
            }
            for own in sorted(shown.standing.account_scales.values(), key=lambda record: record.account)
        ],
        "work": work_figures(shown),
        "energy": energy_figures(shown, hours),
        "matching": matching_figures(shown, hours),
        "emissions": emission_figures(shown, hours),
        "certificates": certificate_figures(shown),
        "curtailment": curtailment_figures(shown),
        "commands": command_figures(shown),
        "blocks": block_figures(shown),
        "payouts": payout_figures(shown),
        "rejected": figure(
            dict(sorted(shown.facts.rejected.items())), "shares by verdict", shown.worth(Label.ASSERTED)
        ),
        "local": [
            {"name": fact.name, "value": fact.value, "label": shown.worth(Label.ASSERTED)}
            for fact in shown.facts.local
        ],
        "upstream_pools": [
            {
                "pool": row.upstream,
                "shares": row.shares,
                "paid_sat": row.paid_sat,
                "document": row.document.hex(),
                "label": shown.worth(Label.ASSERTED),
            }
            for row in shown.facts.pool_statements
        ],
        "note": shown.manifest.note,
        "not_shown": not_shown(shown, hours),
    }


def not_shown(shown: Shown, hours: Sequence[Hour]) -> list[str]:
    """Return what this bundle does not show, in words."""
    found = list(ALWAYS_NOT_SHOWN)
    if not shown.pinned:
        found.append("who the operator is: no key was pinned")
    if not shown.timed:
        found.append("when the work was done: no external time; hourly matching is not shown")
    if not shown.facts.anchored:
        found.append("that the history was not made afterwards: jobs carry no root of an earlier epoch")
    if not shown.manifest.period_fixed:
        found.append(
            "that the period was not chosen to look good: intervals hold for periods fixed beforehand"
        )
    if shown.facts.upstream:
        found.append(
            "for whom the upstream pool's shares were made, and that their target was fixed before: unbound work"
        )
    if shown.standing.thinned:
        found.append("the shares below the difficulty of thinning: their tree is signed, not opened here")
    return found + _not_shown_of_energy(shown, hours) + _not_shown_of_rewards(shown)


def _not_shown_of_energy(shown: Shown, hours: Sequence[Hour]) -> list[str]:
    if not shown.facts.meters:
        return ["how much energy was used: no meter was read"]
    found = []
    intervals = common_intervals(shown.facts.meters)
    if not intervals or not is_whole(shown, intervals[0].start_us, intervals[-1].end_us):
        found.append("how much energy was used over the whole period: meters were read over a part of it")
    if any(hour.filled_wh for hour in hours):
        found.append(
            "what was used in intervals that were missed: the registers' difference was spread over them"
        )
    if any(hour.load_wh and not hour.clean_wh for hour in hours):
        found.append(
            "the source of energy without a certificate or a plant's meter: it counts as residual mix"
        )
    loaded = [hour for hour in hours if hour.load_wh]
    if any(hour.location_mg is None for hour in loaded):
        found.append("emissions, and the carbon-free score: for some hours no set of factors is named")
    if any(hour.price_micro is None for hour in loaded):
        found.append("all energy used at negative prices: for some hours no price is named")
    found.append(
        "energy that would have been curtailed at plants or by export limits: no record speaks of it"
    )
    if shown.manifest.claims & Claim.SOURCE:
        found.append(
            "that certificates were not cancelled elsewhere: once within these bundles is what was checked"
        )
    return found


def _not_shown_of_rewards(shown: Shown) -> list[str]:
    found = []
    if shown.lacking:
        found.append(
            f"that {counted(shown.lacking, 'payout follows', 'payouts follow')} the rule:"
            " shares or rules are needed that are not here"
        )
    unnamed = shown.work.blocks.unnamed(shown.facts.blocks)
    if unnamed:
        shares = counted(unnamed, "share", "shares")
        found.append(f"what became of {shares} that met the network's target: no record says so")
    return found


def _site(shown: Shown) -> dict[str, Any]:
    site = shown.standing.site
    return {
        "id": shown.manifest.site.hex(),
        "name": "" if site is None else site.name,
        "network": "" if site is None else site.network,
        "private_chain": site is None or bool(site.private),
        "label": str(Label.ASSERTED),
    }


def _period(shown: Shown) -> dict[str, Any]:
    headers = shown.headers
    return {
        "start": time_text(headers[0].start_us),
        "end": time_text(headers[-1].end_us),
        "fixed_beforehand": bool(shown.manifest.period_fixed),
        "epochs": [headers[0].number, headers[-1].number],
        "last_epoch": header_hash(headers[-1]).hex(),
        "external_time": [
            {
                "epoch": b.epoch,
                "after": time_text(b.after_us),
                "before": time_text(b.before_us),
                "by": b.by,
            }
            for b in shown.bounds
        ],
    }
