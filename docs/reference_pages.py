"""Writes the reference pages from the code itself, so that they cannot go stale."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from hashwerk import errors
from hashwerk.cli import cli
from hashwerk.clock import VirtualClock
from hashwerk.config.decode import describe
from hashwerk.config.site import SiteConfig
from hashwerk.fleet.settings import FleetSettings
from hashwerk.pool.upstream.views import UpstreamView
from hashwerk.site.energy.view import EnergyView
from hashwerk.site.fleet import FleetService
from hashwerk.site.messages import NodeView, Rate, Snapshot, TemplateView, WorkerView
from hashwerk.web.energy_api import EnergyCollector
from hashwerk.web.fleet_metrics import FleetCollector
from hashwerk.web.metrics import MineCollector
from hashwerk.web.state import MineView


def write_reference(folder: Path) -> None:
    """Write configuration, command line and error pages into ``folder``."""
    folder.mkdir(exist_ok=True)
    for name, text in (
        ("configuration.md", configuration_page()),
        ("cli.md", cli_page()),
        ("errors.md", errors_page()),
        ("metrics.md", metrics_page()),
    ):
        path = folder / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def configuration_page() -> str:
    """Return the page of every setting, its type, default and meaning."""
    lines = [
        "# Configuration",
        "",
        "One TOML file, checked with `hashwerk check-config site.toml`. Everything has a default.",
        "",
    ]
    for table in msgspec.structs.fields(SiteConfig):
        kind, is_list = _struct_of(table.type)
        if kind is not None:
            lines += _table(table.name, kind, is_list=is_list)
            continue
        for one in _kinds_of(table.type):
            lines += _table(table.name, one, is_list=is_list)
    return "\n".join(lines) + "\n"


def _table(path: str, kind: type[msgspec.Struct] | None, *, is_list: bool) -> list[str]:
    if kind is None:
        raise TypeError(f"[{path}] is no table of settings")
    heading = f"[[{path}]]" if is_list else f"[{path}]"
    if kind.__struct_config__.tag_field is not None:
        heading += f' {kind.__struct_config__.tag_field} = "{kind.__struct_config__.tag}"'
    words = (kind.__doc__ or "").strip().split("\n\n")[0]
    lines = [f"## `{heading}`", "", words + (" One section each." if is_list else ""), ""]
    nested: list[str] = []
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    for field in msgspec.structs.fields(kind):
        inner = _struct_of(field.type)
        if inner[0] is not None:
            nested += _table(f"{path}.{field.name}", inner[0], is_list=inner[1])
            continue
        default = field.default
        if field.default_factory is not msgspec.NODEFAULT:
            default = field.default_factory()
        if default is msgspec.NODEFAULT:
            shown = "required"
        else:
            shown = "none" if default is None else f"`{msgspec.json.encode(default).decode()}`"
        rows.append(f"| `{field.name}` | {shown} | {describe(field)} |")
    if len(rows) == 2:
        rows = []
    return [*lines, *rows, "", *nested]


def _struct_of(kind: object) -> tuple[type[msgspec.Struct] | None, bool]:
    """Return the struct a setting is a table of, if it is one, and whether there may be many."""
    plain = _plain_type(kind)
    is_list = typing.get_origin(plain) is tuple
    inner = _plain_type(typing.get_args(plain)[0]) if is_list else plain
    return (
        (inner, is_list) if isinstance(inner, type) and issubclass(inner, msgspec.Struct) else (None, is_list)
    )


def _kinds_of(kind: object) -> list[type[msgspec.Struct]]:
    """Return the structs of a setting that may be one of several, told apart by their tag."""
    plain = _plain_type(kind)
    inner = _plain_type(typing.get_args(plain)[0]) if typing.get_origin(plain) is tuple else plain
    members: tuple[object, ...] = typing.get_args(inner)
    found = [one for one in members if isinstance(one, type) and issubclass(one, msgspec.Struct)]
    if not found:
        raise TypeError(f"{kind!r} is no table of settings")
    return found


def _plain_type(kind: object) -> type:
    while typing.get_origin(kind) is typing.Annotated:
        kind = typing.get_args(kind)[0]
    return typing.cast(type, kind)


def cli_page() -> str:
    """Return the page of every command, as its own `--help` describes it."""
    lines = ["# Command line", ""]
    with click.Context(cli, info_name="hashwerk") as root:
        for name in cli.list_commands(root):
            command = cli.get_command(root, name)
            assert command is not None
            lines += _command(command, name, root)
    return "\n".join(lines) + "\n"


def _command(command: click.Command, name: str, parent: click.Context) -> list[str]:
    context = click.Context(command, info_name=name, parent=parent, max_content_width=100)
    lines = [f"## `{context.command_path}`", "", "```text", command.get_help(context), "```", ""]
    if isinstance(command, click.Group):
        for sub in command.list_commands(context):
            inner = command.get_command(context, sub)
            assert inner is not None
            lines += _command(inner, sub, context)
    return lines


def errors_page() -> str:
    """Return the page of every error, with its exit code and whether trying again can help."""
    lines = [
        "# Errors and exit codes",
        "",
        "| error | exit code | try again? | meaning |",
        "|---|---|---|---|",
    ]
    for kind in _subclasses(errors.HashwerkError):
        meaning = (kind.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")
        lines.append(
            f"| `{kind.__name__}` | {kind.exit_code} | {'yes' if kind.retry else 'no'} | {meaning} |"
        )
    return "\n".join(lines) + "\n"


def _subclasses(kind: type[errors.HashwerkError]) -> list[type[errors.HashwerkError]]:
    found = [kind] if kind.__module__ == errors.__name__ else []
    for child in kind.__subclasses__():
        found += _subclasses(child)
    return found


def metrics_page() -> str:
    """Return the page of every metric under `/metrics`, from the collectors of a mine with nothing missing."""
    lines = [
        "# Metrics",
        "",
        "Served at `/metrics` in the text format of Prometheus. A value that is not known is left out, never 0.",
    ]
    for title, words, collector in _collectors():
        lines += [
            "",
            f"## {title}",
            "",
            words,
            "",
            "| metric | kind | labels | meaning |",
            "|---|---|---|---|",
        ]
        for family, labels in _families(collector):
            name = family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")
            lines.append(f"| `{name}` | {family.type} | {labels} | {family.documentation} |")
    return "\n".join(lines) + "\n"


def _families(collector: Collector) -> Iterator[tuple[Metric, str]]:
    """Yield each family with the labels of its samples, in words."""
    for family in collector.collect():
        labels = dict.fromkeys(label for sample in family.samples for label in sample.labels)
        labels = labels or dict.fromkeys(getattr(family, "_labelnames", ()))
        yield family, ", ".join(f"`{label}`" for label in labels) or "–"


def _collectors() -> Iterator[tuple[str, str, Collector]]:
    """Yield a heading, a line of words and the collector of each part of a mine."""
    clock = VirtualClock()
    view = MineView(None, clock)
    view.receive(_complete_snapshot())
    yield (
        "The mine",
        "Those of upstream pools, `hashwerk_upstream_…`, where pools are configured.",
        MineCollector(view, clock),
    )
    fleet = FleetService(FleetSettings(), Path("fleet.sqlite"), clock, drivers=(), channels=())
    yield "The fleet", "Where `[fleet]` has `ranges`. `machine` is the machine's key.", FleetCollector(fleet)
    yield "Energy", "Where machines are planned by the price of their energy.", EnergyCollector(_Energy())


class _Energy:
    """A site's energy of which nothing is known yet."""

    def view(self) -> EnergyView:
        return EnergyView(
            at_s=0.0, is_simulation=False, sentence="", policy="", controls=False, stance="free", reasons=(),
            currency="EUR", price_per_mwh=None, hashprice_per_ph_day=None, hashprice_from="", setpoint_w=None,
            measured_w=None, measured_by="", revenue_per_h=None, cost_per_h=None, margin_per_h=None, price=None,
            carbon=None, sources=(), groups=(), plan=None, orders=(), bill=None, clean=None, feeds=(), meters=(),
        )  # fmt: skip


def _complete_snapshot() -> Snapshot:
    rates = {window: Rate(1.0, 0.5, 2.0, 4) for window in ("1m", "10m", "1h", "24h")}
    worker = WorkerView(
        id=1, account="account", machine="machine", sessions=1, user_agent="", remote="", work_log2=32,
        hashrate=dict(rates), accepted=1, rejected={"stale": 1}, last_share_at=0.0,
    )  # fmt: skip
    pool = UpstreamView(
        name="pool", url="", user="", priority=1, share=1.0, state="working", role="in use", reason=None, usable_in_s=None,
        sessions=1, connections=1, difficulty=1.0, height=1, last_job_at=0.0, seen_hs={"10m": 1.0},
        credited_hs={"10m": 1.0}, forwarded=1, accepted=1, rejected={}, lost=0, waiting=0, accepted_difficulty="1",
        latency_ms_p50=1.0, latency_ms_p99=1.0,
    )  # fmt: skip
    return Snapshot(
        at=1.0, started_at=0.0, version="", serving=True, hashrate=dict(rates), accepted=1, rejected={"stale": 1},
        node=NodeView(
            kind="kernel", network="testnet4", height=1, tip="00", healthy=True, private=True, difficulty=1.0,
            expected_block_s=1.0,
        ),
        template=TemplateView(
            height=1, prev_hash="00", nbits="00", transactions=0, coinbase_value_sat=0, received_at=0.0,
            template_to_job_ms=1.0,
        ),
        accepted_work="1", blocks={"accepted": 1}, recent_blocks=[], sessions=1, workers=[worker], workers_total=1,
        accounts=[], accounts_total=0,
        submit_ms_p50=1.0, submit_ms_p99=1.0, commit_ms_p99=1.0, jobs=1, stratum_url="", simulation=False,
        warnings=[], upstreams=[pool],
    )  # fmt: skip
