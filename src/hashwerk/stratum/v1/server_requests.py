"""What a server session does with each request but `mining.submit`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from hashwerk.stratum.v1.codec import ErrorCode, Request
from hashwerk.stratum.v1.configure import negotiate, positive_difficulty
from hashwerk.stratum.v1.events import (
    AuthorizeRequested,
    Configured,
    DifficultySuggested,
    Event,
    ExtranonceSubscribed,
    SubscribeRequested,
)
from hashwerk.stratum.v1.requests import difficulty_from_password, difficulty_from_target, printable

if TYPE_CHECKING:
    from hashwerk.stratum.v1.server import ServerSession

_MAX_TOKEN_CHARS: Final = 128


def _param(request: Request, index: int) -> Any:
    return request.params[index] if index < len(request.params) else None


def _subscribe(session: ServerSession, request: Request, now: float) -> list[Event]:
    session.user_agent = printable(_param(request, 0))
    if session.extranonce is not None:  # asked again, it keeps what it has
        session.reply_subscribed(request.id)
        return []
    token = _param(request, 1)
    resumable = isinstance(token, str) and 0 < len(token) <= _MAX_TOKEN_CHARS
    return [SubscribeRequested(request.id, session.user_agent, token if resumable else None)]


def _authorize(session: ServerSession, request: Request, now: float) -> list[Event]:
    user, password = _param(request, 0), _param(request, 1)
    if not isinstance(user, str) or not user or len(user.encode()) > session.limits.max_user_bytes:
        return session.refuse(request.id, "Invalid user", now, ErrorCode.UNAUTHORIZED)
    if len(session.users) >= session.limits.max_users and user not in session.users:
        return session.refuse(request.id, "Too many users on one connection", now, ErrorCode.UNAUTHORIZED)
    if not isinstance(password, str):
        password = ""
    return [AuthorizeRequested(request.id, user, password, difficulty_from_password(password))]


def _configure(session: ServerSession, request: Request, now: float) -> list[Event]:
    codes, wanted = _param(request, 0), _param(request, 1)
    if not isinstance(codes, list) or not isinstance(wanted, dict | None):
        return session.refuse(request.id, "Invalid extensions", now)
    mask = session.mask
    answer = negotiate(codes, wanted or {}, mask.server_mask)
    if "version-rolling" in answer.result:
        mask.change(mask.server_mask, answer.client_mask, now)
    if "minimum-difficulty" in answer.result:
        session.minimum_difficulty = answer.minimum_difficulty
    if answer.subscribe_extranonce:
        session.extranonce_subscribed = True
    session.info = answer.info or session.info
    session.reply(request.id, answer.result)
    agreed = None if mask.client_mask is None else mask.agreed
    return [Configured(agreed, session.minimum_difficulty, answer.info)]


def _suggest_difficulty(session: ServerSession, request: Request, now: float) -> list[Event]:
    return _suggest(session, request, positive_difficulty(_param(request, 0)), now)


def _suggest_target(session: ServerSession, request: Request, now: float) -> list[Event]:
    return _suggest(session, request, difficulty_from_target(_param(request, 0)), now)


def _suggest(session: ServerSession, request: Request, difficulty: float | None, now: float) -> list[Event]:
    if difficulty is None:
        return session.refuse(request.id, "Invalid difficulty", now)
    session.suggested_difficulty = difficulty
    session.reply(request.id, True)
    return [DifficultySuggested(difficulty)]


def _extranonce_subscribe(session: ServerSession, request: Request, now: float) -> list[Event]:
    # NiceHash takes true, or error 20 "Not supported."; we do support it.
    session.extranonce_subscribed = True
    session.reply(request.id, True)
    return [ExtranonceSubscribed()]


def _ping(session: ServerSession, request: Request, now: float) -> list[Event]:
    session.reply(request.id, "pong")
    return []


def _unsupported(session: ServerSession, request: Request, now: float) -> list[Event]:
    session.reply_error(request.id, ErrorCode.OTHER, "Not supported.")
    return []


REQUESTS: Final[dict[str, Callable[[ServerSession, Request, float], list[Event]]]] = {
    "mining.subscribe": _subscribe,
    "mining.authorize": _authorize,
    "mining.configure": _configure,
    "mining.suggest_difficulty": _suggest_difficulty,
    "mining.suggest_target": _suggest_target,
    "mining.extranonce.subscribe": _extranonce_subscribe,
    "mining.ping": _ping,
    # Old firmware asks for these and works without.
    "mining.get_transactions": _unsupported,
    "mining.multi_version": _unsupported,
}
