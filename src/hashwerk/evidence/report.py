"""The statement for people: one page that says what was shown and what not, as HTML or PDF, with plots; printable.

`subject` stands first: nobody takes a simulation for a mine.
"""

from __future__ import annotations

import html
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hashwerk.errors import ConfigError
from hashwerk.evidence.verify.result import Report
from hashwerk.units import format_hashrate, format_si

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The palette of the pages: teal is clean, grey the rest, violet work.
_TEAL: Final = "#0f8b8d"
_GREY: Final = "#9aa5b1"
_VIOLET: Final = "#6b4fa0"

_STYLE: Final = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1d2733}
h1{font-size:1.6rem;margin:0}h2{font-size:1.1rem;margin:1.6rem 0 .4rem}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
td,th{text-align:left;padding:.25rem .6rem .25rem 0;border-bottom:1px solid #dde3ea;vertical-align:top}
.simulation{background:repeating-linear-gradient(45deg,#fff6df,#fff6df 10px,#fdeec2 10px,#fdeec2 20px);padding:.6rem 1rem}
.bad{color:#a4161a;font-weight:600}.worth{color:#52606d}svg{max-width:100%;height:auto}
@media print{body{margin:0;max-width:none}h2{break-after:avoid}tr{break-inside:avoid}}
"""


def write_report(report: Report, path: Path) -> None:
    """Write a report to a file that ends in ``.html`` or ``.pdf``.

    Raises:
        ConfigError: If it ends in something else, or cannot be written.
    """
    try:
        if path.suffix == ".html":
            path.write_text(html_report(report), encoding="utf-8")
        elif path.suffix == ".pdf":
            path.write_bytes(pdf_report(report))
        else:
            raise ConfigError(f"{path}: a report ends in .html or .pdf")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error


def figures(report: Report) -> list[tuple[str, str, str]]:
    """Return the figures of a statement as (name, value, worth)."""
    statement = report.statement
    found: list[tuple[str, str, str]] = []

    def add(name: str, figure: dict[str, Any] | None, text: str | None = None) -> None:
        if figure is not None:
            found.append((name, text or f"{figure['value']} {figure['unit']}", figure["label"]))

    work, energy = statement.get("work", {}), statement.get("energy") or {}
    add("Shares", work.get("shares"))
    for key, name in (
        ("hashes", "Hashes"),
        ("hashes_at_scale", "Hashes at scale"),
        ("unbound", "Unbound work"),
    ):
        figure = work.get(key)
        add(name, figure, None if figure is None else _with_interval(figure, "H"))
    rate = work.get("hashrate")
    add("Hash rate", rate, None if rate is None else _with_interval(rate, "H/s"))
    add(
        "Energy",
        energy.get("metered"),
        None if not energy else format_si(energy["metered"]["value"], "Wh", digits=5),
    )
    add(
        "Efficiency",
        energy.get("efficiency"),
        None if not energy.get("efficiency") else _efficiency(energy["efficiency"]),
    )
    add("Best declared machine", energy.get("inventory_best"))
    for key, name in (("hourly_matching", "Hourly matching"), ("carbon_free", "Carbon-free energy")):
        figure = (statement.get("matching") or {}).get(key)
        add(name, figure, None if figure is None else f"{100 * figure['value']:.1f} %")
    add("Used at negative prices", (statement.get("matching") or {}).get("surplus_negative_price"))
    for key, name in (
        ("location_based", "Emissions, location-based"),
        ("market_based", "Emissions, market-based"),
    ):
        figure = (statement.get("emissions") or {}).get(key)
        text = (
            None
            if figure is None
            else f"{figure['value'] / 1000:.3f} kg CO2e ({', '.join(figure['factors'])})"
        )
        add(name, figure, text)
    if statement:
        found.append(("Blocks", str(len(statement["blocks"])), "asserted"))
        found.append(("Commands carried out", str(len(statement["commands"])), "asserted"))
    return found


def html_report(report: Report) -> str:
    """Return the report as one page of HTML that needs nothing else."""
    statement, escape = report.statement, html.escape
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(value)}</td><td class=worth>{escape(worth)}</td></tr>"
        for name, value, worth in figures(report)
    )
    checks = "".join(
        f"<tr><td>{'✓' if check.ok else '<span class=bad>✗</span>'}</td><td>{escape(check.name)}</td>"
        f"<td class=worth>{escape(check.label)}</td><td>{escape(check.detail)}"
        f"{'' if check.ok else f'<br><span class=bad>{escape(check.meaning)}</span>'}</td></tr>"
        for check in report.checks
    )
    hidden = "".join(f"<li>{escape(line)}</li>" for line in statement.get("not_shown", []))
    plots = "".join(_svg(figure) for figure in plot(report))
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>Evidence: {escape(_title(report))}</title>"
        f"<style>{_STYLE}</style><body><header class={escape(report.subject)}><h1>{escape(_title(report))}</h1>"
        f"<p>{escape(_period(report))}</p></header>"
        f"<h2>Figures</h2><table><tr><th>figure<th>value<th>worth</tr>{rows}</table>"
        f"{plots}<h2>What is not shown</h2><ul>{hidden}</ul>"
        f"<h2>Checks</h2><table><tr><th><th>check<th>worth<th>what was found</tr>{checks}</table></body></html>"
    )


def pdf_report(report: Report) -> bytes:
    """Return the report as a PDF of A4 pages."""
    from matplotlib.backends.backend_pdf import PdfPages

    out = io.BytesIO()
    lines: list[tuple[str, float, str]] = [
        (_title(report), 15, "bold"),
        (_period(report), 9, "normal"),
        ("", 9, "normal"),
    ]
    lines += [(f"{name}: {value}   [{worth}]", 9, "normal") for name, value, worth in figures(report)]
    lines += [("", 9, "normal"), ("What is not shown", 11, "bold")]
    lines += [(f"- {line}", 8, "normal") for line in report.statement.get("not_shown", [])]
    lines += [("", 9, "normal"), ("Checks", 11, "bold")]
    for check in report.checks:
        mark = "ok  " if check.ok else "FAIL"
        lines.append(
            (f"{mark} {check.name}   [{check.label}]   {check.detail}", 8, "normal" if check.ok else "bold")
        )
    with PdfPages(out, metadata={"Title": _title(report)}) as pages:
        for page in _text_pages(lines):
            pages.savefig(page)
        for figure in plot(report):
            pages.savefig(figure)
    return out.getvalue()


def plot(report: Report) -> list[Figure]:
    """Return the plots: energy by the hour, and hashes by the hour with their intervals."""
    from matplotlib.figure import Figure

    found = []
    hours = ((report.statement.get("energy") or {}).get("hours")) or []
    if hours:
        figure = Figure(figsize=(8.3, 3.2), layout="constrained")
        axes = figure.subplots()
        numbers = list(range(len(hours)))
        matched = [min(hour["load_wh"], hour["clean_wh"]) / 1000 for hour in hours]
        axes.bar(numbers, [hour["load_wh"] / 1000 for hour in hours], color=_GREY, label="residual mix")
        axes.bar(numbers, matched, color=_TEAL, label="carbon-free, with evidence")
        axes.set(title="Energy by the hour", ylabel="kWh", xlabel=f"hours from {hours[0]['start']}")
        axes.legend(frameon=False)
        found.append(figure)
    per_hour = report.statement.get("work", {}).get("hashes_per_hour") or []
    if per_hour:
        figure = Figure(figsize=(8.3, 3.2), layout="constrained")
        axes = figure.subplots()
        numbers = list(range(len(per_hour)))
        axes.fill_between(
            numbers,
            [row["low"] for row in per_hour],
            [row["high"] for row in per_hour],
            color=_VIOLET,
            alpha=0.25,
            step="mid",
        )
        axes.step(numbers, [float(row["value"]) for row in per_hour], where="mid", color=_VIOLET)
        axes.set(
            title="Hashes by the hour, with their 95 % interval",
            ylabel="hashes",
            xlabel=f"hours from {per_hour[0]['start']}",
        )
        axes.set_ylim(bottom=0)
        found.append(figure)
    return found


def _svg(figure: Figure) -> str:
    from matplotlib import rc_context

    out = io.StringIO()
    with rc_context({"svg.hashsalt": "hashwerk", "svg.fonttype": "none"}):
        figure.savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    return text[text.index("<svg") :]


def _text_pages(lines: list[tuple[str, float, str]]) -> list[Figure]:
    import textwrap

    from matplotlib.figure import Figure

    pages: list[Figure] = []
    y = 0.0
    for text, size, weight in lines:
        for part in textwrap.wrap(text, int(1000 / size)) or [""]:
            if not pages or y < 0.06:
                pages.append(Figure(figsize=(8.27, 11.69)))
                y = 0.95
            # A dollar sign would begin a formula.
            pages[-1].text(0.07, y, part.replace("$", r"\$"), fontsize=size, fontweight=weight, va="top")
            y -= size * 1.5 / (72 * 11.69)
    return pages


def _title(report: Report) -> str:
    name = report.statement.get("site", {}).get("name") or "unknown site"
    return f"{report.subject.upper()}: {name}: {report.verdict}"


def _period(report: Report) -> str:
    period = report.statement.get("period")
    if not period:
        return "The bundle cannot be read."
    fixed = "fixed beforehand" if period["fixed_beforehand"] else "chosen afterwards"
    scale = report.statement["scale"]["value"]
    span = f"{period['start']} to {period['end']}, {fixed}"
    first, last = period["epochs"]
    return f"{span}; epochs {first} to {last}; scale 1 : {scale:,}"


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
