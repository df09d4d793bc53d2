"""The exact check of one share: a real block's coinbase and header, and the order of verdicts."""

from __future__ import annotations

import struct

import msgspec
import pytest

from hashwerk.chain.header import double_sha256
from hashwerk.chain.template import Template
from hashwerk.work.check import assemble_coinbase, check_share, judge_share, rolled_version
from hashwerk.work.job import Job
from hashwerk.work.share import Verdict

# The genesis block of Bitcoin: its coinbase cut so that eight bytes of it take the extranonces' place.
GENESIS_COINBASE = bytes.fromhex(
    "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff4d04ffff001d0104455468"
    "652054696d65732030332f4a616e2f32303039204368616e63656c6c6f72206f6e206272696e6b206f66207365636f6e64206261"
    "696c6f757420666f722062616e6b73ffffffff0100f2052a01000000434104678afdb0fe5548271967f1a67130b7105cd6a828e0"
    "3909a67962e0ea1f61deb649f6bc3f4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5fac00000000"
)
CUT = 50
TEMPLATE = Template(
    network="main",
    height=0,
    version=1,
    prev_hash=bytes(32),
    nbits=0x1D00FFFF,
    time=1231006505,
    min_time=1231006000,
    coinbase_value_sat=50 * 10**8,
)
JOB = Job(
    id=1,
    account_id=1,
    work_log2=32,
    template=TEMPLATE,
    coinbase1=GENESIS_COINBASE[:CUT],
    coinbase2=GENESIS_COINBASE[CUT + 8 :],
    branch=(),
    version=1,
    version_mask=0x1FFFE000,
    ntime=1231006505,
    extranonce1_size=4,
    extranonce2_size=4,
    tag=bytes(32),
    tag_preimage=b"",
    created_at=1231006505.0,
)
EXTRANONCE1 = int.from_bytes(GENESIS_COINBASE[CUT : CUT + 4], "big")
EXTRANONCE2 = int.from_bytes(GENESIS_COINBASE[CUT + 4 : CUT + 8], "big")
NONCE = 2083236893


def _judge(job: Job = JOB, nonce: int = NONCE, ntime: int = 1231006505, **changes: object) -> Verdict:
    share = check_share(job, EXTRANONCE1, EXTRANONCE2, ntime, nonce, 1)
    terms: dict[str, object] = {
        "stale": False,
        "version_bits": 0,
        "session_mask": 0x1FFFE000,
        "expires_at": 1231009000.0,
        "now": 1231006600.0,
    }
    verdict, _ = judge_share(job, share, ntime=ntime, **(terms | changes))  # type: ignore[arg-type]
    return verdict


def test_genesis_is_a_share_and_a_block() -> None:
    share = check_share(JOB, EXTRANONCE1, EXTRANONCE2, 1231006505, NONCE, 1)
    assert share.hash[::-1].hex() == "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"
    assert share.hash == double_sha256(share.header)
    assert struct.unpack_from("<I", share.header, 76) == (NONCE,)
    assert assemble_coinbase(JOB, EXTRANONCE1, EXTRANONCE2) == GENESIS_COINBASE
    verdict, block = judge_share(
        JOB,
        share,
        stale=True,
        ntime=1231006505,
        version_bits=0,
        session_mask=0,
        expires_at=0,
        now=1231006600,
    )
    assert (verdict, block) == (Verdict.STALE, True)  # stale, and handed to the node all the same


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, Verdict.ACCEPTED),
        ({"stale": True, "version_bits": 1, "expires_at": 0.0}, Verdict.STALE),
        ({"version_bits": 1, "expires_at": 0.0}, Verdict.BAD_VERSION),
        ({"expires_at": 0.0}, Verdict.UNKNOWN_JOB),
        ({"now": 1230990000.0}, Verdict.TIME_TOO_NEW),
    ],
)
def test_the_first_failing_check_names_the_verdict(changes: dict[str, object], verdict: Verdict) -> None:
    assert _judge(**changes) is verdict


def test_time_is_held_to_the_template_and_to_our_clock() -> None:
    assert _judge(ntime=1231005999) is Verdict.TIME_TOO_OLD
    assert _judge(ntime=1231006600 + 7201) is Verdict.TIME_TOO_NEW
    edged = msgspec.structs.replace(JOB, template=msgspec.structs.replace(TEMPLATE, max_time=1231006504))
    assert _judge(edged) is Verdict.TIME_TOO_NEW


def test_a_hash_above_the_target_is_low_and_outranks_age() -> None:
    assert _judge(nonce=0) is Verdict.LOW_DIFFICULTY
    assert _judge(nonce=0, expires_at=0.0) is Verdict.LOW_DIFFICULTY


def test_rolled_version_takes_the_machines_bits_inside_the_mask() -> None:
    job = msgspec.structs.replace(JOB, version=0x20000000)
    assert rolled_version(job, 0x00006000) == 0x20006000
    assert rolled_version(msgspec.structs.replace(job, version=0x3FFFFFFF), 0x2000) == 0x20003FFF


def test_an_extranonce_must_fit() -> None:
    with pytest.raises(OverflowError):
        check_share(JOB, 1 << 32, 0, 0, 0, 1)
