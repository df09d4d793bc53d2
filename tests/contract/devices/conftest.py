"""Each machine of the contract, served in turn."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import pytest

from support.device_cases import CASES, Case, Served


def _usual_ports_are_free() -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.9.10.250", 80))
        except OSError:
            return False
    return True


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    """One firmware."""
    found: Case = request.param
    if found.uses_usual_ports and not _usual_ports_are_free():
        pytest.skip(
            "pyasic_rs speaks to ports 80 and 4028 only, and this user may not listen on 127.9.10.x:80"
        )
    return found


@pytest.fixture
async def served(case: Case) -> AsyncIterator[Served]:
    """A machine with this firmware, answering."""
    async with case.serve() as machine:
        yield machine
