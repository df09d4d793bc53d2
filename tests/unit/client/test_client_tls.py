"""The client over TLS: a trusted certificate, one that is not, and a server that speaks no TLS."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import random
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hashwerk.client.events import Connected, ConnectFailed
from hashwerk.client.settings import ClientSettings, ServerUrl
from hashwerk.client.stratum_client import StratumClient

DEADLINE_S = 10.0
NewServer = Callable[..., Awaitable[Any]]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    (folder / "certificate.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return folder / "certificate.pem", folder / "key.pem"


def server_context(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    return context


async def first_event(port: int, kind: type, **settings: Any) -> Any:
    """Run a client until its first event of a kind."""
    server = ServerUrl("127.0.0.1", port, tls=True)
    client = StratumClient(ClientSettings(servers=(server,), user="me", **settings), rng=random.Random(1))
    task = asyncio.create_task(client.run())
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not isinstance(event := await client.next_event(), kind):
                pass
            return event
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("trust", ["its certificate", "anything"])
async def test_work_comes_over_tls(new_server: NewServer, certificate: tuple[Path, Path], trust: str) -> None:
    server = await new_server(tls=server_context(certificate))

    async def greet() -> None:
        await (await server.peer()).greet()

    greeting = asyncio.create_task(greet())
    settings: dict[str, Any] = (
        {"tls_ca_file": str(certificate[0])} if trust == "its certificate" else {"tls_verify": False}
    )
    event = await first_event(server.port, Connected, **settings)
    assert event.server.tls
    await greeting


async def test_a_certificate_nobody_vouches_for_is_refused_in_plain_words(
    new_server: NewServer, certificate: tuple[Path, Path]
) -> None:
    server = await new_server(tls=server_context(certificate))
    event = await first_event(server.port, ConnectFailed)
    assert "certificate is not trusted" in event.reason


async def test_a_server_without_tls_is_refused_in_plain_words(new_server: NewServer) -> None:
    server = await new_server()

    async def answer_in_plain() -> None:
        peer = await server.peer()
        peer.send_raw(b'{"id":null,"method":"client.show_message","params":["no TLS here"]}\n')

    answering = asyncio.create_task(answer_in_plain())
    event = await first_event(server.port, ConnectFailed)
    assert "no TLS connection" in event.reason
    await answering
