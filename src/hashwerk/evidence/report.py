"""The statement for people: one page that says what was shown and what not, as HTML or PDF, with plots; printable.

`subject` stands first: nobody takes a simulation for a mine.
"""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hashwerk.errors import ConfigError
from hashwerk.evidence.report_plots import A4_INCHES, COLOURS, figure_of, page_of, plots
from hashwerk.evidence.report_tables import figures, period, tables, title
from hashwerk.evidence.verify.result import Report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["figures", "html_report", "pdf_report", "write_report"]

_STYLE: Final = """
:root{color-scheme:light dark;--page:#fff;--ink:#1d2733;--soft:#52606d;--line:#dde3ea;--bad:#a4161a;--good:#0b6e4f;
--clean:#0f8b8d;--rest:#9aa5b1;--filled:#c98a1b;--work:#6b4fa0;--tape1:#fff6df;--tape2:#fdeec2}
@media screen and (prefers-color-scheme:dark){:root{--page:#12181f;--ink:#e6ebf0;--soft:#9fb0c0;--line:#2b3642;--bad:#ff8a80;
--good:#6fd3ac;--clean:#36b5b7;--rest:#6c7884;--filled:#e0a94a;--work:#a58be0;--tape1:#3a3115;--tape2:#45391a}}
*{box-sizing:border-box}
body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;background:var(--page);color:var(--ink)}
h1{font-size:1.6rem;line-height:1.25;margin:0;overflow-wrap:anywhere}h2{font-size:1.1rem;margin:1.8rem 0 .4rem}
header{padding:.8rem 1rem;border:1px solid var(--line);border-radius:.4rem}header p{margin:.3rem 0 0}
.simulation{background:repeating-linear-gradient(45deg,var(--tape1),var(--tape1) 10px,var(--tape2) 10px,var(--tape2) 20px)}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
td,th{text-align:left;padding:.25rem .8rem .25rem 0;border-bottom:1px solid var(--line);vertical-align:top}
.hash{font:.85em ui-monospace,monospace;overflow-wrap:anywhere;min-width:17rem}
th{color:var(--soft);font-weight:600}td:first-child{min-width:7rem}
.checks td:first-child,.checks th:first-child{min-width:1.4rem;width:1.4rem}.checks td:nth-child(2){min-width:7.5rem}
.bad{color:var(--bad);font-weight:600}.good{color:var(--good)}.worth{color:var(--soft)}
figure{margin:1.4rem 0 0;overflow-x:auto}svg{width:100%;min-width:34rem;height:auto}
@media screen and (max-width:40rem){body{margin:1rem auto;font-size:14px}table{font-size:.85em}td:first-child{min-width:5rem}}
@media print{body{margin:0;max-width:none;font-size:10pt}h2{break-after:avoid}tr,figure{break-inside:avoid}
.simulation{print-color-adjust:exact}.wide{overflow:visible}}
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


def html_report(report: Report) -> str:
    """Return the report as one page of HTML that needs nothing else."""
    escape = html.escape
    figure_rows = [
        f"<tr><td>{escape(name)}</td><td>{escape(value)}</td><td class=worth>{escape(worth)}</td></tr>"
        for name, value, worth in figures(report)
    ]
    lists = "".join(
        f"<h2>{escape(table.title)}</h2>{_html_table(table.heads, table.rows)}" for table in tables(report)
    )
    hidden = "".join(f"<li>{escape(line)}</li>" for line in report.statement.get("not_shown", []))
    drawn = "".join(f"<figure>{_svg(figure_of(plot))}</figure>" for plot in plots(report))
    note = report.statement.get("note")
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width,initial-scale=1'>"
        f"<title>Evidence: {escape(title(report))}</title><style>{_STYLE}</style><body>"
        f"<header class={escape(report.subject)}><h1>{escape(title(report))}</h1><p>{escape(period(report))}</p></header>"
        + (f"<p>{escape(note)}</p>" if note else "")
        + f"<h2>Figures</h2><div class=wide><table><tr><th>figure<th>value<th>worth</tr>{''.join(figure_rows)}</table></div>"
        f"{drawn}<h2>What is not shown</h2><ul>{hidden}</ul>{lists}<h2>Checks</h2>{_html_checks(report)}</body></html>"
    )


def pdf_report(report: Report) -> bytes:
    """Return the report as a PDF of A4 pages."""
    from matplotlib.backends.backend_pdf import PdfPages

    out = io.BytesIO()
    pages = _Pages()
    pages.text(title(report), 15, bold=True)
    pages.text(period(report), 9)
    pages.text(report.statement.get("note") or "", 9)
    pages.head("Figures")
    pages.rows([list(row) for row in figures(report)], (0.24, 0.36, 0.4))
    pages.head("What is not shown")
    for line in report.statement.get("not_shown", []):
        pages.text(f"– {line}", 8)
    for table in tables(report):
        pages.head(table.title)
        cells = [list(table.heads), *map(list, table.rows)]
        pages.rows(cells, _widths(cells), 7)
    pages.head("Checks")
    pages.rows(
        [[("ok " if c.ok else "FAILS ") + c.name, c.label, c.detail] for c in report.checks],
        (0.2, 0.24, 0.56),
    )
    with PdfPages(out, metadata={"Title": title(report)}) as file:
        first, *others = pages.pages
        drawn = plots(report)
        for page in (first, *([page_of(drawn)] if drawn else []), *others):
            file.savefig(page)
    return out.getvalue()


def _html_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{html.escape(head)}" for head in heads)
    body = "".join(
        "<tr>"
        + "".join(f"<td{' class=hash' if len(cell) == 64 else ''}>{html.escape(cell)}" for cell in row)
        + "</tr>"
        for row in rows
    )
    return f"<div class=wide><table><tr>{top}</tr>{body}</table></div>"


def _html_checks(report: Report) -> str:
    escape = html.escape
    rows = "".join(
        f"<tr><td>{'<span class=good>✓</span>' if check.ok else '<span class=bad>✗</span>'}</td><td>{escape(check.name)}</td>"
        f"<td class=worth>{escape(check.label)}</td><td>{escape(check.detail)}"
        f"{'' if check.ok else f'<br><span class=bad>{escape(check.meaning)}</span>'}</td></tr>"
        for check in report.checks
    )
    return f"<div class='wide checks'><table><tr><th><th>check<th>worth<th>what was found</tr>{rows}</table></div>"


def _svg(figure: Figure) -> str:
    """Return a plot as SVG in the page's own colours, light or dark."""
    from matplotlib import rc_context

    out = io.StringIO()
    with rc_context({"svg.hashsalt": "hashwerk", "svg.fonttype": "none"}):
        figure.savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    for name, colour in COLOURS.items():
        text = text.replace(colour, f"var(--{name})")
    return text[text.index("<svg") :]


def _widths(rows: Sequence[Sequence[str]]) -> list[float]:
    """Return the shares of the width that columns get: as much as they need, none too little."""
    needed = [min(max(*map(len, column), 9), 44) for column in zip(*rows, strict=True)]
    return [count / sum(needed) for count in needed]


class _Pages:
    """Pages of text, filled from top to bottom."""

    def __init__(self) -> None:
        self.pages: list[Figure] = []
        self._y = 0.0

    def head(self, text: str) -> None:
        """Write a title, with room for a few lines below it."""
        self._need(0.08)
        self._y -= 0.012
        self.text(text, 11, bold=True)

    def text(self, text: str, size: float, *, bold: bool = False) -> None:
        """Write lines over the whole width."""
        if text:
            self.rows([[text]], (1.0,), size, bold=bold)

    def rows(
        self,
        rows: Sequence[Sequence[str]],
        widths: Sequence[float],
        size: float = 8,
        *,
        bold: bool = False,
    ) -> None:
        """Write rows of cells, each wrapped within its share of the width."""
        import textwrap

        step = size * 1.4 / (72 * 11.69)
        for row in rows:
            cells = [
                textwrap.wrap(cell, max(8, int(0.86 * width * 940 / size) - 1)) or [""]
                for cell, width in zip(row, widths, strict=True)
            ]
            lines = max(map(len, cells))
            self._need(step * lines)
            at = 0.07
            for cell, width in zip(cells, widths, strict=True):
                for number, line in enumerate(cell):
                    # A dollar sign would begin a formula.
                    self.pages[-1].text(
                        at,
                        self._y - number * step,
                        line.replace("$", r"\$"),
                        fontsize=size,
                        fontweight="bold" if bold else "normal",
                        va="top",
                    )
                at += 0.86 * width
            self._y -= step * lines + 0.002

    def _need(self, height: float) -> None:
        from matplotlib.figure import Figure

        if not self.pages or self._y - height < 0.05:
            self.pages.append(Figure(figsize=A4_INCHES))
            self._y = 0.95
