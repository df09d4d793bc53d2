"""Payouts: whole satoshi, exact sums, by every scheme; one batch that cannot be paid twice."""

import functools
import io
import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from hashwerk.chain.address import script_from_address
from hashwerk.chain.header import hash_to_hex
from hashwerk.chain.network import network_from_name
from hashwerk.chain.transaction import OutPoint, Transaction, TxOut
from hashwerk.cli import cli
from hashwerk.errors import ConfigError, EvidenceError
from hashwerk.evidence import records
from hashwerk.evidence.batch import OPERATOR, build_batch
from hashwerk.evidence.bundle import Claim
from hashwerk.evidence.payout import (
    PPM,
    FoundBlock,
    IncompleteWindowError,
    ShareOrder,
    Window,
    apportion,
    fpps,
    settle,
    share_out,
)
from hashwerk.evidence.settlement import Settlement, settle_bundle
from hashwerk.evidence.verify.run import Options, Verified, inspect_bundle
from support.evidence import ACCOUNTS, NETWORK_WORK, REWARD_SAT, EvidenceSite, decoded, resign, write_bundle
from support.forgeries import reclosed
from support.psbt import read_psbt

A, B, C = ACCOUNTS
ADDRESS = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"
OTHER_ADDRESS = "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7"


def order(*shares: tuple[bytes, int], from_beginning: bool = True) -> ShareOrder:
    names = sorted({account for account, _ in shares})
    return ShareOrder(
        tuple(names),
        np.array([names.index(account) for account, _ in shares], np.uint32),
        np.array([work for _, work in shares], np.uint8),
        from_beginning,
    )


def rule(scheme: str, **changes: object) -> records.PayoutRule:
    base = records.PayoutRule(scheme=scheme, fee_ppm=0, window_ppm=2 * PPM, threshold_sat=0)
    return msgspec.structs.replace(base, **changes)


def block(at: int, reward_sat: int = 1000, network_work: int = 64, state: str = "mature") -> FoundBlock:
    return FoundBlock(bytes([at]) * 32, 700 + at, at, reward_sat, network_work, state)


SHARES = order((A, 4), (B, 4), (A, 5), (C, 4), (B, 4), (A, 4), (B, 6), (C, 4))


def test_the_remainder_goes_to_the_largest_remainders() -> None:
    assert apportion(10, {A: 1, B: 1, C: 1}) == {A: 4, B: 3, C: 3} or sorted(ACCOUNTS)[0] != A
    shared = apportion(100, {A: 1, B: 1, C: 1})
    assert sorted(shared.values()) == [33, 33, 34]
    assert shared[min(ACCOUNTS)] == 34, "equal remainders by account"
    assert apportion(1, {A: 1, B: 2}) == {B: 1}
    assert apportion(0, {A: 1}) == {}
    for weights in ({}, {A: 0}, {A: -1, B: 2}):
        with pytest.raises(EvidenceError if weights else (EvidenceError, ValueError)):
            apportion(5, weights)


def test_solo_pays_the_finder() -> None:
    (paid,) = share_out(rule("solo", fee_ppm=20_000), SHARES, [block(3)])
    assert (paid.fee_sat, paid.entries) == (20, {C: 980})


def test_proportional_pays_each_round_by_its_work() -> None:
    first, second = share_out(rule("proportional"), SHARES, [block(2), block(7)])
    assert first.entries == apportion(1000, {A: 48, B: 16})
    assert second.entries == apportion(1000, {C: 32, B: 80, A: 16})


def test_a_reversed_block_pays_nothing_and_ends_no_round() -> None:
    first, second = share_out(rule("proportional"), SHARES, [block(2, state="reversed"), block(7)])
    assert first.entries == {}
    assert second.entries == apportion(1000, {A: 64, B: 96, C: 32})


def test_the_window_s_oldest_share_counts_in_part() -> None:
    # 128 of work up to the last share: 16 + 64 + 16 + 16 and 16 of the 16 before.
    (paid,) = share_out(rule("pplns"), SHARES, [block(7)])
    assert paid.entries == apportion(1000, {C: 16 + 16, B: 64 + 16, A: 16})
    (paid,) = share_out(rule("pplns", window_ppm=PPM), SHARES, [block(7, network_work=100)])
    assert paid.entries == apportion(1000, {C: 16, B: 64 + 4, A: 16})
    (paid,) = share_out(rule("pplns", window_ppm=PPM), SHARES, [block(7, network_work=5)])
    assert paid.entries == {C: 1000}


def test_tides_pays_eight_times_the_difficulty() -> None:
    (paid,) = share_out(rule("tides"), SHARES, [block(7, network_work=16)])
    assert paid.entries == share_out(rule("pplns"), SHARES, [block(7)])[0].entries
    (paid,) = share_out(rule("tides"), SHARES, [block(7)])
    assert paid.entries == apportion(1000, {A: 64, B: 96, C: 32}), "all there is since the beginning"


def test_a_window_that_reaches_back_before_the_shares_is_incomplete() -> None:
    late = msgspec.structs.replace(SHARES, from_beginning=False)
    with pytest.raises(IncompleteWindowError):
        share_out(rule("tides"), late, [block(7)])
    with pytest.raises(IncompleteWindowError):
        share_out(rule("proportional"), late, [block(7)])
    assert share_out(rule("pplns", window_ppm=PPM), late, [block(7)])[0].entries
    with pytest.raises(EvidenceError, match="does not share rewards by block"):
        share_out(rule("lottery"), SHARES, [block(7)])


def test_targets_far_apart_are_summed_exactly() -> None:
    wide = order((A, 0), (B, 100), (A, 3))
    (paid,) = share_out(rule("pplns", window_ppm=PPM), wide, [block(2, network_work=(1 << 100) + 8)])
    assert paid.entries == apportion(1000, {A: 8, B: 1 << 100})


@pytest.mark.parametrize("seed", range(5))
def test_a_window_that_moves_gives_what_one_made_anew_gives(seed: int) -> None:
    rng = np.random.default_rng(seed)
    accounts = (A, B, C)
    count = 3000
    shares = ShareOrder(
        accounts,
        rng.integers(0, 3, count, dtype=np.uint32),
        rng.integers(0, 9, count, dtype=np.uint8),
        seed % 2 == 0,
    )
    moving = Window(shares)
    places = sorted(rng.integers(0, count, 60).tolist()) + rng.integers(0, count, 10).tolist()
    for at in places:
        found = FoundBlock(bytes(32), 700, at, 1000, int(rng.integers(1, 60_000)), "mature")
        try:
            wanted = by_hand(shares, at, found.network_work)
        except IncompleteWindowError:
            with pytest.raises(IncompleteWindowError):
                moving.weights(found, PPM)
        else:
            assert moving.weights(found, PPM) == wanted


def by_hand(shares: ShareOrder, at: int, left: int) -> dict[bytes, int]:
    """Return the work of the last shares up to and with one, share by share."""
    found: dict[bytes, int] = {}
    while left and at >= 0:
        part = min(left, 1 << int(shares.work_log2[at]))
        account = shares.accounts[int(shares.account[at])]
        found[account] = found.get(account, 0) + part
        left, at = left - part, at - 1
    if left and not shares.from_beginning:
        raise IncompleteWindowError("too short")
    return found


def test_full_pay_per_share_has_a_stated_fee() -> None:
    due = fpps(rule("fpps", fee_ppm=40_000), {(A, 1000, 64): 32, (A, 2000, 64): 64, (B, 999, 64): 1})
    assert due == {A: int((500 + 2000) * 0.96), B: 14}


def test_below_the_threshold_an_amount_stays_owed() -> None:
    assert settle({A: 100, B: 9}, {C: 50, B: 2}, 50) == ({A: 100, C: 50}, {B: 11})
    assert settle({}, {}, 0) == ({}, {})


# A bundle

SITE = EvidenceSite().run(4)


def matured(site: EvidenceSite) -> bytes:
    """Return the site's bundle as if its blocks lay deep; payouts stay out, they were logged as pending."""
    for number in range(1, 5):
        logged: list[records.Record] = []
        for record in decoded(site.epochs[number]):
            if isinstance(record, records.Block):
                logged.append(msgspec.structs.replace(record, state=3))
            elif not isinstance(record, records.Payout):
                logged.append(record)
        again = reclosed(site, number, logged=logged)[number]
        site.epochs[number] = resign(again, site.key, previous=site.epochs[number - 1].signed.hash())
    return write_bundle(site, site.epochs, claims=Claim.ENERGY)


def inspected(data: bytes) -> Verified:
    return inspect_bundle(io.BytesIO(data), Options(keep_order=True, threads=1))


@pytest.mark.parametrize("scheme", [None, "solo", "proportional", "pplns", "tides"])
def test_every_scheme_sums_to_the_rewards(scheme: str | None) -> None:
    data = settle_bundle(inspected(SITE.bundle()), scheme=scheme, fee_ppm=12_345).as_data()
    assert data["paid_sat"] + data["fee_sat"] == data["reward_sat"] == REWARD_SAT * len(SITE.blocks)
    assert sum(row["pending_sat"] for row in data["accounts"]) == data["paid_sat"]
    for row in data["blocks"]:
        assert sum(row["payouts"].values()) + row["fee_sat"] == row["reward_sat"]


def test_the_declared_rule_gives_what_was_logged() -> None:
    logged = {
        record.block_hash: {entry.account: entry.sat for entry in record.entries}
        for epoch in SITE.epochs
        for record in decoded(epoch)
        if isinstance(record, records.Payout)
    }
    settlement = settle_bundle(inspected(SITE.bundle()))
    assert {payout.block.hash: payout.entries for payout in settlement.payouts} == logged


def test_fpps_pays_the_expected_value_of_every_share() -> None:
    data = settle_bundle(inspected(SITE.bundle()), scheme="fpps", fee_ppm=0).as_data()
    work = sum(epoch.header.work for epoch in SITE.epochs)
    expected = REWARD_SAT * work // NETWORK_WORK
    assert expected - 3 <= data["paid_sat"] <= expected


def test_work_for_a_pool_stands_apart_and_is_not_paid() -> None:
    site = EvidenceSite(name="mixed", pool=True).run(4)
    for scheme in (None, "proportional", "tides", "fpps"):
        data = settle_bundle(inspected(site.bundle()), scheme=scheme).as_data()
        assert {row["account"] for row in data["accounts"]} <= {account.hex() for account in ACCOUNTS}
        assert data["paid_sat"] + data["fee_sat"] == data["reward_sat"]
        unbound = sum(
            group.leaves.size for e in site.epochs for group in e.groups if group.account == bytes(32)
        )
        assert sum(row["shares"] for row in data["unbound"]) == unbound > 0
        assert {row["paid_by"] for row in data["unbound"]} == {"pool"}


@functools.cache
def mature_bundle() -> bytes:
    return matured(EvidenceSite(anchored=False).run(4))


@functools.cache
def mature_settlement() -> Settlement:
    return settle_bundle(inspected(mature_bundle()), scheme="proportional", threshold_sat=1000)


def addresses(settlement: Settlement) -> dict[str, str]:
    return {**{account.hex(): ADDRESS for account in settlement.mature}, OPERATOR: ADDRESS}


def test_one_unsigned_batch_pays_all_and_always_the_same() -> None:
    settlement = mature_settlement()
    assert settlement.mature
    assert not settlement.pending
    first = build_batch(settlement, addresses(settlement), 5.0)
    assert build_batch(settlement, addresses(settlement), 5.0) == first
    assert first.psbt.startswith(b"psbt\xff\x01\x00")
    size = first.psbt[7] if first.psbt[7] < 0xFD else int.from_bytes(first.psbt[8:10], "little")
    at = 8 if first.psbt[7] < 0xFD else 10
    unsigned = Transaction.parse(first.psbt[at : at + size])
    rewards = REWARD_SAT * len(settlement.payouts)
    assert len(unsigned.inputs) == len(settlement.payouts) == first.inputs
    assert sum(output.value_sat for output in unsigned.outputs) + first.fee_sat == rewards
    paid = sorted(output.value_sat for output in unsigned.outputs)
    assert set(settlement.mature.values()) <= set(paid), "the network's fee is the operator's"
    assert {txin.prevout.txid for txin in unsigned.inputs} == {
        Transaction.parse(settlement.coinbases[payout.block.hash]).txid() for payout in settlement.payouts
    }


def test_a_strict_reader_of_bip_0174_reads_the_batch() -> None:
    settlement = mature_settlement()
    batch = build_batch(settlement, addresses(settlement), 5.0)
    read = read_psbt(batch.psbt)
    assert hash_to_hex(read.transaction.txid()) == batch.txid
    assert (len(read.inputs), read.outputs) == (batch.inputs, batch.outputs)
    assert all(coin.value_sat == REWARD_SAT for coin in read.inputs)
    paid = sum(output.value_sat for output in read.transaction.outputs)
    assert sum(coin.value_sat for coin in read.inputs) - paid == batch.fee_sat
    spent = [txin.prevout for txin in read.transaction.inputs]
    assert len(set(spent)) == len(spent), "no coin twice"


def test_without_an_operator_s_share_all_bear_the_network_s_fee() -> None:
    settlement = mature_settlement()
    free = msgspec.structs.replace(
        settlement,
        mature=apportion(REWARD_SAT * len(settlement.payouts), dict.fromkeys(settlement.mature, 1)),
    )
    batch = build_batch(free, addresses(free), 20.0)
    assert batch.outputs == len(free.mature)
    assert batch.fee_sat > 1000


def test_what_coinbases_have_paid_is_not_paid_again() -> None:
    settlement = settle_bundle(inspected(mature_bundle()), scheme="solo", fee_ppm=20_000)
    names = {**addresses(settlement), OPERATOR: OTHER_ADDRESS}
    finder = script_from_address(ADDRESS, network_from_name(settlement.network))
    operator = script_from_address(OTHER_ADDRESS, network_from_name(settlement.network))
    first, *others = [payout for payout in settlement.payouts if payout.entries]
    assert others, "some blocks must be paid by the batch"
    (sat,) = first.entries.values()
    before = Transaction.parse(settlement.coinbases[first.block.hash])
    direct = msgspec.structs.replace(
        before, outputs=(TxOut(sat, finder), TxOut(first.fee_sat, operator), *before.outputs[1:])
    )
    paid = msgspec.structs.replace(
        settlement, coinbases={**settlement.coinbases, first.block.hash: direct.serialize()}
    )
    # It is shown to whom the coinbase paid what, whoever that is.
    name = hash_to_hex(first.block.hash)
    (shown,) = [row for row in paid.as_data()["blocks"] if row["hash"] == name]
    (account,) = first.entries
    assert [(row["sat"], row["address"], row["may_be_of"]) for row in shown["coinbase"][:2]] == [
        (sat, ADDRESS, [account.hex()]), (first.fee_sat, OTHER_ADDRESS, []),
    ]  # fmt: skip
    read = read_psbt(build_batch(paid, names, 5.0).psbt)
    coins = {
        txin.prevout: coin.value_sat for txin, coin in zip(read.transaction.inputs, read.inputs, strict=True)
    }
    assert coins[OutPoint(direct.txid(), 1)] == first.fee_sat, "only the operator's part can be spent"
    assert OutPoint(direct.txid(), 0) not in coins
    due = sum(output.value_sat for output in read.transaction.outputs if output.script_pubkey == finder)
    assert due == sum(settlement.mature.values()) - sat
    # Without a fee nothing of such a block is left to the operator.
    free = settle_bundle(inspected(mature_bundle()), scheme="solo", fee_ppm=0)
    everything = {
        payout.block.hash: msgspec.structs.replace(
            before, outputs=(TxOut(payout.block.reward_sat, finder),)
        ).serialize()
        for payout in free.payouts
    }
    with pytest.raises(EvidenceError, match="coinbases have paid"):
        build_batch(msgspec.structs.replace(free, coinbases=everything), names, 5.0)


def test_a_batch_needs_addresses_of_the_network_and_something_due() -> None:
    settlement = mature_settlement()
    with pytest.raises(EvidenceError, match="no address"):
        build_batch(settlement, {}, 5.0)
    wrong = dict.fromkeys(addresses(settlement), "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4")
    with pytest.raises(ConfigError, match="is for main"):
        build_batch(settlement, wrong, 5.0)
    with pytest.raises(EvidenceError, match="nothing is due"):
        build_batch(settle_bundle(inspected(SITE.bundle())), {}, 5.0)


def test_the_command_writes_the_batch(tmp_path: Path) -> None:
    bundle, names, out = tmp_path / "b.hwe", tmp_path / "a.json", tmp_path / "out.psbt"
    bundle.write_bytes(mature_bundle())
    names.write_text(json.dumps(addresses(mature_settlement())))
    arguments = [
        "payout",
        str(bundle),
        "--scheme",
        "proportional",
        "--psbt",
        str(out),
        "--addresses",
        str(names),
        "--json",
    ]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    data = json.loads(done.stdout)
    assert data["psbt"]["inputs"] == len(data["blocks"])
    assert out.read_bytes().startswith(b"psbt")
    first = out.read_bytes()
    CliRunner().invoke(cli, arguments)
    assert out.read_bytes() == first
    # One customer asks for his own.
    account = data["accounts"][0]["account"]
    done = CliRunner().invoke(
        cli, ["payout", str(bundle), "--scheme", "proportional", "--account", account, "--json"]
    )
    assert [row["account"] for row in json.loads(done.stdout)["accounts"]] == [account]
    # For people it is a table.
    shown = CliRunner().invoke(cli, ["payout", str(bundle), "--scheme", "pplns"])
    assert "rewards" in shown.output
