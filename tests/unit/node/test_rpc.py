"""Core's RPC as it is served and called, byte by byte where that matters."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import stat
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hashwerk import __version__
from hashwerk.chain.block import Block
from hashwerk.chain.header import BlockHeader, double_sha256, hash_to_hex
from hashwerk.errors import NodeError, NodeUnavailableError
from hashwerk.node.core_rpc import Credentials, RpcClient, RpcError, RpcRefusedError
from hashwerk.node.regtest import mine_block

DEADLINE_S = 10.0
Backend = Any  # see conftest


class Caller:
    """A client of the backend."""

    def __init__(self, backend: Backend, **credentials: Any) -> None:
        self.client = RpcClient(
            backend.url,
            Credentials(**(credentials or {"cookie_file": backend.cookie_file})),
            default_port=1,
            timeout_s=DEADLINE_S,
        )

    async def __call__(self, method: str, *params: object) -> Any:
        return await self.client.call(method, params, kind=object)

    async def __aenter__(self) -> Caller:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()


async def raw(backend: Backend, data: bytes, *, close: bool = False) -> bytes:
    """Send bytes, return all that comes until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", backend.port)
    writer.write(data)
    if close:
        writer.write_eof()
    async with asyncio.timeout(DEADLINE_S):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


def post(body: bytes, *headers: str, verb: str = "POST", auth: str = "user:pass:word") -> bytes:
    lines = [f"{verb} / HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", "Connection: close", *headers]
    if auth:
        lines.append("Authorization: Basic " + base64.b64encode(auth.encode()).decode())
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def split(answer: bytes) -> tuple[int, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), msgspec.json.decode(body) if body else None


async def test_chain_blocks_and_headers(backend: Backend) -> None:
    blocks = [await backend.mine() for _ in range(3)]
    hashes = [hash_to_hex(double_sha256(block[:80])) for block in blocks]
    async with Caller(backend) as call:
        assert await call("getblockcount") == 3
        assert await call("getbestblockhash") == hashes[2]
        assert [await call("getblockhash", height) for height in (1, 2, 3)] == hashes
        info = await call("getblockchaininfo")
        assert (info["chain"], info["blocks"], info["bestblockhash"]) == ("regtest", 3, hashes[2])
        header = BlockHeader.parse(blocks[1][:80])
        assert await call("getblockheader", hashes[1], False) == blocks[1][:80].hex()
        view = await call("getblockheader", hashes[1])
        assert view["confirmations"] == 2
        assert view["height"] == 2
        assert view["time"] == header.time
        assert view["previousblockhash"] == hashes[0]
        assert view["nextblockhash"] == hashes[2]
        assert view["merkleroot"] == hash_to_hex(header.merkle_root)
        genesis = await call("getblockheader", await call("getblockhash", 0))
        assert "previousblockhash" not in genesis
        assert (await call("getmininginfo"))["blocks"] == 3
        assert await call("uptime") >= 0
        assert __version__ in (await call("getnetworkinfo"))["subversion"]


async def test_a_block_beside_the_chain_has_minus_one_confirmations(backend: Backend) -> None:
    template = await backend.node.template()
    for extranonce in (1, 2):
        block = mine_block(template, extranonce=extranonce)
        await backend.node.submit_block(block)
    async with Caller(backend) as call:
        view = await call("getblockheader", hash_to_hex(double_sha256(block[:80])))
        assert view["confirmations"] == -1
        assert await call("preciousblock", view["hash"]) is None


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("nonsense", [], -32601),
        ("getblockhash", [99], -8),
        ("getblockhash", [-1], -8),
        ("getblockhash", ["1"], -3),
        ("getblockhash", [True], -3),
        ("getblockhash", [], -1),
        ("getblockheader", ["00" * 32], -5),
        ("getblockheader", ["zz"], -8),
        ("preciousblock", ["00" * 32], -5),
        ("submitblock", ["nothex"], -22),
        ("submitblock", ["00"], -22),
        ("submitblock", [""], -22),
        ("getblocktemplate", [], -8),
        ("getblocktemplate", [{}], -8),
        ("getblocktemplate", [{"rules": ["segwit"], "mode": "proposal"}], -8),
        ("getblocktemplate", [{"rules": ["segwit"], "longpollid": "short"}], -8),
        ("getblocktemplate", ["segwit"], -3),
    ],
)
async def test_error_codes_are_those_of_core(
    backend: Backend, method: str, params: list[Any], code: int
) -> None:
    async with Caller(backend) as call:
        with pytest.raises(RpcError) as caught:
            await call(method, *params)
        assert caught.value.code == code


async def test_a_template_can_be_mined_and_submitted_by_anybody(backend: Backend) -> None:
    async with Caller(backend) as call:
        reply = await call("getblocktemplate", {"rules": ["segwit"]})
        template = await backend.node.template()
        assert reply["previousblockhash"] == hash_to_hex(template.prev_hash)
        assert reply["height"] == 1
        block = mine_block(template)
        assert await call("submitblock", block.hex()) is None
        assert await call("submitblock", block.hex()) == "duplicate"
        with pytest.raises(RpcError) as caught:
            await call("submitblock", block.hex() + "00")
        assert caught.value.code == -22


async def test_a_coinbase_without_witness_is_completed_as_core_does(backend: Backend) -> None:
    block = Block.parse(mine_block(await backend.node.template()))
    async with Caller(backend) as call:
        assert await call("submitblock", block.serialize(witness=False).hex()) is None
    assert backend.node.status().height == 1


async def test_a_long_poll_answers_with_the_next_tip(backend: Backend) -> None:
    async with Caller(backend) as call:
        first = await call("getblocktemplate", {"rules": ["segwit"]})
        poll = asyncio.ensure_future(
            call("getblocktemplate", {"rules": ["segwit"], "longpollid": first["longpollid"]})
        )
        await call("uptime")  # another call on the way
        assert not poll.done()
        block = await backend.mine()
        async with asyncio.timeout(DEADLINE_S):
            second = await poll
        assert second["previousblockhash"] == hash_to_hex(double_sha256(block[:80]))
        assert second["longpollid"] != first["longpollid"]
        # An id of the past is answered at once.
        again = await call("getblocktemplate", {"rules": ["segwit"], "longpollid": first["longpollid"]})
        assert again["height"] == 2


async def test_a_long_poll_whose_peer_left_is_given_up(backend: Backend) -> None:
    async with Caller(backend) as call:
        first = await call("getblocktemplate", {"rules": ["segwit"]})
    params = [{"rules": ["segwit"], "longpollid": first["longpollid"]}]
    body = msgspec.json.encode({"method": "getblocktemplate", "params": params})
    assert await raw(backend, post(body), close=True) == b""


@pytest.mark.parametrize(
    ("address", "valid"),
    [
        ("bcrt1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqdku202", True),
        ("bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq", False),
        ("nonsense", False),
    ],
)
async def test_addresses_are_validated(backend: Backend, address: str, valid: bool) -> None:
    async with Caller(backend) as call:
        view = await call("validateaddress", address)
    assert view["isvalid"] is valid
    if valid:
        assert view["scriptPubKey"] == "0014" + "00" * 20
        assert view["iswitness"]
        assert not view["isscript"]
    else:
        assert view["error"]


async def test_the_cookie_is_the_owners_alone_and_is_removed(backend: Backend) -> None:
    assert stat.S_IMODE(backend.cookie_file.stat().st_mode) == 0o600
    async with Caller(backend) as call:
        assert await call("getblockcount") == 0
    await backend.vanish()
    assert not backend.cookie_file.exists()


@pytest.mark.parametrize("auth", ["", "user:wrong", "other:pass:word", "__cookie__:", ":"])
async def test_nobody_else_is_let_in(backend: Backend, auth: str) -> None:
    answer = await raw(backend, post(b'{"method":"uptime"}', auth=auth))
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"WWW-Authenticate: Basic" in answer
    assert not backend.calls


async def test_the_client_says_that_it_is_refused(backend: Backend) -> None:
    async with Caller(backend, user="user", password="wrong") as call:
        with pytest.raises(RpcRefusedError, match="refuses our credentials"):
            await call("uptime")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (post(b"", verb="GET"), 405),
        (b"nonsense\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nContent-Length: 9999999999999999999999\r\n\r\n", 413),
    ],
)
async def test_bad_requests_get_the_right_status(backend: Backend, data: bytes, status: int) -> None:
    assert split(await raw(backend, data))[0] == status


@pytest.mark.parametrize(
    "data", [b"x" * 100_000, b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab", b"", b"\x00\xff\r\n\r\n"]
)
async def test_half_requests_and_garbage_harm_nobody(backend: Backend, data: bytes) -> None:
    await raw(backend, data, close=True)
    async with Caller(backend) as call:
        assert await call("getblockcount") == 0


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 500, -32700),
        (b"\xff", 500, -32700),
        (b"17", 400, -32600),
        (b"{}", 400, -32600),
        (b'{"method":1}', 400, -32600),
        (b'{"method":"uptime","params":{"a":1}}', 400, -32600),
        (b'{"method":"nonsense","id":7}', 404, -32601),
        (b'{"method":"getblockhash","params":[99],"id":7}', 500, -8),
        (b'{"jsonrpc":"2.0","method":"getblockhash","params":[99],"id":7}', 200, -8),
    ],
)
async def test_errors_have_status_and_code(backend: Backend, body: bytes, status: int, code: int) -> None:
    got, reply = split(await raw(backend, post(body)))
    assert (got, reply["error"]["code"]) == (status, code)
    assert reply["id"] == (7 if b'"id":7' in body else None)


async def test_a_batch_is_answered_in_order(backend: Backend) -> None:
    body = (
        b'[{"method":"getblockcount","id":1},{"method":"nonsense","id":2},'
        b'{"jsonrpc":"2.0","method":"uptime","id":3}]'
    )
    status, replies = split(await raw(backend, post(body)))
    assert status == 200
    assert replies[0] == {"result": 0, "error": None, "id": 1}
    assert replies[1]["error"]["code"] == -32601
    assert set(replies[2]) == {"jsonrpc", "result", "id"}


async def test_a_reply_that_is_not_of_the_wanted_kind_is_no_answer(backend: Backend) -> None:
    async with Caller(backend) as call:
        with pytest.raises(NodeUnavailableError, match="no usable answer to getblockcount"):
            await call.client.call("getblockcount", kind=str)


async def test_a_kept_connection_that_died_is_not_the_nodes_fault(backend: Backend) -> None:
    async with Caller(backend) as call:
        assert await call("getblockcount") == 0
        await backend.vanish()
        await backend.appear()  # on the same port, with another cookie
        assert await call("getblockcount") == 0


async def test_a_port_in_use_is_said(backend: Backend, second_backend: Backend) -> None:
    with pytest.raises(NodeError, match=f"cannot serve RPC on 127.0.0.1:{backend.port}"):
        await second_backend.server.start(port=backend.port)


async def test_it_runs_from_the_command_line_and_ends_on_sigterm(tmp_path: Path) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "hashwerk.node.rpc_server", "--folder", str(tmp_path), "--network", "regtest", "--port", "0"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONWARNINGS": "error"},
    )
    assert child.stdout is not None
    async with asyncio.timeout(30):
        line = (await child.stdout.readline()).decode()
        port = int(line.split("127.0.0.1:")[1].split(",")[0])
        cookie_file = tmp_path / "regtest" / ".cookie"
        client = RpcClient(
            f"http://127.0.0.1:{port}",
            Credentials(cookie_file=cookie_file),
            default_port=1,
            timeout_s=DEADLINE_S,
        )
        assert await client.call("getblockcount", kind=int) == 0
        await client.close()
        child.send_signal(signal.SIGTERM)
        _, errors = await child.communicate()
    assert child.returncode == 0, errors.decode()
    assert not cookie_file.exists()


async def test_a_lone_line_feed_ends_a_line(backend: Backend) -> None:
    head, _, body = post(b'{"method":"getblockcount","id":1}').partition(b"\r\n\r\n")
    got, reply = split(await raw(backend, head.replace(b"\r\n", b"\n") + b"\n\n" + body))
    assert (got, reply["result"]) == (200, 0)
