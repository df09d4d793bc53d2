"""Every metric that a mine exposes stands in the reference, with its kind, its labels and its meaning."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import re
import sys
from pathlib import Path
from types import ModuleType

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

import hashwerk.web
from hashwerk.clock import VirtualClock
from hashwerk.pool.upstream.views import UpstreamView
from hashwerk.web.metrics import render_metrics
from hashwerk.web.state import MineView

ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| (.*?) \| (.+) \|$", re.MULTILINE)


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    path = Path(__file__).parents[3] / "docs" / "reference_pages.py"
    spec = importlib.util.spec_from_file_location("reference_pages", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["reference_pages"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def documented(reference: ModuleType) -> dict[str, tuple[str, set[str]]]:
    rows = ROW.findall(reference.metrics_page())
    assert all(meaning.strip() for *_, meaning in rows)
    assert len(rows) == len({name for name, *_ in rows}), "each stands there once"
    return {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels, _ in rows}


def test_every_collector_of_the_program_has_a_part_of_the_page(reference: ModuleType) -> None:
    for module in pkgutil.walk_packages(hashwerk.web.__path__, "hashwerk.web."):
        importlib.import_module(module.name)
    ours = {kind for kind in _kinds(Collector) if kind.__module__.startswith("hashwerk.")}
    assert {type(collector) for _, _, collector in reference._collectors()} == ours


def test_what_is_exposed_is_documented(
    documented: dict[str, tuple[str, set[str]]],
    web_site: ModuleType,
    clock: VirtualClock,
    reference: ModuleType,
) -> None:
    view = MineView(None, clock)
    view.collectors += [collector for _, _, collector in reference._collectors()][1:]
    pool = UpstreamView(
        name="first", url="", user="", priority=1, share=1.0, state="working", role="in use", reason=None, usable_in_s=None,
        sessions=1, connections=1, difficulty=1.0, height=1, last_job_at=0.0, seen_hs={"10m": 1.0}, credited_hs={"10m": 1.0},
        forwarded=1, accepted=1, rejected={}, lost=0, waiting=0, accepted_difficulty="1", latency_ms_p50=1.0,
        latency_ms_p99=1.0,
    )  # fmt: skip
    view.receive(msgspec.structs.replace(web_site.sample(clock.now), upstreams=[pool]))
    exposed = render_metrics(view, clock).decode()
    names = set(re.findall(r"^# TYPE (\w+) ", exposed, re.MULTILINE))
    assert names == documented.keys()
    for family in text_string_to_metric_families(exposed):
        for sample in family.samples:
            kind, labels = documented[sample.name]
            assert kind == "info" or set(sample.labels) <= labels, sample.name


def _kinds(kind: type) -> set[type]:
    return {kind, *(found for child in kind.__subclasses__() for found in _kinds(child))}
