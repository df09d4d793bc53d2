"""Commands in the dialects of Avalons.

A10 to A16 take bare values (``workmode,1``, ``softoff``) and need a reboot to take up a mode or to wake; Nano 3, Mini 3
and Q take verbs (``workmode,set,1``) and a time by the machine's own clock (``softoff,1:<time + 5>``). Both "S / ASC 0
set OK" and "I / ASC 0 set info: success …" mean that a command was accepted; neither means that anything happened.
"""

from __future__ import annotations

import asyncio
from typing import Final, assert_never

import msgspec

from hashwerk.devices.avalon.fields import Fields
from hashwerk.devices.avalon.models import Dialect
from hashwerk.devices.avalon.web import set_pools_on_the_page
from hashwerk.devices.cgminer import NoReplyError, ask, json_request, text_request
from hashwerk.devices.words import without_secrets
from hashwerk.fleet.commands import (
    Command,
    Locate,
    PoolTarget,
    Reboot,
    SetFan,
    SetMode,
    SetPools,
    SetPowerLimit,
    Sleep,
    Wake,
)
from hashwerk.fleet.machine import Outcome, OutcomeKind
from hashwerk.fleet.ports import Address, Credentials

#: The firmware wants a time in the future; the maker's own app adds as much.
LEAD_S: Final = 5
#: An Avalon keeps three pools.
_POOL_SLOTS: Final = 3
_VERBAL_FAN_PERCENT: Final = range(15, 101)
#: What a fresh machine's page and setpool ask for.
_DEFAULT_USER: Final = "root"
_DEFAULT_PASSWORD: Final = "root"  # noqa: S105 - the maker's, printed in the manual
_DEFAULT_PAGE_PASSWORD: Final = "admin"  # noqa: S105 - likewise


class Recipient(msgspec.Struct, frozen=True, kw_only=True):
    """A machine that is about to be told something, as its last poll showed it."""

    address: Address
    dialect: Dialect
    fields: Fields
    clock_s: float | None
    credentials: Credentials
    web_port: int
    lead_s: int
    deadline: float  # of the running loop's clock


async def execute(to: Recipient, command: Command) -> Outcome:
    """Send a command in the machine's dialect and return its answer.

    Raises:
        DeviceError: If the machine cannot be reached: then nothing was sent.
    """
    match command:
        case Sleep():
            return await _ascset(to, _timed(to, "softoff"))
        case Wake(mode=mode):
            return await _wake(to, mode)
        case SetMode(mode=mode):
            return await _set_mode(to, mode)
        case Reboot():
            return await _ascset(to, "reboot,0")
        case Locate(on=on):
            return await _ascset(to, f"led,1-{int(on)}")
        case SetPools(pools=pools):
            return await _set_pools(to, pools)
        case SetFan(percent=percent):
            return await _set_fan(to, percent)
        case SetPowerLimit():
            return _unsupported("an Avalon has modes, no limit in watts")
        case _:
            assert_never(command)


def _timed(to: Recipient, option: str) -> str:
    """Return ``option`` with the machine's own time; without one where it has none or counts from boot."""
    if not to.dialect.is_verbal or to.clock_s is None:
        return option
    return f"{option},1:{int(to.clock_s) + to.lead_s}"


async def _wake(to: Recipient, mode: str | None) -> Outcome:
    if not to.dialect.is_verbal:
        if _hashes(to) and mode in (None, _mode_now(to)):
            return Outcome(
                kind=OutcomeKind.ACCEPTED, message="awake already; nothing sent, for waking is a reboot"
            )
        # The boards come back with a reboot, in the mode that stands in the configuration.
        return await _set_mode(to, mode or _mode_now(to) or to.dialect.modes[0])
    if mode is not None and _mode_number(to, mode) != _mode_number(to, _mode_now(to) or ""):
        outcome = await _set_mode(to, mode)
        # A machine that reboots for its mode comes back awake.
        if outcome.kind is not OutcomeKind.ACCEPTED or to.dialect.mode_takes_reboot:
            return outcome
    return await _ascset(to, _timed(to, "softon"))


async def _set_mode(to: Recipient, mode: str) -> Outcome:
    number = _mode_number(to, mode)
    if number is None:
        return _unsupported(f"no mode {mode!r}; there are {', '.join(to.dialect.modes)}")
    verb = "set," if to.dialect.is_verbal else ""
    outcome = await _ascset(to, f"{to.dialect.mode_option},{verb}{number}")
    if outcome.kind is not OutcomeKind.ACCEPTED or not to.dialect.mode_takes_reboot:
        return outcome
    return await _ascset(to, "reboot,0")


def _hashes(to: Recipient) -> bool:
    return (
        "in work" in (to.fields.text("SYSTEMSTATU") or "").lower() and (to.fields.number("GHSspd") or 0) > 0
    )


def _mode_number(to: Recipient, mode: str) -> int | None:
    names = [name.lower() for name in to.dialect.modes]
    return names.index(mode.lower()) if mode.lower() in names else None


def _mode_now(to: Recipient) -> str | None:
    number = to.fields.integer(to.dialect.mode_option.upper())
    return to.dialect.modes[number] if number is not None and 0 <= number < len(to.dialect.modes) else None


async def _set_pools(to: Recipient, pools: tuple[PoolTarget, ...]) -> Outcome:
    if not 0 < len(pools) <= _POOL_SLOTS:
        return _unsupported(f"an Avalon keeps one to {_POOL_SLOTS} pools, not {len(pools)}")
    if not to.dialect.has_setpool:
        return await set_pools_on_the_page(
            to.address,
            pools,
            password=to.credentials.password or _DEFAULT_PAGE_PASSWORD,
            web_port=to.web_port,
            timeout_s=_time_left(to),
        )
    if any("," in text for pool in pools for text in (pool.url, pool.user, pool.password)):
        return _unsupported("setpool separates its parts by commas; none may stand within one")
    outcome = _unsupported("no pools")
    for slot, pool in enumerate(pools):
        outcome = await _ascset(to, _setpool(to.credentials, slot, pool))
        if outcome.message is not None:  # a firmware that repeats what it was told would show the passwords
            told = without_secrets(
                outcome.message, (to.credentials.password, *(pool.password for pool in pools))
            )
            outcome = msgspec.structs.replace(outcome, message=told)
        if outcome.kind is not OutcomeKind.ACCEPTED:
            return msgspec.structs.replace(outcome, message=f"pool {slot + 1}: {outcome.message}")
    return msgspec.structs.replace(
        outcome, message=f"{outcome.message}; taken up at the next reboot", awaits_restart=True
    )


def _setpool(credentials: Credentials, slot: int, pool: PoolTarget) -> str:
    user, password = credentials.user or _DEFAULT_USER, credentials.password or _DEFAULT_PASSWORD
    return f"setpool,{user},{password},{slot},{pool.url},{pool.user},{pool.password}"


async def _set_fan(to: Recipient, percent: int | None) -> Outcome:
    if percent is None:
        if not to.dialect.is_verbal:
            return _unsupported("this firmware knows no way to give the fans back")
        return await _ascset(to, "fan-spd,-1")
    if to.dialect.is_verbal and percent not in _VERBAL_FAN_PERCENT:
        return _unsupported(f"fans run at 15 to 100 %, not {percent}")
    if not 0 <= percent <= 100:
        return _unsupported(f"fans run at 0 to 100 %, not {percent}")
    return await _ascset(to, f"fan-spd,{percent}")


async def _ascset(to: Recipient, parameter: str) -> Outcome:
    """Send one ascset; the older dialect gets the older form, which every firmware of it was seen to take."""
    form = json_request if to.dialect.is_verbal else text_request
    try:
        reply = await ask(to.address, form("ascset", f"0,{parameter}"), timeout_s=_time_left(to))
    except NoReplyError as error:
        return Outcome(kind=OutcomeKind.UNANSWERED, message=str(error))
    if reply.status is None:
        return Outcome(kind=OutcomeKind.UNANSWERED, message="a reply without a status")
    kind = OutcomeKind.ACCEPTED if reply.status.is_ok else OutcomeKind.REFUSED
    return Outcome(kind=kind, message=reply.status.message or None)


def _time_left(to: Recipient) -> float:
    return max(to.deadline - asyncio.get_running_loop().time(), 0.0)


def _unsupported(message: str) -> Outcome:
    return Outcome(kind=OutcomeKind.UNSUPPORTED, message=message)
