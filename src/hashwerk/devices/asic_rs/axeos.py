"""AxeOS, the firmware of Bitaxe and Nerdaxe: the one command that it has, which the library does not send."""

from __future__ import annotations

import re
from typing import Final

from hashwerk.devices.cgminer import NoReplyError, exchange
from hashwerk.fleet.machine import Outcome, OutcomeKind
from hashwerk.fleet.ports import Address

_PAGE_PORT: Final = 80
_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3})\b")


async def restart(address: Address, *, timeout_s: float) -> Outcome:
    """Restart a machine through ``POST /api/system/restart``.

    Raises:
        UnreachableError: If its page cannot be reached: then nothing was sent.
    """
    request = (
        f"POST /api/system/restart HTTP/1.0\r\nHost: {address.host}\r\nContent-Length: 0\r\n\r\n".encode()
    )
    try:
        answer = await exchange(Address(host=address.host, port=_PAGE_PORT), request, timeout_s=timeout_s)
    except NoReplyError as error:  # it restarts before it answers
        return Outcome(kind=OutcomeKind.UNANSWERED, message=str(error))
    status = _STATUS.match(answer)
    if status is None:
        return Outcome(kind=OutcomeKind.UNANSWERED, message="an answer that is not HTTP")
    kind = OutcomeKind.ACCEPTED if status.group(1).startswith(b"2") else OutcomeKind.REFUSED
    return Outcome(kind=kind, message=f"HTTP status {status.group(1).decode()}")
