"""Listening sockets, made by hand so that they can be handed to a successor."""

from __future__ import annotations

import resource
import socket
import ssl
import sys

from hashwerk.errors import PoolError
from hashwerk.pool.settings import PoolSettings


def listen(host: str, port: int, backlog: int) -> list[socket.socket]:
    """Return sockets that listen on every address of ``host``; port 0 gives all of them the same free port.

    Raises:
        PoolError: If the name is unknown or an address cannot be listened on; the message names it.
    """
    try:
        found = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
        )
    except OSError as error:
        raise PoolError(f"{host} cannot be listened on: {error.strerror or error}") from error
    listeners: list[socket.socket] = []
    for family, kind, protocol, _, address in dict.fromkeys(found):
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.setblocking(False)
            chosen = listeners[0].getsockname()[1] if listeners else port
            listener.bind((address[0], chosen, *address[2:]))
            listener.listen(backlog)
        except OSError as error:
            for opened in (listener, *listeners):
                opened.close()
            raise PoolError(f"{host}:{port} cannot be listened on: {error.strerror}") from error
        listeners.append(listener)
    return listeners


def set_unread_timeout(listener: socket.socket, timeout_s: float) -> None:
    """Have accepted connections end when what was sent stays unacknowledged, or unread behind a full window (RFC 5482).

    An idle connection is asked now and then whether it still lives. Linux has accepted sockets inherit these options.
    Where there is no ``TCP_USER_TIMEOUT`` (macOS), only the questions find out the dead.
    """
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":
        whole_s = max(1, round(timeout_s))
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, whole_s)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, whole_s // 4))
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1_000 * timeout_s))


def allow_many_files() -> int:
    """Raise this process's limit of open files to what the system allows, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = max(soft, 1 << 20)
    if soft < hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):
            return soft  # macOS names a hard limit that it does not grant
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def tls_context(settings: PoolSettings) -> ssl.SSLContext:
    """Return what connections over TLS are made with.

    Raises:
        PoolError: If certificate or key are missing or cannot be used; the message names them.
    """
    if settings.tls_certificate is None or settings.tls_key is None:
        raise PoolError("a TLS port needs tls_certificate and tls_key")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    except OSError as error:
        raise PoolError(
            f"{settings.tls_certificate}, {settings.tls_key}: cannot be used for TLS: {error}"
        ) from error
    return context


def shown_address(listener: socket.socket) -> str:
    """Return where a socket listens as HOST:PORT, an IPv6 address in brackets."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
