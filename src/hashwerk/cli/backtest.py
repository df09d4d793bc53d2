"""`hashwerk backtest`: what a policy would have earned on real history, and what perfect foresight would have."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from hashwerk.cli.output import json_option, print_json

if TYPE_CHECKING:
    from hashwerk.dispatch.backtest.report import BacktestResult, PolicyResult
    from hashwerk.dispatch.backtest.settings import BacktestSettings

_DAY = click.DateTime(["%Y-%m-%d"])


@click.command("backtest")
@click.argument("site_files", metavar="SITE.toml…", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--from", "start", required=True, type=_DAY, help="First day, UTC.")
@click.option("--to", "stop", required=True, type=_DAY, help="The day after the last, UTC.")
@click.option(
    "--data",
    "folder",
    default=".",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the series that the site file names.",
)
@click.option(
    "--plots", type=click.Path(path_type=Path, file_okay=False), help="Write PNG files into this folder."
)
@click.option("--processes", type=click.IntRange(1, 256), help="Sites at a time; default: one a core.")
@json_option
def backtest(  # noqa: PLR0917 - click calls it by name
    site_files: tuple[Path, ...],
    start: datetime.datetime,
    stop: datetime.datetime,
    folder: Path,
    plots: Path | None,
    processes: int | None,
    as_json: bool,
) -> None:
    """Replay real history through a site's policies and limits.

    Every policy is compared with always-on and with perfect foresight, which is a bound and cannot be had. No policy sees a price
    before it was published. Several site files run side by side.

    \b
    Example:
        hashwerk backtest se2.toml --from 2023-01-01 --to 2024-01-01 --data series --plots plots
    """
    from hashwerk.dispatch.backtest.plots import save_plots
    from hashwerk.dispatch.backtest.run import Job, run_many

    span = [moment.replace(tzinfo=datetime.UTC).timestamp() for moment in (start, stop)]
    jobs: list[Job] = []
    for path in site_files:
        name, settings = load_backtest(path)
        taken = sum(job.name.partition(" #")[0] == name for job in jobs)
        jobs.append(
            Job(
                name=f"{name} #{taken + 1}" if taken else name,
                settings=settings,
                folder=str(folder),
                start_s=span[0],
                stop_s=span[1],
            )
        )
    with _progress(as_json) as progress:
        courses = run_many(jobs, processes=processes, progress=progress)
    files = [file for course in courses for file in save_plots(course, plots)] if plots is not None else []
    if as_json:
        print_json({"sites": [course.result for course in courses], "plots": [str(file) for file in files]})
        return
    for course in courses:
        _print(course.result)
    for file in files:
        click.echo(f"wrote {file}")


def load_backtest(path: Path) -> tuple[str, BacktestSettings]:
    """Return a site's name and its `[backtest]` table.

    Raises:
        InvalidConfigError: With every problem that was found.
    """
    from hashwerk.config.decode import decode_struct, line_numbers, parse_toml
    from hashwerk.config.problems import InvalidConfigError, Problem
    from hashwerk.dispatch.backtest.settings import BacktestSettings

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidConfigError(str(path), [Problem("", f"cannot be read: {error}", None)]) from error
    document, problems = parse_toml(text)
    if not problems and "backtest" not in document:
        problems = [Problem("backtest", "is required", None, "what is replayed: docs/guide/backtest.md")]
    if problems:
        raise InvalidConfigError(str(path), problems)
    settings, problems = decode_struct(BacktestSettings, document["backtest"], line_numbers(text), "backtest")
    if settings is None or problems:
        raise InvalidConfigError(str(path), problems)
    site = document.get("site", {})
    return str(site.get("name", path.stem)), settings


def _progress(as_json: bool) -> AbstractContextManager[Callable[[str, float], None] | None]:
    if as_json:
        return nullcontext()
    return _Bars()


class _Bars:
    """A progress bar a site, on standard error."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import Progress, TaskID

        console = Console(stderr=True)
        self._progress = Progress(console=console, transient=True, disable=not console.is_terminal)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Callable[[str, float], None]:
        self._progress.start()
        return self._advance

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def _advance(self, name: str, share: float) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=1.0)
        self._progress.update(self._tasks[name], completed=share)


def _print(result: BacktestResult) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console()
    largest = max(abs(value) for policy in result.policies for value in (policy.revenue, policy.energy_cost))
    unit, money = (1e3, f"thousand {result.currency}") if largest >= _SMALL else (1.0, result.currency)
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        title=f"{result.site}, {result.start} to {result.stop}\n{result.machines:,} machines,"
        f" {result.intervals:,} intervals of {result.interval_s / 60:g} min",
        caption=f"perfect foresight (a bound, {result.foresight_method}):\n{_amount(result.foresight_margin, unit)} {money}",
    )
    table.add_column("")
    for policy in result.policies:
        table.add_column(policy.policy, justify="right")
    for title, amount in _AMOUNTS.items():
        table.add_row(title, *(_amount(amount(policy), unit) for policy in result.policies))
    if any(policy.against_strike is not None for policy in result.policies):
        table.add_row(
            "against the strike", *(_amount(policy.against_strike, unit) for policy in result.policies)
        )
    for title, shown in _ROWS.items():
        table.add_row(title, *(shown(policy) for policy in result.policies))
    console.print(table)
    console.print(f"Money in {money}. Regret: what perfect foresight had more.", highlight=False)
    console.print("Curtailed: less than half of the machines on.", highlight=False)
    if result.missing_h:
        console.print(f"{result.missing_h:,.0f} h have no price and are in no account.", highlight=False)
    console.print("Assumed:", highlight=False)
    for line in result.assumptions:
        console.print(f"  · {line}", highlight=False)
    for policy in result.policies:
        for remark in policy.remarks:
            console.print(f"  ! {policy.policy}: {remark}", highlight=False)


def _amount(value: float | None, unit: float) -> str:
    if value is None:
        return ""
    digits = 1 if unit > 1 else 2
    return f"{round(value / unit, digits) + 0.0:,.{digits}f}"


def _or_dash(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


#: Below this, in the site's currency, nothing is shown in thousands.
_SMALL: Final = 100_000.0

#: The lines of the table, amounts and others, and how each is read from a policy's result.
_AMOUNTS: Final[dict[str, Callable[[PolicyResult], float]]] = {
    "revenue": lambda policy: policy.revenue,
    "energy": lambda policy: -policy.energy_cost,
    "demand charge": lambda policy: -policy.demand_cost,
    "carbon, wear": lambda policy: -policy.other_cost,
    "margin": lambda policy: policy.margin,
    "against always on": lambda policy: policy.against_always_on,
    "regret": lambda policy: policy.regret,
}
_ROWS: Final[dict[str, Callable[[PolicyResult], str]]] = {
    "imported MWh": lambda policy: _or_dash(
        policy.imported_mwh, ",.0f" if policy.imported_mwh >= 100 else ".1f"
    ),
    "paid per MWh": lambda policy: _or_dash(policy.mean_price_per_mwh, ",.2f"),
    "tCO2": lambda policy: _or_dash(policy.emission_t, ",.0f" if (policy.emission_t or 0) >= 100 else ".1f"),
    "uptime": lambda policy: f"{policy.uptime:.1%}",
    "starts a machine": lambda policy: f"{policy.starts_per_machine:,.0f}",
    "hours curtailed": lambda policy: f"{policy.curtailed_h:,.0f}",
}
