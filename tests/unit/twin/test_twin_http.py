"""The little HTTP of machines and of the control port."""

from __future__ import annotations

import pytest

from hashwerk.twin.http import BAD_REQUEST, HttpRequest, HttpResponse, parse_http


def test_a_request_with_a_body() -> None:
    data = b"POST /a?b=1&c= HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nd=2&"
    found = parse_http(data)
    assert isinstance(found, HttpRequest)
    assert (found.method, found.path, found.query, found.body) == ("POST", "/a", {"b": "1", "c": ""}, b"d=2&")
    assert found.headers["host"] == "x"
    assert found.form() == {"d": "2"}
    assert parse_http(data[:-1]) is None


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"GET / FTP/1\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"a" * 70_000,
    ],
)
def test_what_is_no_request(data: bytes) -> None:
    assert parse_http(data) is BAD_REQUEST


def test_a_response_says_its_length_and_closes() -> None:
    found = HttpResponse(404, b"no", "text/plain", (("X-Y", "z"),)).encode()
    assert found.startswith(b"HTTP/1.1 404 Not Found\r\n")
    assert b"Content-Length: 2\r\nConnection: close\r\nX-Y: z\r\n\r\nno" in found
