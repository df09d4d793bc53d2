"""Bitcoin Core over RPC when things go wrong: nodes that vanish, hang, lie, disagree or lag behind."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from hashwerk.chain.header import double_sha256, hash_to_hex
from hashwerk.chain.template import Template
from hashwerk.errors import ConfigError, NodeError, StoreFullError
from hashwerk.node import core as core_module
from hashwerk.node.block_store import BlockStore
from hashwerk.node.core import CoreNode
from hashwerk.node.regtest import mine_block
from hashwerk.node.settings import CoreSettings
from hashwerk.stratum.ports import NodeStatus, SubmitOutcome

DEADLINE_S = 10.0
OpenCore = Callable[..., Awaitable[CoreNode]]
Backend = Any  # see conftest


def hash_of(block: bytes) -> bytes:
    return double_sha256(block[:80])


def on_main(method: str, result: Any) -> Any:
    return result | {"chain": "main"} if method == "getblockchaininfo" else result


async def first_template(node: CoreNode) -> Template:
    async with asyncio.timeout(DEADLINE_S):
        return await anext(node.templates())


async def template_on(node: CoreNode, prev_hash: bytes) -> Template:
    async with asyncio.timeout(DEADLINE_S):
        async for template in node.templates():
            if template.prev_hash == prev_hash:
                return template
    raise AssertionError("the templates ended")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110, states of several parties have no one event
            await asyncio.sleep(0.005)


async def status_when(node: CoreNode, condition: Callable[[NodeStatus], bool]) -> NodeStatus:
    await until(lambda: condition(node.status()))
    return node.status()


@pytest.mark.parametrize("long_poll", [True, False])
async def test_a_node_that_vanishes_and_comes_back(
    backend: Backend, open_core: OpenCore, long_poll: bool
) -> None:
    node = await open_core(backend, long_poll=long_poll)
    before = await first_template(node)
    await backend.vanish()
    node._peers[0].nudge()
    status = await status_when(node, lambda status: not status.healthy)
    assert backend.url in (status.message or "")
    assert await first_template(node) is before  # the last work is kept
    await backend.appear()
    assert (await status_when(node, lambda status: status.healthy)).message is None
    block = await backend.mine()
    assert (await template_on(node, hash_of(block))).height == 2


@pytest.mark.parametrize("long_poll", [True, False])
async def test_a_node_that_hangs_and_wakes_up(backend: Backend, open_core: OpenCore, long_poll: bool) -> None:
    node = await open_core(backend, long_poll=long_poll, refresh_s=0.1, timeout_s=0.2)
    await first_template(node)
    backend.hangs = True
    status = await status_when(node, lambda status: not status.healthy)
    assert "did not answer within 0.2 s" in (status.message or "")
    backend.hangs = False
    await status_when(node, lambda status: status.healthy)


async def test_a_submission_to_a_node_that_hangs_does_not_keep_the_others_waiting(
    backend: Backend, second_backend: Backend, open_core: OpenCore
) -> None:
    node = await open_core(backend, second_backend)
    block = mine_block(await first_template(node))
    backend.hangs = True
    async with asyncio.timeout(DEADLINE_S):
        assert await node.submit_block(block) == SubmitOutcome(accepted=True)
    assert second_backend.node.status().tip == hash_of(block)
    assert ("submitblock", [block.hex()]) in backend.calls


SPOILED: dict[str, tuple[dict[str, Any], str]] = {
    "target": ({"target": "00" * 32}, "is not that of nBits"),
    "too easy": ({"bits": "2100ffff", "target": None}, "easier than regtest allows"),
    "negative bits": ({"bits": "1d80ffff", "target": None}, "negative target"),
    "not bits": ({"bits": "hello"}, "invalid literal"),
    "too much money": ({"coinbasevalue": 50 * 10**8 + 1}, "may be worth 5000000000 sat"),
    "negative money": ({"coinbasevalue": -1}, "may be worth"),
    "no height": ({"height": 0}, "height 0 is below 1"),
    "times": ({"mintime": 4_000_000_000}, "times are out of order"),
    "future": ({"curtime": 4_000_000_000}, "times are out of order"),
    "short hash": ({"previousblockhash": "00"}, "no usable answer|not a hash|length 64"),
    "commitment": (
        {"default_witness_commitment": "6a24aa21a9ed" + "00" * 32},
        "witness commitment is not that",
    ),
    "unknown rule": ({"rules": ["csv", "!brandnew"]}, "!brandnew"),
    "signed signet": ({"signet_challenge": "5121" + "02" * 33 + "51ae"}, "must be signed"),
    "transaction": (
        {"transactions": [{"data": "00", "txid": "00" * 32, "hash": "00" * 32}]},
        "sent an invalid template",
    ),
    "no field": ({"version": None}, "no usable answer"),
}


@pytest.mark.parametrize("what", SPOILED)
async def test_an_invalid_template_is_refused_and_the_last_work_kept(
    backend: Backend, open_core: OpenCore, what: str
) -> None:
    node = await open_core(backend, refresh_s=0.05)
    await first_template(node)
    fields, words = SPOILED[what]
    backend.spoil = lambda method, result: result | fields if method == "getblocktemplate" else result
    status = await status_when(node, lambda status: not status.healthy)
    assert status.message is not None
    with pytest.raises(NodeError, match=words):
        raise NodeError(status.message)
    kept = await first_template(node)
    assert kept.height == 1
    assert kept.coinbase_value_sat == 50 * 10**8
    backend.spoil = lambda method, result: result
    await status_when(node, lambda status: status.healthy)
    assert (await node.submit_block(mine_block(await first_template(node)))).accepted


@pytest.mark.parametrize("answer", ["garbage", 17, None, [], {"result": 1}])
async def test_a_tip_that_is_no_hash_does_not_end_the_following(
    backend: Backend, open_core: OpenCore, answer: object
) -> None:
    node = await open_core(backend, long_poll=False)
    await first_template(node)
    backend.spoil = lambda method, result: answer if method == "getbestblockhash" else result
    await status_when(node, lambda status: not status.healthy)
    backend.spoil = lambda method, result: result
    await status_when(node, lambda status: status.healthy)


async def test_the_second_node_takes_over_and_the_first_returns(
    backend: Backend, second_backend: Backend, open_core: OpenCore
) -> None:
    node = await open_core(backend, second_backend, long_poll=False, refresh_s=0.1)
    assert (await status_when(node, lambda status: status.url == backend.url)).healthy
    await status_when(node, lambda status: status.message is None)
    await backend.vanish()
    status = await status_when(node, lambda status: status.url == second_backend.url)
    assert status.healthy
    assert backend.url in (status.message or "")  # said, though work goes on
    block = mine_block(await first_template(node))
    assert (await node.submit_block(block)).accepted
    assert (await template_on(node, hash_of(block))).source == second_backend.url
    await backend.appear()
    # It never saw that block; what is stored is handed to it.
    await until(lambda: backend.node.status().tip == hash_of(block))
    await status_when(node, lambda status: status.url == backend.url and status.message is None)


async def test_the_higher_node_gives_the_work(
    backend: Backend, second_backend: Backend, open_core: OpenCore
) -> None:
    block = await second_backend.mine()
    node = await open_core(backend, second_backend)
    template = await template_on(node, hash_of(block))
    assert (template.height, template.source) == (2, second_backend.url)
    assert node.status().url == second_backend.url


async def test_work_does_not_fall_back_at_once_when_the_higher_node_goes(
    backend: Backend, second_backend: Backend, open_core: OpenCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = await second_backend.mine()
    node = await open_core(backend, second_backend, long_poll=False)
    await template_on(node, hash_of(block))
    await second_backend.vanish()
    status = await status_when(node, lambda status: not status.healthy)
    assert status.tip == hash_of(block)
    monkeypatch.setattr(core_module, "_LOWER_AFTER_S", 0.0)
    status = await status_when(node, lambda status: status.healthy)
    assert (status.url, status.height) == (backend.url, 0)


async def test_a_block_goes_to_disk_and_then_to_all_nodes(
    backend: Backend, second_backend: Backend, open_core: OpenCore, tmp_path: Path
) -> None:
    node = await open_core(backend, second_backend)
    block = mine_block(await first_template(node))
    path = tmp_path / "core" / "regtest" / "found-blocks.dat"
    on_disk_first: list[bool] = []

    def look(method: str, result: Any) -> Any:
        if method == "submitblock":
            on_disk_first.append(block in path.read_bytes())
        return result

    backend.spoil = second_backend.spoil = look
    assert (await node.submit_block(block)).accepted
    await until(lambda: len(on_disk_first) == 2)
    assert on_disk_first == [True, True]


async def test_a_full_disk_does_not_keep_a_block_from_the_nodes(
    backend: Backend, open_core: OpenCore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    node = await open_core(backend)
    block = mine_block(await first_template(node))

    append = BlockStore.append

    def full(store: BlockStore, block: bytes) -> bool:
        if store.path.is_relative_to(tmp_path / "core"):
            raise StoreFullError("cannot write a found block: No space left on device")
        return append(store, block)

    monkeypatch.setattr(BlockStore, "append", full)
    assert (await node.submit_block(block)).accepted
    assert "No space left" in (node.status().message or "")


async def test_without_any_answer_the_block_is_handed_in_later(backend: Backend, open_core: OpenCore) -> None:
    node = await open_core(backend)
    block = mine_block(await first_template(node))
    await backend.vanish()
    outcome = await node.submit_block(block)
    assert not outcome.accepted
    assert "is stored and is handed in again" in (outcome.reason or "")
    await backend.appear()
    assert (await template_on(node, hash_of(block))).height == 2
    assert await node.confirmations(hash_of(block)) == 1


@pytest.mark.parametrize("said", ["inconclusive", "duplicate"])
async def test_a_block_that_came_second_is_asked_to_be_preferred(
    backend: Backend, open_core: OpenCore, said: str
) -> None:
    """A node that obeys preciousblock then has it in its active chain, and it counts as accepted."""
    node = await open_core(backend)
    block = mine_block(await first_template(node))

    def come_second(method: str, result: Any) -> Any:
        return said if method == "submitblock" else result

    backend.spoil = come_second
    assert await node.submit_block(block) == SubmitOutcome(accepted=True, reason=said)
    assert ("preciousblock", [hash_to_hex(hash_of(block))]) in backend.calls


async def test_reasons_of_several_nodes_are_all_shown(
    backend: Backend, second_backend: Backend, open_core: OpenCore
) -> None:
    node = await open_core(backend, second_backend)
    block = mine_block(await first_template(node))
    backend.spoil = lambda method, result: "bad-one" if method == "submitblock" else result
    second_backend.spoil = lambda method, result: "bad-two" if method == "submitblock" else result
    outcome = await node.submit_block(block)
    assert not outcome.accepted
    assert set((outcome.reason or "").split(" | ")) == {"bad-one", "bad-two"}


async def test_one_acceptance_outweighs_any_refusal(
    backend: Backend, second_backend: Backend, open_core: OpenCore
) -> None:
    node = await open_core(backend, second_backend)
    block = mine_block(await first_template(node))
    backend.spoil = lambda method, result: "bad-one" if method == "submitblock" else result
    assert await node.submit_block(block) == SubmitOutcome(accepted=True)


async def test_a_block_waits_for_a_connection(backend: Backend, open_core: OpenCore) -> None:
    """A host that takes no connection for longer than other calls may take is not given up."""
    node = await open_core(backend)
    block = mine_block(await first_template(node))
    await backend.vanish()
    with contextlib.ExitStack() as deaf:
        listener = deaf.enter_context(socket.create_server(("127.0.0.1", backend.port), backlog=0))
        waiting = deaf.enter_context(socket.socket())
        waiting.setblocking(False)
        waiting.connect_ex(listener.getsockname())  # the one place in the queue is taken
        await status_when(node, lambda status: "did not answer" in (status.message or ""))
        submission = asyncio.create_task(node.submit_block(block))
        await status_when(node, lambda status: "did not answer" in (status.message or ""))
        done, _ = await asyncio.wait([submission], timeout=1.0)  # twice what any other call is given
        assert not done
    await backend.appear()
    await submission
    assert (await template_on(node, hash_of(block))).height == 2


async def test_it_starts_before_its_node_does(backend: Backend, open_core: OpenCore) -> None:
    await backend.vanish()
    node = await open_core(backend)
    status = node.status()
    assert not status.healthy
    assert "cannot be reached" in (status.message or "")
    await backend.appear()
    assert (await first_template(node)).height == 1


async def test_a_node_of_another_network_is_refused(backend: Backend, open_core: OpenCore) -> None:
    backend.spoil = lambda method, result: (
        result | {"chain": "main"} if method == "getblockchaininfo" else result
    )
    with pytest.raises(NodeError, match="on the network main, the mine is on regtest"):
        await open_core(backend)


async def test_one_good_node_is_enough_to_start(
    backend: Backend, second_backend: Backend, open_core: OpenCore
) -> None:
    backend.spoil = lambda method, result: (
        result | {"chain": "main"} if method == "getblockchaininfo" else result
    )
    node = await open_core(backend, second_backend)
    assert (await first_template(node)).source == second_backend.url
    assert "on the network main" in (node.status().message or "")


async def test_wrong_credentials_are_refused_and_never_shown(
    backend: Backend, open_core: OpenCore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(NodeError, match="refuses our credentials") as caught:
        await open_core(backend, password="s3cret")
    assert "s3cret" not in str(caught.value) + caplog.text


async def test_credentials_in_the_address_are_used_and_never_shown(
    backend: Backend, open_core: OpenCore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    address = f"http://user:pass%3Aword@127.0.0.1:{backend.port}"
    node = await open_core(urls=[address], user=None, password=None)
    await first_template(node)
    assert node.status().url == backend.url
    await backend.vanish()
    node._peers[0].nudge()
    status = await status_when(node, lambda status: not status.healthy)
    assert "pass" not in f"{status} {caplog.text}"


async def test_a_cookie_that_changed_is_read_again(backend: Backend, open_core: OpenCore) -> None:
    node = await open_core(
        backend, user=None, password=None, cookie_file=str(backend.cookie_file), long_poll=False
    )
    await first_template(node)
    old = backend.cookie_file.read_text()
    await backend.vanish()
    assert not backend.cookie_file.exists()
    await status_when(node, lambda status: not status.healthy)
    await backend.appear()
    assert backend.cookie_file.read_text() != old
    await status_when(node, lambda status: status.healthy)


def test_main_is_not_mined_without_a_payout_address(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs a payout address"):
        CoreNode(tmp_path, CoreSettings())
    with pytest.raises(ConfigError, match="needs a payout address"):
        CoreNode(tmp_path, CoreSettings(), payout_script=b"")


async def test_main_with_a_payout_address_can_be_opened(tmp_path: Path) -> None:
    node = CoreNode(tmp_path, CoreSettings(), payout_script=b"\x00\x14" + bytes(20))
    assert not node.status().healthy
    await node.close()


@pytest.mark.parametrize("url", ["127.0.0.1:8332", "ftp://127.0.0.1", "http://", "http://host:port"])
def test_what_is_no_address_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match="not the address of a node"):
        CoreNode(tmp_path, CoreSettings(urls=[url]), network="regtest")


def test_a_password_without_a_user_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="belong together"):
        CoreNode(tmp_path, CoreSettings(password="x"), network="regtest")


async def test_a_node_that_does_not_hold_the_long_poll_is_not_asked_without_pause(
    backend: Backend, open_core: OpenCore
) -> None:
    real = backend.methods.call

    async def impatient(method: str, params: list[Any]) -> object:
        if method == "getblocktemplate":
            params = [{key: value for key, value in params[0].items() if key != "longpollid"}]
        return await real(method, params)

    backend.methods.call = impatient
    node = await open_core(backend, poll_s=0.2)
    await first_template(node)
    async with asyncio.timeout(DEADLINE_S):
        async with asyncio.TaskGroup() as group:
            started_at = asyncio.get_running_loop().time()
            templates = node.templates()
            for _ in range(4):
                await group.create_task(anext(templates))
    assert asyncio.get_running_loop().time() - started_at >= 0.2 * 3 * 0.9
