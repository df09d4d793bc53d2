"""What a client session tells its consumer."""

from __future__ import annotations

import msgspec

from hashwerk.stratum.v1.notify import NotifyParams


class ClientJob(NotifyParams, frozen=True, kw_only=True):
    """A job with everything that held when it came. Hashes are in internal byte order."""

    difficulty: float  # the share difficulty of this job; an int where the server sent one
    extranonce1: bytes
    extranonce2_size: int
    version_mask: int  # bits that may be rolled; 0: none


class JobReceived(msgspec.Struct, frozen=True):
    """A job to be worked on from now on; the same one again when its version mask changed."""

    job: ClientJob


class Accepted(msgspec.Struct, frozen=True):
    """The server took the share."""

    id: int


class Rejected(msgspec.Struct, frozen=True):
    """The server refused the share."""

    id: int
    code: int | None  # None: it gave none
    reason: str


class Subscribed(msgspec.Struct, frozen=True):
    """The server gave us an extranonce, and perhaps a token to resume the session with."""

    token: str | None


class Authorized(msgspec.Struct, frozen=True):
    """What the server made of a user."""

    user: str
    refused: str | None  # why not; None: shares may be handed in under this name


class MessageShown(msgspec.Struct, frozen=True):
    """A text for people."""

    text: str


class ReconnectRequested(msgspec.Struct, frozen=True):
    """The server wants us to connect again after a while, perhaps elsewhere.

    ``allowed`` is cgminer's rule: the other host is this one, or both have a name with the same domain.
    """

    host: str | None  # None: the same
    port: int | None
    wait_s: float
    allowed: bool


class Failed(msgspec.Struct, frozen=True):
    """Nothing good can come of this connection any more; close it."""

    reason: str


ClientEvent = (
    JobReceived | Accepted | Authorized | Rejected | Subscribed | MessageShown | ReconnectRequested | Failed
)
