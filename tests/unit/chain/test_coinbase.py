"""The coinbase: heights, tags, commitments, the limits of scripts and of firmware, BIP-0054."""

from __future__ import annotations

import msgspec
import pytest

from hashwerk.chain.block import add_coinbase_witness
from hashwerk.chain.coinbase import (
    FIRMWARE_COINBASE_LIMITS,
    CoinbaseParts,
    build_coinbase,
    coinbase_size,
    coinbase_weight,
    firmware_class,
    height_push,
    is_bip54_coinbase,
    push_data,
)
from hashwerk.chain.template import Template
from hashwerk.chain.transaction import Transaction
from hashwerk.errors import CoinbaseSizeError, ConfigError

EXTRANONCE = bytes(range(0xA0, 0xAC))


def build(template: Template, payout_script: bytes, **changes: object) -> CoinbaseParts:
    arguments: dict[str, object] = {
        "template": template,
        "outputs": [(template.coinbase_value_sat, payout_script)],
        "pool_tag": b"/hashwerk/",
        "job_number": 0x01020304,
        "extranonce_size": len(EXTRANONCE),
    }
    return build_coinbase(**(arguments | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("height", "script"),
    [
        (0, "00"),
        (1, "51"),
        (16, "60"),
        (17, "0111"),
        (127, "017f"),
        (128, "028000"),
        (255, "02ff00"),
        (256, "020001"),
        (32_767, "02ff7f"),
        (32_768, "03008000"),
        (227_836, "03fc7903"),
        (840_000, "0340d10c"),
        (8_388_607, "03ffff7f"),
        (8_388_608, "0400008000"),
    ],
)
def test_height_is_pushed_in_its_shortest_form(height: int, script: str) -> None:
    assert height_push(height).hex() == script


@pytest.mark.parametrize("height", [-1, 1 << 32])
def test_heights_out_of_range_are_refused(height: int) -> None:
    with pytest.raises(ValueError, match="height out of range"):
        height_push(height)


def test_pushes_of_all_lengths() -> None:
    assert push_data(b"a") == b"\x01a"
    assert push_data(b"a" * 75)[:1] == b"\x4b"
    assert push_data(b"a" * 76)[:2] == b"\x4c\x4c"
    for size in (0, 256):
        with pytest.raises(ValueError, match="1 … 255"):
            push_data(bytes(size))


def test_the_whole_coinbase(template: Template, payout_script: bytes) -> None:
    parts = build(template, payout_script, commitment=b"\xcc" * 32)
    coinbase = Transaction.parse(parts.with_extranonce(EXTRANONCE))
    assert coinbase.is_coinbase
    assert coinbase.inputs[0].script_sig == (
        bytes.fromhex("0340d10c") + b"\x0a/hashwerk/" + b"\x10" + bytes.fromhex("01020304") + EXTRANONCE
    )
    payout, commitment, witness = coinbase.outputs
    assert (payout.value_sat, payout.script_pubkey) == (template.coinbase_value_sat, payout_script)
    assert (commitment.value_sat, commitment.script_pubkey) == (0, b"\x6a\x20" + b"\xcc" * 32)
    assert (witness.value_sat, witness.script_pubkey) == (0, template.witness_commitment)
    assert is_bip54_coinbase(coinbase, template.height)
    assert (coinbase.lock_time, coinbase.inputs[0].sequence) == (839_999, 0xFFFF_FFFE)


def test_the_cut_is_where_the_extranonces_go(template: Template, payout_script: bytes) -> None:
    parts = build(template, payout_script)
    assert parts.coinbase1.endswith(bytes.fromhex("01020304"))
    assert parts.coinbase2.startswith(bytes.fromhex("feffffff"))


def test_what_is_not_wanted_leaves_no_output(template: Template, payout_script: bytes) -> None:
    plain = msgspec.structs.replace(template, witness_commitment=None)
    coinbase = Transaction.parse(build(plain, payout_script, pool_tag=b"").with_extranonce(EXTRANONCE))
    assert len(coinbase.outputs) == 1
    assert coinbase.inputs[0].script_sig == bytes.fromhex("0340d10c1001020304") + EXTRANONCE


def test_each_job_has_a_coinbase_of_its_own(template: Template, payout_script: bytes) -> None:
    coinbases = {build(template, payout_script, job_number=number).coinbase1 for number in range(100)}
    assert len(coinbases) == 100


@pytest.mark.parametrize("height", [1, 16, 17])
def test_the_first_blocks_have_scripts_of_at_least_two_bytes(
    height: int, template: Template, payout_script: bytes
) -> None:
    early = msgspec.structs.replace(template, height=height)
    parts = build(early, payout_script, pool_tag=b"", extranonce_size=1)
    coinbase = Transaction.parse(parts.with_extranonce(b"\x00"))
    assert coinbase.inputs[0].script_sig.startswith(height_push(height))
    assert len(coinbase.inputs[0].script_sig) >= 2
    assert is_bip54_coinbase(coinbase, height)


def test_several_payouts_add_up_exactly(template: Template, payout_script: bytes) -> None:
    value_sat = template.coinbase_value_sat
    outputs = [(value_sat - 1, payout_script), (1, b"\x51")]
    coinbase = Transaction.parse(build(template, payout_script, outputs=outputs).with_extranonce(EXTRANONCE))
    assert [output.value_sat for output in coinbase.outputs] == [value_sat - 1, 1, 0]


def test_payouts_that_do_not_add_up_are_refused(template: Template, payout_script: bytes) -> None:
    value_sat = template.coinbase_value_sat
    for outputs, words in (
        ([], "at least one payout"),
        ([(value_sat - 1, payout_script)], f"add up to {value_sat - 1} sat"),
        ([(value_sat + 1, payout_script)], f"add up to {value_sat + 1} sat"),
        ([(value_sat + 1, payout_script), (-1, payout_script)], "negative"),
    ):
        with pytest.raises(ValueError, match=words):
            build(template, payout_script, outputs=outputs)


@pytest.mark.parametrize(
    "changes",
    [
        {"job_number": -1},
        {"job_number": 1 << 32},
        {"extranonce_size": 0},
        {"commitment": bytes(31)},
        {"commitment": bytes(33)},
    ],
)
def test_arguments_out_of_range_are_refused(
    changes: dict[str, object], template: Template, payout_script: bytes
) -> None:
    with pytest.raises(ValueError, match=r"range|commitment has 32"):
        build(template, payout_script, **changes)


def test_the_script_has_at_most_100_bytes(template: Template, payout_script: bytes) -> None:
    # 4 height, 1 push, 1 push, 4 job number, 12 extranonces: 78 are left, one of them for a longer push.
    longest = Transaction.parse(
        build(template, payout_script, pool_tag=b"x" * 77).with_extranonce(EXTRANONCE)
    )
    assert len(longest.inputs[0].script_sig) == 100
    with pytest.raises(CoinbaseSizeError, match=r"101 bytes, 100 are allowed; shorten the pool tag \(78"):
        build(template, payout_script, pool_tag=b"x" * 78)


def test_a_coinbase_too_large_for_the_firmware_is_refused(template: Template, payout_script: bytes) -> None:
    size = coinbase_size(build(template, payout_script), len(EXTRANONCE))
    assert build(template, payout_script, size_limit=size) == build(template, payout_script)
    with pytest.raises(CoinbaseSizeError, match=f"{size} bytes and this firmware takes {size - 1}"):
        build(template, payout_script, size_limit=size - 1)
    assert issubclass(CoinbaseSizeError, ConfigError)


def test_our_usual_coinbase_fits_every_firmware(template: Template) -> None:
    largest_script = b"\x51\x20" + b"\xbb" * 32
    parts = build(template, largest_script, pool_tag=b"x" * 32, commitment=b"\xcc" * 32)
    assert coinbase_size(parts, len(EXTRANONCE)) <= min(FIRMWARE_COINBASE_LIMITS.values())


def test_size_and_weight_are_those_of_the_transaction(template: Template, payout_script: bytes) -> None:
    parts = build(template, payout_script)
    stripped = parts.with_extranonce(EXTRANONCE)
    assert coinbase_size(parts, len(EXTRANONCE)) == len(stripped)
    assert coinbase_weight(parts, len(EXTRANONCE), witness=False) == Transaction.parse(stripped).weight()
    whole = Transaction.parse(add_coinbase_witness(stripped))
    assert coinbase_weight(parts, len(EXTRANONCE), witness=True) == whole.weight()


@pytest.mark.parametrize(
    ("user_agent", "limit"),
    [
        ("NiceHash/1.0.0", 500),
        ("NerdMinerV2/1.8.3", 512),
        ("bitaxe/BM1370/v2.12.0", 384),
        ("Antminer S19 Pro/Fri", 730),
        ("bmminer/2.0.0", 730),
        ("Antminer S21/Tue", 2_250),
        ("whatsminer/v1.1", 6_500),
        ("xminer-1.2.6", 16_000),
        ("PowerPlay-BM/1.4.0", 16_000),
        ("cgminer/4.11.1", 500),
        ("", 500),
    ],
)
def test_user_agents_and_their_limits(user_agent: str, limit: int) -> None:
    assert FIRMWARE_COINBASE_LIMITS[firmware_class(user_agent)] == limit


@pytest.mark.parametrize(
    ("lock_time", "sequence", "valid"),
    [
        # The cases of BIP-0054's own vectors for a block at height 4.
        (21, 0xFFFF_FFFE, False),
        (4, 0x0000_2192, False),
        (2, 0xFFFF_FFFE, False),
        (3, 0x0003_40FB, True),
        (3, 0xFFFF_FFFE, True),
        (3, 0xFFFF_FFFF, False),
    ],
)
def test_bip54(lock_time: int, sequence: int, valid: bool, template: Template, payout_script: bytes) -> None:
    coinbase = Transaction.parse(build(template, payout_script).with_extranonce(EXTRANONCE))
    tx_in = msgspec.structs.replace(coinbase.inputs[0], sequence=sequence)
    changed = msgspec.structs.replace(coinbase, inputs=(tx_in,), lock_time=lock_time)
    assert is_bip54_coinbase(changed, 4) is valid
