"""What servers put into their answers, in all the forms that are in use."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from hashwerk.stratum.v1.client_events import ReconnectRequested
from hashwerk.stratum.v1.codec import Reply

_MAX_EXTRANONCE1_BYTES: Final = 32  # FutureBit's firmware takes 16
_MAX_EXTRANONCE2_BYTES: Final = 16  # cgminer takes 2 to 16
_MAX_WAIT_S: Final = 3_600.0
_MAX_REASON_CHARS: Final = 256


class Refusal(msgspec.Struct, frozen=True):
    """Why a server says no."""

    code: int | None
    reason: str


def read_error(reply: Reply) -> Refusal | None:
    """Return why a request was refused, None if it was not.

    Forms: ``[code, "text", null]`` (most), ``{"code": …, "message": …}`` (JSON-RPC 2.0), ``"text"`` (ckpool),
    ``false`` with or without ``reject-reason`` (ckpool) or without any error at all.
    """
    error = reply.error
    if not error:  # null, or what some servers write for it: false, [], {}
        if reply.result is not None and reply.result is not False:
            return None
        return Refusal(None, _text(reply.reject_reason) or "refused without a reason")
    match error:
        case [code, message, *_]:
            return Refusal(_code(code), _text(message) or _text(reply.reject_reason) or "refused")
        case {"message": message}:
            return Refusal(_code(error.get("code")), _text(message) or "refused")
        case _:
            return Refusal(None, _text(error) or _text(reply.reject_reason) or "refused")


def _code(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(value: Any) -> str:
    return value[:_MAX_REASON_CHARS] if isinstance(value, str) else ""


class Subscription(msgspec.Struct, frozen=True):
    """The extranonce a server gives."""

    token: str | None
    extranonce1: bytes
    extranonce2_size: int


def read_subscription(result: Any) -> Subscription | None:
    """Return what ``[subscriptions, extranonce1, extranonce2_size]`` says; None if it is not that."""
    match result:
        case [subscriptions, str(extranonce1), int(size), *_] if 0 < size <= _MAX_EXTRANONCE2_BYTES:
            try:
                number = bytes.fromhex(extranonce1)
            except ValueError:
                return None
            if len(number) > _MAX_EXTRANONCE1_BYTES or isinstance(size, bool):
                return None
            return Subscription(_token(subscriptions), number, size)
    return None


def _token(subscriptions: Any) -> str | None:
    """Return the id of the notify subscription; some servers send one pair instead of a list of pairs."""
    if not isinstance(subscriptions, list):
        return None
    for pair in (subscriptions, *subscriptions):
        match pair:
            case ["mining.notify", str(token), *_] if token:
                return token
    return None


def read_reconnect(params: list[Any], host: str | None) -> ReconnectRequested:
    """Return where and when a server wants us; ``host`` is the one we are connected to."""
    other, port, wait_s = (*params[:3], None, None, None)[:3]
    other_host = other if isinstance(other, str) and other else None
    return ReconnectRequested(
        host=other_host,
        port=_port(port),
        wait_s=_seconds(wait_s),
        allowed=other_host is None or _same_domain(other_host, host),
    )


def _port(value: Any) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 5:
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 65_536 else None


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        return 0.0
    return float(min(value, _MAX_WAIT_S))


def _same_domain(other: str, host: str | None) -> bool:
    """Say whether two hosts are one, or names that differ in their first label only.

    As cgminer has it, but for addresses: 10.0.0.1 and 11.0.0.1 have no domain in common.
    """
    if host is None:
        return False
    ours, theirs = host.lower().rstrip("."), other.lower().rstrip(".")
    if ours == theirs:
        return True
    if any(name.rpartition(".")[2].isdigit() or ":" in name for name in (ours, theirs)):
        return False
    our_domain, their_domain = ours.partition(".")[2], theirs.partition(".")[2]
    return "." in our_domain and our_domain == their_domain
