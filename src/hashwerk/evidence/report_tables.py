"""A statement as rows for people: name, value, what it is worth. The page and the PDF are made from the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from hashwerk.evidence.verify.result import Report, counted
from hashwerk.units import format_hashrate, format_si

#: Rows of one table on paper; the JSON holds them all.
MAX_ROWS: Final = 60


class Table(NamedTuple):
    """A table: its title, the heads of its columns, its rows."""

    title: str
    heads: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def figures(report: Report) -> list[tuple[str, str, str]]:
    """Return the figures of a statement as (name, value, worth)."""
    statement = report.statement
    if not statement:
        return []
    return [
        *_work(statement.get("work") or {}),
        *_energy(statement.get("energy") or {}),
        *_clean(statement),
        *_curtailed(statement.get("curtailment")),
        *_rewards(statement),
    ]


def tables(report: Report) -> list[Table]:
    """Return the lists of a statement; those that are empty are left out."""
    statement = report.statement
    if not statement:
        return []
    found = [
        _sources(statement),
        _certificates(statement),
        _accounts(statement),
        _upstream(statement),
        _payouts(statement),
        _blocks(statement),
        _commands(statement),
        _local(statement),
        _times(statement),
    ]
    return [_cut(table) for table in found if table.rows]


def title(report: Report) -> str:
    """Return what stands at the head: subject first, so that nobody takes a simulation for a mine."""
    name = report.statement.get("site", {}).get("name") or "unknown site"
    return f"{report.subject.upper()}: {name}: {report.verdict}"


def period(report: Report) -> str:
    """Return the period, the epochs and the scale."""
    found = report.statement.get("period")
    if not found:
        return "The bundle cannot be read."
    fixed = "fixed beforehand" if found["fixed_beforehand"] else "chosen afterwards"
    scale = f"scale 1 : {report.statement['scale']['value']:,}"
    for own in report.statement["account_scales"]:
        scale += f", of account {own['account'][:16]}… 1 : {own['value']:,}"
    first, last = found["epochs"]
    return f"{found['start']} to {found['end']}, {fixed}; epochs {first} to {last}; {scale}"


def _row(name: str, figure: dict[str, Any] | None, text: str | None = None) -> list[tuple[str, str, str]]:
    if figure is None:
        return []
    value = figure["value"]
    shown = f"{value:,}" if isinstance(value, int) else str(value)
    return [(name, text or f"{shown} {figure['unit']}", figure["label"])]


def _work(work: dict[str, Any]) -> list[tuple[str, str, str]]:
    found = _row("Shares", work.get("shares"))
    names = (
        ("hashes", "Hashes"),
        ("hashes_at_scale", "Hashes at scale"),
        ("unbound", "Unbound work"),
    )
    for key, name in names:
        figure = work.get(key)
        found += _row(name, figure, None if figure is None else _with_interval(figure, "H"))
    full = work.get("before_thinning")
    found += _row(
        "Hashes before thinning", full, None if full is None else format_si(float(full["value"]), "H")
    )
    rate = work.get("hashrate")
    return found + _row("Hash rate", rate, None if rate is None else _with_interval(rate, "H/s"))


def _energy(energy: dict[str, Any]) -> list[tuple[str, str, str]]:
    if not energy:
        return []
    span = "" if energy["whole_period"] else f" from {energy['metered_from']} to {energy['metered_to']} only"
    found = _row("Energy", energy["metered"], format_si(energy["metered"]["value"], "Wh", digits=5) + span)
    if energy["filled"]["value"]:
        found += _row(
            "of it filled in", energy["filled"], format_si(energy["filled"]["value"], "Wh", digits=5)
        )
    if energy.get("efficiency"):
        found += _row("Efficiency", energy["efficiency"], _efficiency(energy["efficiency"]) + span)
    found += _row("Best declared machine", energy["inventory_best"])
    return found + _row("Best machine there is", energy["best_machine"])


def _clean(statement: dict[str, Any]) -> list[tuple[str, str, str]]:
    found: list[tuple[str, str, str]] = []
    matching = statement.get("matching") or {}
    for key, name in (("hourly_matching", "Hourly matching"), ("carbon_free", "Carbon-free energy")):
        figure = matching.get(key)
        if figure is not None:
            text = f"{100 * figure['value']:.1f} %"
            untimed = "not shown" in figure["label"]
            found += _row(name, figure, f"not shown; {text} by the operator's clock" if untimed else text)
    surplus = matching.get("surplus_negative_price")
    found += _row(
        "Used at negative prices",
        surplus,
        None if surplus is None else format_si(surplus["value"], "Wh", digits=5),
    )
    emissions = statement.get("emissions") or {}
    for key, name in (
        ("location_based", "Emissions, location-based"),
        ("market_based", "Emissions, market-based"),
    ):
        figure = emissions.get(key)
        if figure is not None:
            text = f"{figure['value'] / 1000:,.3f} kg CO2e ({', '.join(figure['factors'])})"
            found += _row(name, figure, text)
    certificates = statement.get("certificates")
    if certificates:
        cancelled = certificates["cancelled"]
        text = (
            f"{format_si(cancelled['value'], 'Wh', digits=5)} in {counted(cancelled['count'], 'certificate')}"
        )
        found += _row("Certificates cancelled", cancelled, text)
    return found


def _curtailed(curtailment: dict[str, Any] | None) -> list[tuple[str, str, str]]:
    if not curtailment:
        return []
    delivered, ordered = curtailment["delivered"], curtailment["ordered"]
    text = f"{format_si(delivered['value'], 'W')} of {format_si(ordered['value'], 'W')} ordered"
    count = curtailment["orders"]["value"]
    found = _row("Curtailment delivered", delivered, f"{text}, in {count:,} orders")
    energy = curtailment["energy"]
    return found + _row("Energy not drawn", energy, format_si(energy["value"], "Wh", digits=5))


def _rewards(statement: dict[str, Any]) -> list[tuple[str, str, str]]:
    blocks = statement["blocks"]
    worth = sorted({block["label"] for block in blocks})
    found = [("Blocks", f"{len(blocks):,}", "; ".join(worth) or "asserted")]
    payouts = statement.get("payouts")
    if payouts:
        rewards = payouts["rewards"]
        named = [(state, rewards[state]["value"]) for state in ("mature", "pending", "reversed")]
        text = ", ".join(f"{sat:,} sat {state}" for state, sat in named if sat)
        found.append(("Rewards shared", text, payouts["label"]))
    found.append(("Commands carried out", f"{len(statement['commands']):,}", "asserted"))
    return found


def _sources(statement: dict[str, Any]) -> Table:
    rows = [
        (row["source"], row["evidence"], format_si(row["value"], "Wh", digits=5), row["label"])
        for row in (statement.get("energy") or {}).get("by_source", [])
    ]
    return Table("Energy by source", ("source", "evidence", "energy", "worth"), rows)


def _certificates(statement: dict[str, Any]) -> Table:
    rows = [
        (
            row["registry"],
            row["source"],
            row["beneficiary"],
            f"{row['certificates']:,}",
            format_si(row["value"], "Wh", digits=5),
            row["label"],
        )
        for row in (statement.get("certificates") or {}).get("groups", [])
    ]
    return Table(
        "Certificates cancelled", ("registry", "source", "beneficiary", "number", "energy", "worth"), rows
    )


def _at_scale(row: dict[str, Any]) -> str:
    """Return the hashes of an account as they were counted, with what each stands for where that is not one."""
    return _range(row) + (f", each for {row['scale']:,}" if "scale" in row else "")


def _accounts(statement: dict[str, Any]) -> Table:
    rows = [
        (row["account"], f"{row['shares']:,}", _at_scale(row), row["label"])
        for row in statement["work"].get("accounts", [])
    ]
    return Table("Work by account", ("account", "shares", "hashes", "worth"), rows)


def _upstream(statement: dict[str, Any]) -> Table:
    rows = [
        (row["pool"], row["account"] or "nobody named", f"{row['shares']:,}", _range(row), row["label"])
        for row in statement["work"].get("upstream", [])
    ]
    rows += [
        (row["pool"], "as the pool says", f"{row['shares']:,}", f"{row['paid_sat']:,} sat", row["label"])
        for row in statement.get("upstream_pools", [])
    ]
    return Table("Work for upstream pools", ("pool", "account", "shares", "hashes", "worth"), rows)


def _payouts(statement: dict[str, Any]) -> Table:
    payouts = statement.get("payouts") or {"accounts": [], "label": ""}
    rows = [
        (row["account"], f"{row['mature_sat']:,}", f"{row['pending_sat']:,}", payouts["label"])
        for row in payouts["accounts"]
    ]
    return Table("Payouts", ("account", "mature sat", "pending sat", "worth"), rows)


def _blocks(statement: dict[str, Any]) -> Table:
    rows = [
        (f"{row['height']:,}", row["found"] or "", row["hash"], f"{row['reward_sat']:,}", row["state"])
        for row in statement["blocks"]
    ]
    return Table("Blocks", ("height", "found", "hash", "reward sat", "state"), rows)


def _commands(statement: dict[str, Any]) -> Table:
    rows = [
        (
            row["at"] or "",
            row["group"],
            row["command"],
            row["reason"],
            "" if row["delivered_w"] is None else f"{row['delivered_w']:,} W",
        )
        for row in statement["commands"]
    ]
    return Table("Commands and their measured effect", ("time", "group", "command", "reason", "fall"), rows)


def _local(statement: dict[str, Any]) -> Table:
    rows = [(row["name"], row["value"], row["label"]) for row in statement.get("local", [])]
    return Table("Local facts", ("fact", "value", "worth"), rows)


def _times(statement: dict[str, Any]) -> Table:
    rows = [
        (str(row["epoch"]), row["after"] or "", row["before"] or "", row["by"] or "")
        for row in statement["period"]["external_time"]
        if row["after"] or row["before"]
    ]
    return Table("External time", ("epoch", "not before", "not after", "by"), rows)


def _cut(table: Table) -> Table:
    left = len(table.rows) - MAX_ROWS
    if left <= 0:
        return table
    blank = ("",) * (len(table.heads) - 1)
    return table._replace(rows=[*table.rows[:MAX_ROWS], (f"and {left:,} more in the JSON", *blank)])


def _range(row: dict[str, Any]) -> str:
    return _with_interval({"value": row["hashes"], "low": row["low"], "high": row["high"]}, "H")


def _with_interval(figure: dict[str, Any], unit: str) -> str:
    value = float(figure["value"])
    text = format_hashrate(value) if unit == "H/s" else format_si(value, unit)
    if figure.get("low") is None or figure.get("high") is None:
        return text
    return f"{text}  (95 %: {format_si(figure['low'], unit)} to {format_si(figure['high'], unit)})"


def _efficiency(figure: dict[str, Any]) -> str:
    if figure["low"] is None or figure["high"] is None:
        return f"{figure['value']:.2f} J/TH"
    return f"{figure['value']:.2f} J/TH  (95 %: {figure['low']:.2f} to {figure['high']:.2f})"
