"""Each machine of the contract, served in turn."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from support.asic_replies import may_listen
from support.device_cases import CASES, Case, Served


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    """One firmware."""
    found: Case = request.param
    if found.uses_usual_ports and not may_listen("127.9.10.250", 80):
        pytest.skip(
            "pyasic_rs speaks to ports 80 and 4028 only, and this user may not listen on 127.9.10.x:80"
        )
    return found


@pytest.fixture
async def served(case: Case) -> AsyncIterator[Served]:
    """A machine with this firmware, answering."""
    async with case.serve() as machine:
        yield machine
