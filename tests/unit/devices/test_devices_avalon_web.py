"""Pools of machines without `setpool`: the form of their page, and logging in to it."""

from __future__ import annotations

import hashlib
from urllib.parse import parse_qs

import pytest

from hashwerk.devices.avalon import AvalonDriver
from hashwerk.errors import DeviceError
from hashwerk.fleet.commands import PoolTarget, SetPools
from hashwerk.fleet.machine import Outcome, OutcomeKind
from hashwerk.fleet.ports import Address, Credentials
from support import avalon_replies, cgminer_machine, http_machine
from support.http_machine import HttpMachine, Page

POOLS = SetPools(
    pools=(
        PoolTarget(url="stratum+tcp://one.test:3333", user="acct.rig7", password="p1"),
        PoolTarget(url="stratum+tcp://two.test:3333", user="acct.rig7"),
    )
)
LOGIN = '<form name="loginform" method="post">'
SALT = "1f2e3d4c"


def page(password: str = "admin", *, saves: Page | None = None) -> HttpMachine:
    """Return a page that lets in whoever knows the password."""
    cookie = f"auth={SALT}{hashlib.sha256(password.encode()).hexdigest()[:24]}"

    class Guarded(HttpMachine):
        def _page(self, name: str, body: str, headers: dict[str, str]) -> Page:
            answer = super()._page(name, body, headers)
            return answer if name.startswith("GET") or headers.get("cookie") == cookie else Page(LOGIN)

    return Guarded(
        {
            "GET /get_auth.cgi": Page(f'getAuthCallback({{"auth":"{SALT}","code":"00"}});'),
            "POST /login.cgi": Page("<html>dashboard</html>"),
            "POST /cgpools.cgi": saves or Page("<html>pools</html>"),
        }
    )


async def set_pools(web: HttpMachine, password: str | None = None) -> Outcome:
    """Write the pools into a Q with this page."""
    async with (
        cgminer_machine.serving(avalon_replies.q_running()) as port,
        http_machine.serving(web) as web_port,
    ):
        return await AvalonDriver(web_port=web_port).execute(
            Address(host="127.0.0.1", port=port),
            POOLS,
            timeout_s=5,
            credentials=Credentials(password=password),
        )


async def test_pools_go_into_the_form_in_their_order() -> None:
    web = page()
    outcome = await set_pools(web)
    assert outcome.kind is OutcomeKind.ACCEPTED
    name, body = web.asked[-1]
    assert name == "POST /cgpools.cgi"
    assert parse_qs(body) == {
        "pool1": ["stratum+tcp://one.test:3333"],
        "worker1": ["acct.rig7"],
        "passwd1": ["p1"],
        "pool2": ["stratum+tcp://two.test:3333"],
        "worker2": ["acct.rig7"],
        "passwd2": ["x"],
    }


async def test_the_sites_password_is_used_and_a_wrong_one_writes_nothing() -> None:
    assert (await set_pools(page("of-the-site"), "of-the-site")).kind is OutcomeKind.ACCEPTED
    web = page("of-the-site")
    outcome = await set_pools(web, "wrong")
    assert outcome.kind is OutcomeKind.REFUSED
    assert "wrong" not in repr(outcome)
    assert all(name != "POST /cgpools.cgi" for name, _ in web.asked)


async def test_a_page_that_fails_on_the_form_is_unanswered_and_a_silent_one_an_error() -> None:
    assert (await set_pools(page(saves=Page("", 500)))).kind is OutcomeKind.UNANSWERED
    with pytest.raises(DeviceError):
        await set_pools(HttpMachine({"GET /get_auth.cgi": Page("", 500)}))


async def test_a_page_without_salt_refuses() -> None:
    assert (await set_pools(HttpMachine({"GET /get_auth.cgi": Page("hello")}))).kind is OutcomeKind.REFUSED
