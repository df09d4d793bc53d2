"""Whom a block pays in its coinbase, from the site file to the transaction."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

from hashwerk.chain.address import script_from_address
from hashwerk.chain.network import network_from_name
from hashwerk.chain.transaction import Transaction
from hashwerk.clock import VirtualClock
from hashwerk.config.check import check_site
from hashwerk.config.site import EvidenceSettings, PayoutSettings, SiteConfig
from hashwerk.evidence.payout import DUST_SAT, PPM
from hashwerk.pool.jobs import JobBook
from hashwerk.pool.payees import Payees
from hashwerk.pool.room import Room
from hashwerk.pool.settings import PoolSettings
from hashwerk.site.serve import ANYONE_CAN_SPEND, payees
from hashwerk.work.check import assemble_coinbase
from support.stratum import MemoryLedger, make_template

ADDRESS = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"
SCRIPT = script_from_address(ADDRESS, network_from_name("testnet4"))
SOLO = Payees(b"\x51", {"anna": SCRIPT}, fee_ppm=25_000)


def config(addresses: Mapping[str, str], scheme: str = "solo", fee_percent: float = 2.5) -> SiteConfig:
    payout = PayoutSettings(scheme=scheme, fee_percent=fee_percent, addresses=dict(addresses))  # type: ignore[arg-type]
    return SiteConfig(evidence=EvidenceSettings(payout=payout))


def coinbase_outputs(name: str) -> list[tuple[int, bytes]]:
    """Return value and script of the outputs that have a value, in the coinbase of an account's job."""
    ledger = MemoryLedger()
    book = JobBook(PoolSettings(), ledger, VirtualClock(1_750_000_000.0), site_key=bytes(32), payees=SOLO)
    book.use_template(make_template())
    job = book.prepare(ledger.account(name), 32, Room(4, 8)).job
    coinbase = Transaction.parse(assemble_coinbase(job, 1, 2))
    return [(output.value_sat, output.script_pubkey) for output in coinbase.outputs if output.value_sat]


def test_the_job_of_an_account_pays_it_and_the_operator_s_fee() -> None:
    value_sat = make_template().coinbase_value_sat
    fee_sat = value_sat * 25_000 // PPM
    assert coinbase_outputs("anna") == [(value_sat - fee_sat, SCRIPT), (fee_sat, b"\x51")]


def test_an_account_without_an_address_is_owed_by_the_operator() -> None:
    assert coinbase_outputs("otto") == [(make_template().coinbase_value_sat, b"\x51")]


@pytest.mark.parametrize("value_sat", [0, 1, DUST_SAT, DUST_SAT + 14, 50_000, 312_500_001])
def test_outputs_add_up_and_none_of_an_account_is_dust(value_sat: int) -> None:
    outputs = SOLO.outputs("anna", value_sat)
    assert sum(sat for sat, _ in outputs) == value_sat
    assert all(sat >= DUST_SAT for sat, script in outputs if script == SCRIPT)


def test_without_a_fee_there_is_one_output() -> None:
    assert Payees(b"\x51", {"anna": SCRIPT}).outputs("anna", 1_000) == [(1_000, SCRIPT)]


def test_a_site_file_names_the_addresses() -> None:
    assert payees(config({"anna": ADDRESS})) == Payees(ANYONE_CAN_SPEND, {"anna": SCRIPT}, 25_000)
    assert payees(SiteConfig()) == Payees(ANYONE_CAN_SPEND)
    assert payees(config({}, "tides")) == Payees(ANYONE_CAN_SPEND)


@pytest.mark.parametrize(
    ("addresses", "scheme", "problem"),
    [
        ({"anna": ADDRESS}, "tides", "only with solo"),
        ({"anna": "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"}, "solo", "anna: .*is for main"),
    ],
)
def test_addresses_that_cannot_be_paid_are_problems(
    addresses: dict[str, str], scheme: str, problem: str
) -> None:
    found = [one for one in check_site(config(addresses, scheme)) if one.path == "evidence.payout.addresses"]
    assert len(found) == 1
    assert re.search(problem, found[0].message)
