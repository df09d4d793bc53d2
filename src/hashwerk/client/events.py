"""What the Stratum client tells its consumer."""

from __future__ import annotations

import msgspec

from hashwerk.client.settings import ServerUrl
from hashwerk.stratum.v1.client import ClientJob


class Work(msgspec.Struct, frozen=True):
    """A job together with the connection it came on; shares go back the same way."""

    connection: int
    job: ClientJob


class Submission(msgspec.Struct, frozen=True):
    """A share as it is handed in."""

    work: Work
    extranonce2: bytes
    ntime: int
    nonce: int
    version_bits: int = 0  # the rolled bits, inside the job's mask


class Connected(msgspec.Struct, frozen=True):
    """A server gives us work from now on; its current job follows."""

    server: ServerUrl
    connection: int


class WorkReceived(msgspec.Struct, frozen=True):
    """A new job; whatever was being worked on before is to be left."""

    work: Work
    clean: bool  # shares of earlier jobs no longer count


class ShareAccepted(msgspec.Struct, frozen=True):
    """The server took a share."""

    share: Submission
    latency_s: float


class ShareRejected(msgspec.Struct, frozen=True):
    """The server refused a share."""

    share: Submission
    latency_s: float
    code: int | None
    reason: str


class Disconnected(msgspec.Struct, frozen=True):
    """A connection that had served us is over.

    Nobody knows what became of its unanswered shares: they are neither accepted nor rejected.
    """

    server: ServerUrl
    connection: int
    reason: str
    unknown: tuple[Submission, ...]


class ConnectFailed(msgspec.Struct, frozen=True):
    """A server could not be used at all."""

    server: ServerUrl
    reason: str


class ServerMessage(msgspec.Struct, frozen=True):
    """A text the server wants people to read."""

    text: str


ClientEvent = (
    Connected | WorkReceived | ShareAccepted | ShareRejected | Disconnected | ConnectFailed | ServerMessage
)
