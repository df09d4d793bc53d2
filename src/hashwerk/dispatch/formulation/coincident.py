"""Peaks of the whole grid: docs/formulations/coincident.md."""

from __future__ import annotations

from hashwerk.dispatch.formulation.columns import W_PER_MW, Columns
from hashwerk.dispatch.formulation.model import Model
from hashwerk.dispatch.problem import Problem

_KW_PER_MW = W_PER_MW / 1_000


def add_coincident_peaks(model: Model, problem: Problem, columns: Columns) -> None:
    """Add what the import in a peak of the whole grid is expected to cost, for each kind of peak.

        expected = Σ_t chance_t · import[t];  objective: + price · expected

    Whether t is a peak is known only afterwards; the expectation is linear, so no more than the chance is needed. The dual is
    the price: what one MW less in a certain peak saves.
    """
    for peak in problem.coincident:
        expected = model.add_columns(f"coincident {peak.name}", (1,), cost=peak.price_per_kw * _KW_PER_MW)
        model.add_rows(
            f"coincident {peak.name}",
            [(expected, -1.0), (columns.imports[:, None], peak.chance[:, None])],
            lower=0.0,
            upper=0.0,
        )
