"""`hashwerk bench`: measure, and print what was measured."""

from __future__ import annotations

import click


@click.group()
def bench() -> None:
    """Measure this machine: hashing kernels, Stratum server."""
