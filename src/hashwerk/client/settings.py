"""What the Stratum client is told: the servers in their order, who asks, and how long it waits."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

import msgspec

from hashwerk import __version__
from hashwerk.errors import ConfigError

#: Schemes people write for a plain and for a TLS connection; the first of each is what we print.
PLAIN_SCHEMES: Final = ("stratum+tcp", "tcp")
TLS_SCHEMES: Final = ("stratum+ssl", "stratum+tls", "ssl", "tls")


class ServerUrl(msgspec.Struct, frozen=True):
    """The address of one Stratum server."""

    host: str
    port: int
    tls: bool = False

    @classmethod
    def parse(cls, text: str) -> ServerUrl:
        """Return the address in ``stratum+tcp://HOST:PORT``, ``stratum+ssl://…`` or plain ``HOST:PORT``.

        An IPv6 address stands in brackets: ``stratum+tcp://[::1]:3333``.

        Raises:
            ConfigError: If the text is no such address; the message says what is wrong with it.
        """
        written = text.strip()
        parts = urlsplit(written if "://" in written else f"{PLAIN_SCHEMES[0]}://{written}")
        if parts.scheme not in PLAIN_SCHEMES + TLS_SCHEMES:
            raise ConfigError(f"{text!r}: the scheme is {parts.scheme!r}, not stratum+tcp or stratum+ssl")
        if parts.username is not None or parts.password is not None:
            raise ConfigError(f"{parts.hostname}: user (-u) and password (-p) do not belong in the address")
        if parts.path not in ("", "/") or parts.query or parts.fragment:
            raise ConfigError(f"{text!r}: only stratum+tcp://HOST:PORT, nothing after the port")
        try:
            port = parts.port
        except ValueError as error:
            raise ConfigError(f"{text!r}: the port must be a number from 1 to 65535") from error
        if not parts.hostname or not port:
            raise ConfigError(f"{text!r}: a host and a port are needed, as in stratum+tcp://127.0.0.1:3333")
        return cls(host=parts.hostname, port=port, tls=parts.scheme in TLS_SCHEMES)

    def __str__(self) -> str:
        """Return the address as it would be written."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{(TLS_SCHEMES if self.tls else PLAIN_SCHEMES)[0]}://{host}:{self.port}"


class ClientSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything a `StratumClient` needs to know. Times in seconds.

    The defaults are those of common miners where there is a custom: cpuminer and cgminer give a server about
    a minute or two without a job before they turn away, and retry after up to a minute.
    """

    servers: tuple[ServerUrl, ...]  # the first is preferred; the others stand in for it
    user: str
    password: str = "x"  # noqa: S105  what miners send where no password is asked for
    user_agent: str = f"hashwerk/{__version__}"
    suggest_difficulty: int | float | None = None
    version_rolling_mask: int | None = 0x1FFFE000  # BIP-0320's bits; None: do not ask
    connect_timeout_s: float = 10.0
    handshake_timeout_s: float = 20.0  # from the connection to the first job
    reply_timeout_s: float = 30.0  # a share unanswered for so long ends the connection
    silence_timeout_s: float = 150.0  # no job for so long on a live connection: the next server
    retry: bool = True  # False: give up when every server has failed once in a row
    retry_min_s: float = 1.0
    retry_max_s: float = 60.0
    return_check_s: float = 60.0  # on a stand-in: how often the preferred server is tried
    return_proof_s: float = 30.0  # it must have served jobs for so long before the client goes back to it
    close_timeout_s: float = 1.0
    max_line_bytes: int = 1 << 20  # DATUM and ckpool send templates of some kB; 1 MiB is nobody's job
    max_in_flight: int = 256  # shares sent and not yet answered
    max_events: int = 4096  # events the consumer has not yet taken; then the sockets are read no further
    tls_verify: bool = True
    tls_ca_file: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigError: If there is no server, or a time or limit is not positive.
        """
        if not self.servers:
            raise ConfigError("no server was named")
        for field in self.__struct_fields__:
            value = getattr(self, field)
            if (field.endswith("_s") or field.startswith("max_")) and not value > 0:
                raise ConfigError(f"{field} must be positive: {value}")
