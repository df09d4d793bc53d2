"""An order in the form in which files and messages give it, and what is wrong with it in plain words."""

from __future__ import annotations

import datetime
import math
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from hashwerk.dispatch.baselines import BaselineKind
from hashwerk.dispatch.orders import OrderKind
from hashwerk.errors import HashwerkError

#: Nobody has a limit above this, kW; a figure that is higher is a slip.
HIGHEST_KW: Final = 2_000_000.0
Moment = Annotated[datetime.datetime, Meta(tz=True)]


class NoticeError(HashwerkError):
    """What arrived is no order; the message says why. Nothing is done."""


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """An order as it was said. Without a start it begins when it is first heard."""

    id: str
    kind: OrderKind
    amount_w: float | None = None
    start_s: float | None = None
    stop_s: float | None = None
    duration_s: float | None = None
    baseline: BaselineKind = BaselineKind.METER_BEFORE
    restore_s: float = 300.0


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """The end of an order before its time."""

    id: str


class Written(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An order as JSON or TOML."""

    id: Annotated[str, Meta(min_length=1, max_length=64)]
    kind: Literal["reduce to", "reduce by", "all", "cancel"]
    amount_kw: Annotated[float, Meta(ge=0, le=HIGHEST_KW)] | None = None
    start: float | Moment | None = None
    stop: float | Moment | None = None
    minutes: Annotated[float, Meta(gt=0, le=525_600)] | None = None
    baseline: Literal["meter before", "high 4 of 5"] = "meter before"
    restore_s: Annotated[float, Meta(ge=0, le=86_400)] = 300.0


def read_notice(document: object) -> Notice | Ending:
    """Return what a decoded document orders.

    Raises:
        NoticeError: If it is no order.
    """
    try:
        said = msgspec.convert(document, Written)
    except msgspec.ValidationError as error:
        raise NoticeError(str(error)) from error
    if said.kind == "cancel":
        return Ending(id=said.id)
    if said.minutes is not None and said.stop is not None:
        raise NoticeError(f"order {said.id} has both `stop` and `minutes`")
    start_s, stop_s = _seconds(said.start), _seconds(said.stop)
    numbers = (said.amount_kw, start_s, stop_s, said.minutes, said.restore_s)
    if not all(math.isfinite(number) for number in numbers if number is not None):
        raise NoticeError(f"order {said.id} has a figure that is no number")
    if (said.amount_kw is None) != (said.kind == "all"):
        raise NoticeError(
            f"order {said.id}: {said.kind} {'has no' if said.kind == 'all' else 'needs'} amount_kw"
        )
    return Notice(
        id=said.id,
        kind=OrderKind(said.kind),
        amount_w=None if said.amount_kw is None else said.amount_kw * 1e3,
        start_s=start_s,
        stop_s=stop_s,
        duration_s=None if said.minutes is None else said.minutes * 60.0,
        baseline=BaselineKind(said.baseline),
        restore_s=said.restore_s,
    )


def _seconds(moment: float | datetime.datetime | None) -> float | None:
    return moment.timestamp() if isinstance(moment, datetime.datetime) else moment
