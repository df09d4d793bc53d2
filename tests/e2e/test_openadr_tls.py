"""A utility that is reached by TLS only, knows the mine by the fingerprint of its certificate, and signs what it says.

The utility is openleadr's own server; both authorities are made here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openleadr.utils import certificate_fingerprint

from hashwerk.dispatch.orders import Cancel, Order
from hashwerk.grid_orders.present import Present
from support.grid_operators import Listening, until, vtn
from support.tls import make_authority

pytestmark = [
    pytest.mark.filterwarnings("ignore::aiohttp.web_exceptions.NotAppKeyWarning"),
]


async def _until(holds: Callable[[], Any]) -> None:
    async def is_so() -> bool:
        return bool(holds())

    await until(is_so)


def _certificates(folder: Path) -> dict[str, str]:
    paths = make_authority(folder, "grid-ca", "server", "client", "stranger")
    for holder in ("server", "client", "stranger"):
        paths[f"{holder}_fingerprint"] = certificate_fingerprint(Path(paths[holder]).read_text())
    return paths


async def test_a_utility_behind_tls_is_believed_and_believes_only_whom_it_knows(tmp_path: Path) -> None:
    tls = _certificates(tmp_path)
    other = make_authority(tmp_path, "other-ca", "client")
    async with vtn(tmp_path, tls) as utility:
        listening = Listening(utility.source())
        listening.start()
        await utility.order("reduce to", 500.0, 30)
        first = await listening.count(1)
        assert isinstance(first, Order)
        assert first.amount_w == 500_000.0
        await _until(lambda: ("event-1", "optIn") in utility.answers)
        assert listening.source.trouble is None
        await listening.stop()

        # what must not be believed: each of them says why, and hears nothing. To whom it does not know openleadr says 500
        refused = {
            "status 500": {"certificate": tls["stranger"], "key": tls["stranger_key"]},
            "does not answer about registration": {
                "certificate": other["client"],
                "key": other["client_key"],
            },
            "certificate verify failed": {"ca_file": other["ca"]},
            "certificate fingerprint was incorrect": {"vtn_fingerprint": tls["stranger_fingerprint"]},
        }
        strangers = []
        for number, more in enumerate(refused.values()):
            utility._memory = tmp_path / f"memory-{number}.json"  # it has heard nothing before
            strangers.append(Listening(utility.source(**more)))
            strangers[-1].start()
        for why, stranger in zip(refused, strangers, strict=True):
            await _until(lambda stranger=stranger: stranger.source.trouble)
            assert why in stranger.source.trouble.lower()
            assert stranger.heard == [], why
            await stranger.stop()


async def test_tests_changes_repetitions_and_a_utility_that_is_gone(tmp_path: Path) -> None:
    async with vtn(tmp_path) as utility:
        listening = Listening(utility.source())
        listening.start()
        test = utility.add("SIMPLE", "level", 3, 60, is_test=True)
        await _until(lambda: (test, "optIn") in utility.answers)
        assert listening.heard == [], "a test is answered, and nothing is done"

        strict = utility.add("LOAD_DISPATCH", "setpoint", 400.0, 60)
        first = await listening.count(1)
        mild = utility.add("LOAD_DISPATCH", "setpoint", 700.0, 60)
        second = await listening.count(2)
        assert isinstance(first, Order)
        assert isinstance(second, Order)
        assert (first.id, first.amount_w, second.id, second.amount_w) == (strict, 4e5, mild, 7e5)

        await utility.repeat()
        await utility.change(650.0)  # the last one, while it runs
        changed = await listening.count(3)
        assert isinstance(changed, Order)
        assert (changed.id, changed.amount_w, changed.start_s) == (mild, 650_000.0, second.start_s)

        utility.vtn.cancel_event("ven-1", strict)
        ended = await listening.count(4)
        assert isinstance(ended, Cancel)
        assert ended.id == strict

        listening.source.look = lambda: Present(is_commanded=False)
        shown = utility.add("LOAD_DISPATCH", "setpoint", 300.0, 60)
        await _until(lambda: (shown, "optOut") in utility.answers)
        await listening.count(5)

        await utility.vtn.stop()
        await _until(lambda: listening.source.trouble)
        assert "127.0.0.1" in listening.source.trouble
        assert len(listening.heard) == 5, "what is in force stays in force"
        await listening.stop()
