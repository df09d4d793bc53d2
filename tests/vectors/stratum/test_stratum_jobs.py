"""138 real jobs with their winning shares: written, read, and put together to the header that was found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hashwerk.chain.header import double_sha256
from hashwerk.chain.merkle import root_from_branch
from hashwerk.chain.template import Template
from hashwerk.stratum.v1.client import ClientSession, JobReceived
from hashwerk.stratum.v1.notify import NotifyParams, encode_job
from hashwerk.stratum.v1.submits import SUBMIT_DTYPE, Stop, scan_submits
from hashwerk.work.job import Job

VECTORS = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "btc_stratum_vectors.json"
if not VECTORS.exists():
    pytest.skip(
        "STRATUM VECTORS ABSENT: ../shared/data does not exist; jobs are not checked", allow_module_level=True
    )
JOBS: list[dict[str, Any]] = json.loads(VECTORS.read_text())["vectors"]
CAPTURED: list[dict[str, Any]] = json.loads(VECTORS.read_text())["captured_notify_without_solution"]


def header_of(vector: dict[str, Any], job: NotifyParams) -> bytes:
    """Put the header together as a server does from a job and a submit, all numbers as the scanner reads them."""
    submit = vector["submit"]
    params = ["account.machine", job.job_id, submit["extranonce2"], submit["ntime"], submit["nonce"]]
    if "version_bits" in submit:
        params.append(submit["version_bits"])
    line = json.dumps({"id": 4, "method": "mining.submit", "params": params}).encode() + b"\n"
    rows = np.zeros(1, SUBMIT_DTYPE)
    assert scan_submits(np.frombuffer(line, np.uint8), 0, len(line), rows) == (1, len(line), Stop.END)
    row = rows[0]
    extranonce2 = int(row["extranonce2"]).to_bytes(vector["extranonce2_size"], "big")
    coinbase = job.coinbase1 + bytes.fromhex(vector["extranonce1"]) + extranonce2 + job.coinbase2
    root = root_from_branch(double_sha256(coinbase), job.branch)
    assert root.hex() == vector["expected_merkle_root_internal_hex"]
    version = job.version | int(row["version_bits"])
    little = [
        number.to_bytes(4, "little") for number in (version, int(row["ntime"]), job.nbits, int(row["nonce"]))
    ]
    return little[0] + job.prev_hash + root + little[1] + little[2] + little[3]


def test_there_are_138() -> None:
    assert len(JOBS) == 138


@pytest.mark.parametrize("vector", JOBS, ids=lambda vector: str(vector["height"]))
def test_job_and_share_make_the_header_that_was_found(vector: dict[str, Any]) -> None:
    job = NotifyParams.from_params(vector["notify_params"])
    assert header_of(vector, job).hex() == vector["expected_header_hex"]
    assert job.to_params() == vector["notify_params"]


@pytest.mark.parametrize("vector", JOBS, ids=lambda vector: str(vector["height"]))
def test_our_own_line_of_the_same_job_reads_the_same(vector: dict[str, Any]) -> None:
    read = NotifyParams.from_params(vector["notify_params"])
    template = Template(
        network="main",
        height=vector["height"],
        version=read.version,
        prev_hash=read.prev_hash,
        nbits=read.nbits,
        time=read.ntime,
        min_time=read.ntime,
        coinbase_value_sat=0,
    )
    job = Job(
        id=7,
        account_id=1,
        work_log2=32,
        template=template,
        coinbase1=read.coinbase1,
        coinbase2=read.coinbase2,
        branch=read.branch,
        version=read.version,
        version_mask=0,
        ntime=read.ntime,
        extranonce1_size=len(vector["extranonce1"]) // 2,
        extranonce2_size=vector["extranonce2_size"],
        tag=bytes(32),
        tag_preimage=b"",
        created_at=0.0,
    )
    params = json.loads(encode_job(job, clean=read.clean))["params"]
    assert params == ["7", *vector["notify_params"][1:]]


@pytest.mark.parametrize("vector", JOBS, ids=lambda vector: str(vector["height"]))
def test_a_client_gets_the_job_and_hands_in_the_share(vector: dict[str, Any]) -> None:
    session = ClientSession(user="account.machine", version_mask=None)
    subscribed = {"id": 1, "result": [[], vector["extranonce1"], vector["extranonce2_size"]], "error": None}
    notify = {"id": None, "method": "mining.notify", "params": vector["notify_params"]}
    received = b"".join(json.dumps(message).encode() + b"\n" for message in (subscribed, notify))
    events = session.receive_data(received, 0.0)
    (job,) = [event.job for event in events if isinstance(event, JobReceived)]
    assert header_of(vector, job).hex() == vector["expected_header_hex"]
    session.data_to_send()
    submit = vector["submit"]
    session.submit(
        job,
        extranonce2=bytes.fromhex(submit["extranonce2"]),
        ntime=int(submit["ntime"], 16),
        nonce=int(submit["nonce"], 16),
    )
    params = json.loads(session.data_to_send())["params"]
    assert params[2:5] == [submit["extranonce2"], submit["ntime"], submit["nonce"]]


@pytest.mark.parametrize("captured", CAPTURED, ids=lambda captured: str(captured["height"]))
def test_a_captured_job_names_the_block_before(captured: dict[str, Any]) -> None:
    job = NotifyParams.from_params(captured["message"]["params"])
    assert job.prev_hash[::-1].hex() == captured["prev_block_hash"]
