"""The machine's side of one Stratum V1 connection, without I/O.

Bytes in, events out, and what is to be sent waits in `data_to_send`. Servers differ more than machines do:
every form of answer that is in use is read. A bad server produces `Failed`, never an exception.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from hashwerk.errors import DecodeError
from hashwerk.stratum.v1 import codec
from hashwerk.stratum.v1.client_events import (
    Accepted,
    Authorized,
    ClientEvent,
    ClientJob,
    Failed,
    JobReceived,
    MessageShown,
    ReconnectRequested,
    Rejected,
    Subscribed,
)
from hashwerk.stratum.v1.codec import LineBuffer, LineTooLong, ProtocolError, Reply, Request
from hashwerk.stratum.v1.configure import parse_mask, positive_difficulty
from hashwerk.stratum.v1.notify import NotifyParams
from hashwerk.stratum.v1.replies import read_error, read_reconnect, read_subscription

__all__ = [
    "Accepted",
    "Authorized",
    "ClientEvent",
    "ClientJob",
    "ClientSession",
    "Failed",
    "JobReceived",
    "MessageShown",
    "ReconnectRequested",
    "Rejected",
    "Subscribed",
]

#: Templates of large pools with many outputs reach some kB; nobody sends a job of a megabyte.
DEFAULT_MAX_LINE_BYTES: Final = 1 << 20
_MAX_MESSAGE_CHARS: Final = 1024

Answered = Callable[[Reply], list[ClientEvent]]


class ClientSession:
    """One connection to a server, from the first bytes we send. Owned by one task; nothing in it waits."""

    __slots__ = (
        "_answers",
        "_difficulty",
        "_early_job",
        "_extranonce1",
        "_extranonce2_size",
        "_failed",
        "_host",
        "_job",
        "_lines",
        "_next_id",
        "_out",
        "_password",
        "_subscribe_extranonce",
        "_suggest_difficulty",
        "_user",
        "_user_agent",
        "_version_mask",
        "is_rolling_agreed",
    )

    def __init__(
        self,
        *,
        user: str,
        password: str = "x",  # noqa: S107  what miners send where no password is asked for
        user_agent: str = "hashwerk",
        version_mask: int | None = 0x1FFF_E000,
        resume_token: str | None = None,
        suggest_difficulty: float | None = None,
        subscribe_extranonce: bool = True,
        host: str | None = None,
        max_line_bytes: int = DEFAULT_MAX_LINE_BYTES,
    ) -> None:
        """Begin; the first requests are ready to be sent.

        Args:
            user: The user, as in ``account.machine``.
            password: Most servers ignore it.
            user_agent: Who we are.
            version_mask: The version bits we can roll (BIP-0310); None does not ask for any.
            resume_token: The session to resume, from an earlier `Subscribed`.
            suggest_difficulty: What we would like to be given; None says nothing.
            subscribe_extranonce: Whether we take another extranonce while connected.
            host: The server's name, to judge where `client.reconnect` may send us.
            max_line_bytes: A longer line is a failure.
        """
        self._user = user
        self._password = password
        self._user_agent = user_agent
        self._suggest_difficulty = suggest_difficulty
        self._subscribe_extranonce = subscribe_extranonce
        self._host = host
        self._lines = LineBuffer(max_line_bytes)
        self._out: list[bytes] = []
        self._next_id = 1
        self._answers: dict[int, Answered] = {}
        self._version_mask = 0
        self.is_rolling_agreed = False  # then every submit carries version bits, however few may be rolled
        self._extranonce1: bytes | None = None
        self._extranonce2_size = 0
        self._difficulty: float = 1  # what the protocol means until a server says otherwise
        self._job: ClientJob | None = None
        self._early_job: Request | None = None
        self._failed = False
        if version_mask is not None:
            # BIP-0310: this SHOULD be the first message.
            wanted = {"version-rolling.mask": f"{version_mask:08x}", "version-rolling.min-bit-count": 2}
            self._request("mining.configure", [["version-rolling"], wanted], self._on_configured)
        token = [] if resume_token is None else [resume_token]
        self._request("mining.subscribe", [user_agent, *token], self._on_subscribed)

    def receive_data(self, data: bytes, now: float) -> list[ClientEvent]:
        """Take bytes as they came and return what they mean; after `Failed` nothing more comes.

        ``now`` is not needed yet; every core takes the time.
        """
        events: list[ClientEvent] = []
        for line in self._lines.feed(data):
            if self._failed:
                break
            events += (
                self._fail("a line is too long") if isinstance(line, LineTooLong) else self._on_line(line)
            )
        return events

    def data_to_send(self) -> bytes:
        """Return what is to be written, and forget it."""
        data = b"".join(self._out)
        self._out.clear()
        return data

    def authorize(self, user: str) -> None:
        """Ask for another user on this connection; `Authorized` tells what the server made of it."""
        self._request(
            "mining.authorize", [user, self._password], lambda reply: self._on_other_authorized(user, reply)
        )

    def submit(
        self,
        job: ClientJob,
        *,
        extranonce2: bytes,
        ntime: int,
        nonce: int,
        version_bits: int = 0,
        user: str | None = None,
    ) -> int:
        """Hand in a share and return the id that its `Accepted` or `Rejected` will name.

        Args:
            job: The job it is of.
            extranonce2: Of the job's size.
            ntime: The header's time.
            nonce: The header's nonce.
            version_bits: The bits rolled inside the job's mask.
            user: Another user that was authorised; None: the connection's own.

        Raises:
            ValueError: If the extranonce2 is not of the job's size, or bits lie outside the job's mask.
        """
        if len(extranonce2) != job.extranonce2_size:
            raise ValueError(f"extranonce2 must be {job.extranonce2_size} bytes: {len(extranonce2)}")
        if version_bits & ~job.version_mask:
            raise ValueError(f"version bits outside the mask: {version_bits:08x}")
        return self.submit_raw(
            job_id=job.job_id,
            extranonce2=extranonce2,
            ntime=ntime,
            nonce=nonce,
            version_bits=version_bits if job.version_mask or self.is_rolling_agreed else None,
            user=user,
        )

    def submit_raw(
        self,
        *,
        job_id: str,
        extranonce2: bytes,
        ntime: int,
        nonce: int,
        version_bits: int | None,
        user: str | None = None,
    ) -> int:
        """Hand in a share of a job that the caller has kept, as `submit`; None: no version bits were agreed."""
        params = [user or self._user, job_id, extranonce2.hex(), f"{ntime:08x}", f"{nonce:08x}"]
        if version_bits is not None:
            # BIP-0310: once version rolling is agreed "the client MUST send one additional parameter".
            params.append(f"{version_bits:08x}")
        request_id = self._next_id
        return self._request("mining.submit", params, lambda reply: self._on_submitted(request_id, reply))

    @property
    def version_mask(self) -> int:
        """The bits the server lets us roll now."""
        return self._version_mask

    @property
    def pending(self) -> int:
        """How many requests have not been answered."""
        return len(self._answers)

    # --- lines ---

    def _on_line(self, line: bytes) -> list[ClientEvent]:
        if not line.strip():
            return []
        match codec.decode_message(line):
            case Request() as request:
                return self._on_request(request)
            case Reply() as reply:
                return self._on_reply(reply)
            case ProtocolError(message=message):
                return self._fail(f"not a Stratum server: {message.lower()}")

    def _on_reply(self, reply: Reply) -> list[ClientEvent]:
        if reply.id is None:  # a complaint about no request in particular, most likely the last word
            refused = read_error(reply)
            return [MessageShown(refused.reason)] if refused else []
        answered = self._answers.pop(_own_id(reply), None)
        return [] if answered is None else answered(reply)

    def _on_request(self, request: Request) -> list[ClientEvent]:
        handler = _HANDLERS.get(request.method)
        if handler is not None:
            return handler(self, request)
        if request.id is not None:
            self._out.append(codec.encode_error(request.id, codec.ErrorCode.OTHER, "Unknown method"))
        return []

    # --- answers ---

    def _on_configured(self, reply: Reply) -> list[ClientEvent]:
        result = reply.result if isinstance(reply.result, dict) else {}
        self.is_rolling_agreed = agreed = result.get("version-rolling") is True
        mask = parse_mask(result.get("version-rolling.mask")) if agreed else 0
        return self._change_mask(mask or 0)

    def _on_subscribed(self, reply: Reply) -> list[ClientEvent]:
        refused = read_error(reply)
        subscription = None if refused else read_subscription(reply.result)
        if subscription is None:
            return self._fail(refused.reason if refused else "subscribed, but was given no extranonce")
        self._extranonce1 = subscription.extranonce1
        self._extranonce2_size = subscription.extranonce2_size
        self._request("mining.authorize", [self._user, self._password], self._on_authorized)
        events: list[ClientEvent] = [Subscribed(subscription.token)]
        if self._early_job is not None:
            events += self._on_notify(self._early_job)
        return events

    def _on_authorized(self, reply: Reply) -> list[ClientEvent]:
        if refused := read_error(reply):
            return self._fail(f"user not authorized: {refused.reason}")
        events: list[ClientEvent] = [Authorized(self._user, None)]
        # ckpool takes a suggestion only after this.
        if self._suggest_difficulty is not None:
            self._request("mining.suggest_difficulty", [self._suggest_difficulty], _ignored)
        if self._subscribe_extranonce:
            self._request("mining.extranonce.subscribe", [], _ignored)
        return events

    def _on_other_authorized(self, user: str, reply: Reply) -> list[ClientEvent]:
        refused = read_error(reply)
        return [Authorized(user, refused.reason if refused else None)]

    def _on_submitted(self, request_id: int, reply: Reply) -> list[ClientEvent]:
        refused = read_error(reply)
        return [Rejected(request_id, refused.code, refused.reason) if refused else Accepted(request_id)]

    # --- notifications and requests of the server ---

    def _on_notify(self, request: Request) -> list[ClientEvent]:
        if self._extranonce1 is None:
            self._early_job = request  # some servers send it before they answer
            return []
        try:
            params = NotifyParams.from_params(request.params)
        except DecodeError as error:
            return self._fail(f"bad job: {error}")
        self._job = ClientJob(
            **msgspec.structs.asdict(params),
            difficulty=self._difficulty,
            extranonce1=self._extranonce1,
            extranonce2_size=self._extranonce2_size,
            version_mask=self._version_mask,
        )
        return [JobReceived(self._job)]

    def _on_set_difficulty(self, request: Request) -> list[ClientEvent]:
        value = (*request.params, None)[0]
        difficulty = positive_difficulty(value)
        if difficulty is None:
            return self._fail(f"bad difficulty: {value!r:.40}")
        # For the jobs after it, as cgminer and cpuminer have it. Integers stay exact.
        self._difficulty = value if isinstance(value, int) else difficulty
        return []

    def _on_set_version_mask(self, request: Request) -> list[ClientEvent]:
        mask = parse_mask((*request.params, None)[0])
        return self._fail("bad version mask") if mask is None else self._change_mask(mask)

    def _on_set_extranonce(self, request: Request) -> list[ClientEvent]:
        subscription = read_subscription([[], *request.params])
        if subscription is None:
            return self._fail("bad extranonce")
        # For the jobs after it, even if the job id stays the same (NiceHash).
        self._extranonce1 = subscription.extranonce1
        self._extranonce2_size = subscription.extranonce2_size
        return []

    def _on_reconnect(self, request: Request) -> list[ClientEvent]:
        return [read_reconnect(request.params, self._host)]

    def _on_show_message(self, request: Request) -> list[ClientEvent]:
        text = (*request.params, None)[0]
        return [MessageShown(text[:_MAX_MESSAGE_CHARS])] if isinstance(text, str) else []

    def _on_get_version(self, request: Request) -> list[ClientEvent]:
        self._out.append(codec.encode_reply(request.id, self._user_agent))
        return []

    def _on_ping(self, request: Request) -> list[ClientEvent]:
        self._out.append(codec.encode_reply(request.id, "pong"))
        return []

    # --- inside ---

    def _change_mask(self, mask: int) -> list[ClientEvent]:
        """Take a new mask; BIP-0310: it "is valid immediately", so the job being worked on changes with it."""
        changed = mask != self._version_mask
        self._version_mask = mask
        if not changed or self._job is None:
            return []
        self._job = msgspec.structs.replace(self._job, version_mask=mask)
        return [JobReceived(self._job)]

    def _request(self, method: str, params: list[Any], answered: Answered) -> int:
        request_id = self._next_id
        self._next_id += 1
        self._answers[request_id] = answered
        self._out.append(codec.encode_request(request_id, method, params))
        return request_id

    def _fail(self, reason: str) -> list[ClientEvent]:
        self._failed = True
        return [Failed(reason)]


def _own_id(reply: Reply) -> int:
    """Return the id as we gave it; some proxies turn numbers into strings."""
    if isinstance(reply.id, str) and reply.id.isascii() and reply.id.isdigit():
        return int(reply.id)
    return reply.id if isinstance(reply.id, int) else -1


def _ignored(reply: Reply) -> list[ClientEvent]:
    """Nothing hangs on this answer."""
    return []


_HANDLERS: Final[dict[str, Callable[[ClientSession, Request], list[ClientEvent]]]] = {
    "mining.notify": ClientSession._on_notify,
    "mining.set_difficulty": ClientSession._on_set_difficulty,
    "mining.set_version_mask": ClientSession._on_set_version_mask,
    "mining.set_extranonce": ClientSession._on_set_extranonce,
    "mining.ping": ClientSession._on_ping,
    "client.reconnect": ClientSession._on_reconnect,
    "client.show_message": ClientSession._on_show_message,
    "client.get_version": ClientSession._on_get_version,
}
