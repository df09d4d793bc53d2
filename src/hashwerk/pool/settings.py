"""What an operator may set about the Stratum server. The site's configuration is composed of these."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from hashwerk.stratum.v1.limits import SessionLimits

Port = Annotated[int, Meta(ge=0, le=65_535)]
Difficulty = Annotated[float, Meta(gt=0)]


class PoolSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The Stratum server: where it listens, what work it gives out, and what it puts up with."""

    host: Annotated[str, Meta(description="Address to listen on; an IPv6 address works too.")] = "127.0.0.1"
    port: Annotated[
        int, Meta(ge=0, le=65_535, description="Port for plain connections; 0 lets the system choose.")
    ] = 3333
    tls_port: Annotated[
        Port | None, Meta(description="Port for connections over TLS; none: no TLS is offered.")
    ] = None
    tls_certificate: Annotated[
        str | None, Meta(description="PEM file with the certificate and its chain.")
    ] = None
    tls_key: Annotated[str | None, Meta(description="PEM file with the certificate's private key.")] = None
    backlog: Annotated[
        int, Meta(ge=1, le=65_535, description="Connections the system may hold until they are accepted.")
    ] = 4_096
    max_sessions: Annotated[
        int, Meta(ge=1, description="Connections at most; one more is closed at once.")
    ] = 50_000
    pool_tag: Annotated[
        str, Meta(max_length=32, description="Written into every coinbase for all to read.")
    ] = "/Hashwerk/"
    start_difficulty: Annotated[
        float,
        Meta(
            gt=0,
            description="Share difficulty of a machine we know nothing of; rounded down to a power of 2.",
        ),
    ] = 2.0**-6
    min_difficulty: Annotated[
        float, Meta(gt=0, description="No share difficulty is set below this; 2.3e-10 is a single hash.")
    ] = 2.0**-16
    max_difficulty: Annotated[
        Difficulty | None, Meta(description="No share difficulty is set above this; none: no limit.")
    ] = None
    vardiff: Annotated[
        bool, Meta(description="Find each machine's difficulty from its shares; false keeps the first one.")
    ] = True
    shares_per_minute: Annotated[
        float, Meta(gt=0, le=6_000, description="How many shares a minute each machine should hand in.")
    ] = 12.0
    version_mask: Annotated[
        int,
        Meta(
            ge=0,
            le=0xFFFF_FFFF,
            description="Version bits machines may roll (BIP-0320: 0x1fffe000; BIP-0323: 0x1fffffe0).",
        ),
    ] = 0x1FFF_E000
    extranonce1_size: Annotated[int, Meta(ge=4, le=8, description="Bytes of a session's own extranonce.")] = 4
    extranonce2_size: Annotated[
        int, Meta(ge=2, le=8, description="Bytes a machine may count through itself.")
    ] = 8
    job_refresh_s: Annotated[
        float, Meta(gt=0, description="A job is made anew at least this often, even without a new template.")
    ] = 60.0
    job_lifetime_s: Annotated[
        float, Meta(gt=0, description="How long shares of a replaced job still count, while its block does.")
    ] = 180.0
    stale_lifetime_s: Annotated[
        float,
        Meta(gt=0, description="How long jobs of an old block are remembered, to call their shares stale."),
    ] = 120.0
    write_limit_bytes: Annotated[
        int, Meta(ge=4_096, description="What a connection may leave unread before it is closed.")
    ] = 262_144
    unread_timeout_s: Annotated[
        float,
        Meta(
            ge=1,
            description="A connection that takes nothing of what it is sent for so long is closed, in seconds.",
        ),
    ] = 60.0
    when_upstreams_fail: Annotated[
        Literal["own", "idle", "last"],
        Meta(
            description="With no upstream pool left: work on our own templates, send machines away to their standby"
            " or to rest, or keep the last work."
        ),
    ] = "last"
    limits: Annotated[
        SessionLimits, Meta(description="What one session may do before it is slowed down or closed.")
    ] = SessionLimits()
