"""Machines that the library cannot open: most often an Antminer whose password is not the maker's any more.

Their cgminer API still says who they are, so they are shown, with the reason why nothing else is known.
"""

from __future__ import annotations

import re
from typing import Final

from hashwerk.devices.cgminer import ask, exchange, json_request
from hashwerk.devices.cgminer_reply import Section, text_of
from hashwerk.errors import DeviceError
from hashwerk.fleet.machine import Capability, Identity, Reading, WorkState
from hashwerk.fleet.ports import Address

_PAGE_PORT: Final = 80
_UNAUTHORISED: Final = re.compile(rb"HTTP/1\.[01] 401\b")
DOUBT: Final = "everything: the machine is there and does not let us in; it needs its password"


async def locked_reading(address: Address, *, at: float, mac: str | None, timeout_s: float) -> Reading | None:
    """Return a reading with nothing but an identity; None unless it says what it is and its page asks for a password.

    A machine that is only starting, or slow, is not locked: its page does not answer so.
    """
    page = Address(host=address.host, port=_PAGE_PORT)
    try:
        answer = await exchange(page, b"GET / HTTP/1.0\r\n\r\n", timeout_s=timeout_s)
        version = (await ask(address, json_request("version"), timeout_s=timeout_s)).first("VERSION")
    except DeviceError:
        return None
    kind = text_of(version.get("Type"))
    if kind is None or not _UNAUTHORISED.match(answer):
        return None
    return Reading(
        at=at,
        identity=_identity(kind, version, mac),
        capabilities=Capability.NONE,
        state=WorkState.UNKNOWN,
        doubts=(DOUBT,),
    )


def _identity(kind: str, version: Section, mac: str | None) -> Identity:
    make, _, model = kind.partition(" ")
    return Identity(
        mac=mac,
        make=make.lower(),
        model=model or kind,
        firmware="unknown",
        firmware_version=text_of(version.get("CompileTime")) or text_of(version.get("Miner")),
    )
