"""The figures of a bundle, each with what it is worth, and the list of what cannot be shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hashwerk.evidence.verify.run import _Run
    from hashwerk.evidence.verify.time import Bounds


def make_statement(run: _Run, bounds: list[Bounds]) -> dict[str, Any]:
    """Return the statement of a bundle."""
    return {}
