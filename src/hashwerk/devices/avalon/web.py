"""The web page of Nano 3, Mini 3 and Q, needed for one thing: their cgminer API has no ``setpool``.

Logging in is a cookie that the client makes itself: a salt from ``/get_auth.cgi`` and the first 24 hex digits of the
password's SHA-256. A wrong one is answered with the login page and status 200.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import Sequence
from typing import Final

import httpx

from hashwerk.devices.cgminer import UnreachableError
from hashwerk.fleet.commands import PoolTarget
from hashwerk.fleet.machine import Outcome, OutcomeKind
from hashwerk.fleet.ports import Address

# The HTTP library tells of every single request at INFO.
logging.getLogger("httpx").setLevel(logging.WARNING)

_SALT: Final = re.compile(r'"auth"\s*:\s*"([0-9a-f]{1,64})"', re.IGNORECASE)
_LOGIN_FORM: Final = re.compile(r'<form[^>]{0,200}\bname="?loginform', re.IGNORECASE)
_HASH_DIGITS: Final = 24
_MAX_PAGE_BYTES: Final = 256 * 1024


async def set_pools_on_the_page(
    address: Address, pools: Sequence[PoolTarget], *, password: str, web_port: int, timeout_s: float
) -> Outcome:
    """Write pools through ``/cgpools.cgi``. Slots beyond those given keep what they have.

    Raises:
        UnreachableError: If the page cannot be reached: then nothing was written.
    """
    host = f"[{address.host}]" if ":" in address.host else address.host
    base = f"http://{host}:{web_port}"
    is_sent = False
    # trust_env=False: no proxy of the environment is between us and a machine; redirects would lead elsewhere.
    async with httpx.AsyncClient(
        base_url=base, trust_env=False, timeout=timeout_s, follow_redirects=False
    ) as page:
        try:
            async with asyncio.timeout(timeout_s):
                salt = _SALT.search(await _text(page, "GET", "/get_auth.cgi?num=0.5"))
                if salt is None:
                    return Outcome(kind=OutcomeKind.REFUSED, message="its page gives no salt to log in with")
                cookie = salt.group(1) + hashlib.sha256(password.encode()).hexdigest()[:_HASH_DIGITS]
                answer = await _text(page, "POST", "/login.cgi", cookie=cookie, form={"passwd": cookie})
                if _LOGIN_FORM.search(answer):
                    return Outcome(kind=OutcomeKind.REFUSED, message="its page does not accept the password")
                is_sent = True
                answer = await _text(page, "POST", "/cgpools.cgi", cookie=cookie, form=_form(pools))
        except (TimeoutError, httpx.HTTPError) as error:
            if not is_sent:
                raise UnreachableError(f"the page of {address.host} does not answer: {error!r}") from None
            return Outcome(kind=OutcomeKind.UNANSWERED, message="no answer to the form with the pools")
    if _LOGIN_FORM.search(answer):
        return Outcome(kind=OutcomeKind.REFUSED, message="its page does not accept the password")
    return Outcome(
        kind=OutcomeKind.ACCEPTED,
        message="the page took the pools; taken up at the next reboot",
        awaits_restart=True,
    )


async def _text(
    page: httpx.AsyncClient,
    method: str,
    path: str,
    *,
    cookie: str | None = None,
    form: dict[str, str] | None = None,
) -> str:
    """Return the start of a page, never more than a bounded part."""
    headers = {} if cookie is None else {"Cookie": f"auth={cookie}"}
    async with page.stream(method, path, headers=headers, data=form) as response:
        response.raise_for_status()
        received = bytearray()
        async for part in response.aiter_raw():
            received += part
            if len(received) > _MAX_PAGE_BYTES:
                break
    return received.decode("utf-8", "replace")


def _form(pools: Sequence[PoolTarget]) -> dict[str, str]:
    form: dict[str, str] = {}
    for number, pool in enumerate(pools, start=1):
        form |= {f"pool{number}": pool.url, f"worker{number}": pool.user, f"passwd{number}": pool.password}
    return form
