"""Where the server listens: IPv4, IPv6, TLS, and what it says when it cannot."""

from __future__ import annotations

import socket
import ssl
import time
from pathlib import Path

import pytest

from hashwerk.errors import PoolError
from hashwerk.pool.listen import allow_many_files, listen, shown_address
from support.stratum import FakeNode, MemoryLedger, Peer, make_template, serving
from support.tls import make_certificate


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("tls"))


async def test_a_machine_works_over_tls(certificate: tuple[Path, Path]) -> None:
    node, ledger = FakeNode(), MemoryLedger()
    node.give(make_template(now=time.time()))
    path, key = map(str, certificate)
    async with serving(node, ledger, tls_port=0, tls_certificate=path, tls_key=key) as server:
        assert server.urls["stratum_tls"].startswith("stratum+ssl://127.0.0.1:")
        peer = await Peer.connect(server.urls["stratum_tls"], ssl.create_default_context(cafile=path))
        await peer.begin()
        assert await peer.submit(1) is True
        plain = await Peer.connect(server.urls["stratum"])
        await plain.begin("acc.m2")
        assert await plain.submit(1) is True
        await plain.close()
        await peer.close()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "needs tls_certificate and tls_key"),
        ({"tls_certificate": "/nonexistent", "tls_key": "/x"}, "/nonexistent"),
    ],
)
async def test_unusable_tls_files_are_named(files: dict[str, str], message: str) -> None:
    with pytest.raises(PoolError, match=message):
        async with serving(FakeNode(), MemoryLedger(), tls_port=0, **files):
            pass


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
async def test_a_machine_works_over_ipv6() -> None:
    node, ledger = FakeNode(), MemoryLedger()
    node.give(make_template(now=time.time()))
    async with serving(node, ledger, host="::1") as server:
        assert server.urls["stratum"].startswith("stratum+tcp://[::1]:")
        peer = await Peer.connect(server.urls["stratum"])
        await peer.begin()
        assert await peer.submit(1) is True
        assert ledger.sessions[peer.token].remote.startswith("[::1]:")
        await peer.close()


def test_a_taken_port_is_named() -> None:
    taken = listen("127.0.0.1", 0, 8)
    port = taken[0].getsockname()[1]
    with pytest.raises(PoolError, match=f"127.0.0.1:{port}"):
        listen("127.0.0.1", port, 8)
    for listener in taken:
        listener.close()


def test_an_unknown_host_is_named() -> None:
    with pytest.raises(PoolError, match=r"no-such-host\.invalid"):
        listen("no-such-host.invalid", 0, 8)


def test_a_free_port_is_the_same_for_every_address() -> None:
    listeners = listen("localhost", 0, 8)
    assert len({listener.getsockname()[1] for listener in listeners}) == 1
    assert shown_address(listeners[0]).endswith(f":{listeners[0].getsockname()[1]}")
    for listener in listeners:
        listener.close()


def test_the_limit_of_open_files_is_raised() -> None:
    assert allow_many_files() >= 1024
