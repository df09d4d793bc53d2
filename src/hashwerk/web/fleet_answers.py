"""What the fleet's part of the API answers: machines, plans and orders as JSON, refusals as answers."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, TypeVar

import msgspec
from fastapi import HTTPException, Response

from hashwerk.errors import FleetError, StoreError
from hashwerk.fleet.batch import Plan
from hashwerk.fleet.limits import words
from hashwerk.fleet.orders import Order
from hashwerk.site.fleet.service import FleetService, order_summary
from hashwerk.site.fleet.view import MachineView

_T = TypeVar("_T")


async def stored(result: Awaitable[_T]) -> _T:
    """Wait for an answer of the fleet, with its refusals as answers of the API."""
    try:
        return await result
    except FleetError as error:
        raise HTTPException(404 if "there is no" in str(error) else 409, str(error)) from error
    except StoreError as error:
        raise HTTPException(503, str(error)) from error


def known(service: FleetService, machine: str) -> MachineView:
    """Return the machine of a key, a MAC address, a serial number or an address; a refusal as an answer of the API."""
    try:
        return service.machine(machine)
    except FleetError as error:
        raise HTTPException(404, str(error)) from error


def given_answer(service: FleetService, order: Order) -> dict[str, Any]:
    """Return an order that was just given, with a note where nothing is sent."""
    summary = order_summary(order)
    if order.spec.dry_run and not service.settings.control:
        summary["note"] = "nothing is sent: set control = true in [fleet] to allow commands"
    return summary


def order_answer(order: Order) -> dict[str, Any]:
    """Return an order machine by machine."""
    return order_summary(order) | {
        "machines_detail": [
            {
                "machine": key,
                "command": words(progress.command),
                "phase": progress.phase.value,
                "attempts": progress.attempts,
                "sent_at": progress.sent_at,
                "outcome": None if progress.outcome is None else progress.outcome.kind.value,
                "message": None if progress.outcome is None else progress.outcome.message,
                "verdict": None if progress.effect is None else progress.effect.verdict.value,
                "effect": None if progress.effect is None else progress.effect.text,
                "before_w": progress.step.before_w,
                "expected_w": progress.step.after_w,
                "reason": progress.reason,
                "not_before": progress.not_before,
            }
            for key, progress in order.machines.items()
        ],
        "skips": [{"machine": key, "reason": reason} for key, reason in order.skips.items()],
    }


def plan_answer(plan: Plan) -> dict[str, Any]:
    """Return who would be told what, and who is left out."""
    return {
        "total_w": plan.total_w,
        "is_metered": plan.total_basis.value == "meter",
        "unknown": plan.unknown,
        "wanted_w": plan.wanted_w,
        "expected_w": plan.expected_w,
        "short_w": plan.short_w,
        "steps": [
            {
                "machine": step.key,
                "command": words(step.command),
                "before_w": step.before_w,
                "after_w": step.after_w,
                "marginal_j_per_th": step.marginal_j_per_th,
            }
            for step in plan.steps
        ],
        "skips": [{"machine": skip.key, "reason": skip.reason} for skip in plan.skips],
    }


def machine_answer(view: MachineView) -> dict[str, Any]:
    """Return everything about a machine, the machine's own words included."""
    values: dict[str, Any] = {name: getattr(view, name) for name in view.__struct_fields__}
    if view.reported is not None:
        reported = msgspec.structs.asdict(view.reported)
        reported.pop("identity")
        reported.pop("capabilities")  # a word each, beside
        values["reported"] = reported
    return values


def json_answer(value: object, status: int = 200) -> Response:
    """Return a value as JSON."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")
