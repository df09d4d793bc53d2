"""What the fleet's part of the API takes, as typed models."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Words = Annotated[str, Field(min_length=1, max_length=200)]


class Body(BaseModel):
    """Base: what is not known is refused, so that a slip of the pen commands nobody."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Because(Body):
    """Who wants something, and why; both go into the record."""

    who: Words = "api"
    why: Words = "no reason given"


class CurtailBody(Because):
    """Bring power down: exactly one of ``to_kw``, ``by_kw`` and ``all``."""

    to_kw: float | None = Field(None, ge=0)
    by_kw: float | None = Field(None, ge=0)
    all: bool = False
    group: str | None = None
    machines: list[Words] | None = Field(
        None, description="Only these: ids, MAC addresses, serial numbers or addresses."
    )
    dry_run: bool = False
    partial: bool | None = Field(None, description="Use lower modes too; null: as the settings say.")
    must: bool = Field(False, description="Before minimum times and the budget of starts.")
    until: float | None = Field(None, description="Unix seconds at which everything is put back.")
    preview: bool = Field(False, description="Only say who would be told what; no order is given.")


class ResumeBody(Because):
    """Put back what an order, or all, changed."""

    order: str | None = None
    group: str | None = None
    dry_run: bool = Field(False, description="Only say what would be put back.")


def _pool_url(text: str) -> str:
    """Return a pool's URL: a machine with one that is none mines for nobody."""
    try:
        parts = urlsplit(text)
        is_place = bool(parts.hostname) and parts.port is not None and parts.username is None
        is_pool = is_place and parts.scheme.startswith("stratum")
    except ValueError:
        is_pool = False
    if not is_pool:
        raise ValueError(f"{text!r} is no pool: write it as stratum+tcp://HOST:PORT, its user beside it")
    return text


class PoolBody(Body):
    """A pool to be written into machines."""

    url: Annotated[Words, AfterValidator(_pool_url)]
    user: Words
    password: str = "x"  # noqa: S105 - what pools that ask for none are given


class CommandBody(Because):
    """Tell machines something."""

    machines: list[Words] | None = Field(None, description="Ids, MAC addresses, serial numbers or addresses.")
    group: str | None = None
    command: Literal["sleep", "wake", "mode", "power-limit", "reboot", "locate", "pools", "fan"]
    mode: str | None = Field(None, description="For mode; for wake the mode to wake in.")
    power_limit_w: int | None = Field(None, ge=0, description="For power-limit.")
    on: bool = Field(True, description="For locate.")
    pools: list[PoolBody] | None = Field(None, max_length=3, description="For pools, the first one first.")
    percent: int | None = Field(
        None, ge=0, le=100, description="For fan; null gives it back to the firmware."
    )
    dry_run: bool = False
    preview: bool = Field(False, description="Only say who would be told what; no order is given.")


class OrderBody(Because):
    """What is to become of an order."""

    action: Literal["abort", "continue", "restore"]


class HoldBody(Because):
    """Take a machine for maintenance, or give it back."""

    until: float | None = None
    release: bool = False


class SilenceBody(Because):
    """Tell nobody of what fits, until a moment."""

    until: float
    kind: str | None = None
    subject: str | None = None


class ScanBody(Because):
    """Look for machines now; ``host`` looks at one address only."""

    host: str | None = None
