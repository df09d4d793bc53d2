"""`hashwerk verify --node`: headers over JSON-RPC from a server of the main network's own first blocks."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hashwerk.chain.header import BlockHeader, hash_from_hex, hash_to_hex
from hashwerk.chain.network import NETWORKS
from hashwerk.cli import cli
from hashwerk.errors import ConfigError
from hashwerk.evidence.bundle import Claim
from support.evidence import ALL_CLAIMS, EvidenceSite

HEADERS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "btc_headers_0_2016.bin"
GENESIS = NETWORKS["main"].genesis
#: Blocks that the node has: a request each for hash and header.
BLOCKS = 12
pytestmark = pytest.mark.skipif(not HEADERS.exists(), reason=f"NO HEADERS: {HEADERS} is absent")


class Chain:
    """The first blocks of the main network, by height and hash."""

    def __init__(self) -> None:
        raw = HEADERS.read_bytes()[: 80 * BLOCKS]
        self.headers = [raw[at : at + 80] for at in range(0, len(raw), 80)]
        self.hashes = [hash_to_hex(BlockHeader.parse(header).hash()) for header in self.headers]
        self.calls: list[str] = []

    def answer(self, method: str, params: list[object]) -> object:
        """Answer as Bitcoin Core does."""
        self.calls.append(method)
        match method, params:
            case "getblockcount", []:
                return len(self.headers) - 1
            case "getblockhash", [int(height)] if 0 <= height < len(self.hashes):
                return self.hashes[height]
            case "getblockheader", [str(name), False] if name in self.hashes:
                return self.headers[self.hashes.index(name)].hex()
        raise LookupError(method)


@pytest.fixture
def node() -> Iterator[tuple[Chain, str]]:
    chain = Chain()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            try:
                status, answer = (
                    200,
                    {"result": chain.answer(asked["method"], asked["params"]), "error": None},
                )
            except LookupError:
                status, answer = 500, {"result": None, "error": {"code": -8, "message": "out of range"}}
            body = json.dumps({**answer, "id": asked["id"]}).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield chain, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def site(height: int) -> EvidenceSite:
    """Return a mine that works on the block at a height of the real chain."""
    header = BlockHeader.parse(HEADERS.read_bytes()[80 * height : 80 * height + 80])
    return EvidenceSite(
        name="river", network="main", private=False, scale=1, nbits=0x1D00FFFF, prev_hash=header.hash(),
        height=height + 1, start_us=(header.time // 3600 + 1) * 3_600_000_000,
    ).run(1)  # fmt: skip


def verify(path: Path, url: str, *more: str) -> Result:
    arguments = ["verify", str(path), "--node", url, "--json", *more]
    return CliRunner().invoke(cli, arguments)


def test_work_on_the_nodes_chain_is_bounded_by_it(node: tuple[Chain, str], tmp_path: Path) -> None:
    chain, url = node
    path = tmp_path / "mine.hwe"
    path.write_bytes(site(9).bundle(claims=ALL_CLAIMS & ~Claim.TIME))
    checkpoint = f"0:{hash_to_hex(GENESIS.hash())}"
    done = verify(path, url, "--checkpoint", checkpoint)
    report = json.loads(done.stdout)
    by_name = {check["name"]: check for check in report["checks"]}
    assert (by_name["chain"]["ok"], by_name["chain"]["label"]) == (True, "proven"), by_name["chain"]
    assert report["subject"] == "mine"
    assert chain.calls.count("getblockheader") == BLOCKS
    # From a later block on only the rest is asked for, and the bound is the same.
    chain.calls.clear()
    later = json.loads(verify(path, url, "--checkpoint", f"8:{chain.hashes[8]}").stdout)
    assert next(check for check in later["checks"] if check["name"] == "chain")["label"] == "proven"
    assert chain.calls.count("getblockheader") == BLOCKS - 8
    # A checkpoint that is not of the node's chain shows nothing.
    other = json.loads(verify(path, url, "--checkpoint", f"3:{chain.hashes[4]}").stdout)
    assert other["verdict"] == "invalid"


def test_work_on_another_chain_is_not_of_the_nodes(node: tuple[Chain, str], tmp_path: Path) -> None:
    path = tmp_path / "other.hwe"
    made = EvidenceSite(
        name="river", network="main", private=False, scale=1, nbits=0x1D00FFFF,
        prev_hash=hash_from_hex("00" * 31 + "07"), height=10, start_us=(GENESIS.time // 3600 + 1) * 3_600_000_000,
    ).run(1)  # fmt: skip
    path.write_bytes(made.bundle(claims=ALL_CLAIMS & ~Claim.TIME))
    checkpoint = f"0:{hash_to_hex(GENESIS.hash())}"
    report = json.loads(verify(path, node[1], "--checkpoint", checkpoint).stdout)
    assert "chain" in [check["name"] for check in report["checks"] if not check["ok"]]


def test_a_node_that_does_not_answer_is_named(node: tuple[Chain, str], tmp_path: Path) -> None:
    path = tmp_path / "any.hwe"
    path.write_bytes(b"not read before the headers")
    beyond = verify(path, node[1], "--checkpoint", f"{BLOCKS + 5}:{'00' * 32}")
    missing = verify(path, "http://127.0.0.1:1", "--checkpoint", f"0:{'00' * 32}")
    for done in (missing, beyond):
        assert done.exit_code != 0
    assert isinstance(missing.exception, ConfigError)
    assert "the node gives no headers" in str(missing.exception)
