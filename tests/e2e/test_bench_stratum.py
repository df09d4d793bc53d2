"""The bench of the Stratum server runs and its figures are figures."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from hashwerk.bench.stratum import measure_connections, render, run_stratum_bench, running


def test_a_short_run_of_every_kind_of_load(tmp_path: Path) -> None:
    result = run_stratum_bench(
        scenarios=("throughput", "one_at_a_time", "paced"), seconds=0.5, folder=tmp_path
    )
    assert result.throughput is not None
    assert result.one_at_a_time is not None
    assert result.paced is not None
    assert result.shares_per_s is not None
    assert result.shares_per_s > 1_000
    assert result.throughput.rejected == result.one_at_a_time.rejected == result.paced.errors == 0
    assert result.cpu_us_per_share is not None
    assert 0 < result.cpu_us_per_share < 1_000
    assert result.one_at_a_time.ms_p50 is not None
    assert result.storm is None
    assert not list(tmp_path.iterdir())  # nothing of it is left
    console = Console(file=io.StringIO(), record=True, width=200)
    render(result, console)
    assert "shares/s accepted and durable" in console.export_text()


def test_machines_connect_and_get_a_new_block(tmp_path: Path) -> None:
    with running(tmp_path, transactions=100) as processes:
        result = measure_connections(processes, 200)
    assert result.connections == 200
    assert 0 < result.template_to_first_job_ms <= result.template_to_last_job_ms < 10_000
    assert result.connect_s > 0


def test_an_unknown_scenario_is_named() -> None:
    with pytest.raises(ValueError, match="'dance'"):
        run_stratum_bench(scenarios=("dance",))
