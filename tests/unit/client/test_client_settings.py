"""Server addresses and the limits of the client."""

from __future__ import annotations

import msgspec
import pytest

from hashwerk.client.settings import ClientSettings, ServerUrl
from hashwerk.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("stratum+tcp://127.0.0.1:3333", ServerUrl("127.0.0.1", 3333)),
        ("pool.example:3333", ServerUrl("pool.example", 3333)),
        ("tcp://pool.example:1/", ServerUrl("pool.example", 1)),
        ("stratum+ssl://pool.example:4333", ServerUrl("pool.example", 4333, tls=True)),
        ("stratum+tls://pool.example:4333", ServerUrl("pool.example", 4333, tls=True)),
        ("stratum+tcp://[::1]:3333", ServerUrl("::1", 3333)),
        ("  stratum+tcp://Pool.Example:65535 ", ServerUrl("pool.example", 65535)),
    ],
)
def test_an_address_is_read(text: str, expected: ServerUrl) -> None:
    assert ServerUrl.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("http://pool.example:80", "scheme"),
        ("stratum2+tcp://pool.example:80", "scheme"),
        ("stratum+tcp://pool.example", "port"),
        ("stratum+tcp://:3333", "host"),
        ("stratum+tcp://pool.example:0", "port"),
        ("stratum+tcp://pool.example:70000", "port"),
        ("stratum+tcp://pool.example:x", "port"),
        ("stratum+tcp://pool.example:3333/path", "after the port"),
        ("", "host"),
    ],
)
def test_a_wrong_address_is_refused_with_the_reason(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ServerUrl.parse(text)


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        ServerUrl.parse("stratum+tcp://me:hunter2@pool.example:3333")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("text", ["stratum+tcp://[::1]:3333", "stratum+ssl://pool.example:4333"])
def test_an_address_is_written_as_it_is_read(text: str) -> None:
    assert str(ServerUrl.parse(text)) == text


def test_settings_refuse_what_cannot_work() -> None:
    server = ServerUrl("127.0.0.1", 3333)
    with pytest.raises(ConfigError, match="no server"):
        ClientSettings(servers=(), user="a")
    with pytest.raises(ConfigError, match="retry_min_s"):
        ClientSettings(servers=(server,), user="a", retry_min_s=0)
    with pytest.raises(ConfigError, match="max_in_flight"):
        ClientSettings(servers=(server,), user="a", max_in_flight=0)
    with pytest.raises(msgspec.ValidationError, match="silence"):
        msgspec.convert({"servers": [{"host": "h", "port": 1}], "user": "a", "silence": 1}, ClientSettings)
