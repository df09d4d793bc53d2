"""The server's side of one Stratum V1 connection, without I/O.

Bytes or lines and the time go in, events come out, and what is to be sent waits in `data_to_send`. A bad peer
produces events, error lines and at worst `Closed`, never an exception; misuse by our own side raises. The
driver's clock may be any that never goes backwards; a session handed to another process needs the same one
there.
"""

from __future__ import annotations

from typing import Any, Final

from hashwerk.stratum.v1 import codec
from hashwerk.stratum.v1.codec import (
    ErrorCode,
    LineBuffer,
    LineTooLong,
    ProtocolError,
    Reply,
    Request,
    RequestId,
)
from hashwerk.stratum.v1.events import Closed, Event, Refused, SubmitReceived, SubmitRefused, Throttled
from hashwerk.stratum.v1.limits import CostMeter, SessionLimits
from hashwerk.stratum.v1.notify import encode_difficulty, encode_job
from hashwerk.stratum.v1.server_requests import REQUESTS
from hashwerk.stratum.v1.session_state import TRANSITIONS, Extranonce, SessionState, State, Step
from hashwerk.stratum.v1.submission import read_submit
from hashwerk.stratum.v1.user_hash import user_hash
from hashwerk.stratum.v1.version_mask import VersionMask
from hashwerk.work.job import Job
from hashwerk.work.share import Verdict

__all__ = ["Extranonce", "ServerSession", "SessionState", "State", "Step"]


class ServerSession:
    """One connection's protocol state. Owned by one task; nothing in it waits."""

    __slots__ = (
        "_active_at",
        "_extranonce",
        "_lines",
        "_meter",
        "_out",
        "_sent_jobs",
        "_sent_work_log2",
        "_started_at",
        "_throttled",
        "_user_hashes",
        "_users",
        "extranonce_subscribed",
        "info",
        "limits",
        "mask",
        "minimum_difficulty",
        "state",
        "suggested_difficulty",
        "token",
        "user_agent",
    )

    def __init__(self, limits: SessionLimits, now: float, *, version_mask: int) -> None:
        """Begin with a connection that said nothing yet; ``version_mask`` is the server's own."""
        self.limits: Final = limits
        self.state = State.NEW
        self.token = ""
        self.user_agent = ""
        self.suggested_difficulty: float | None = None
        self.minimum_difficulty: float | None = None
        self.extranonce_subscribed = False
        self.info: dict[str, str] = {}
        self.mask: Final = VersionMask(version_mask, limits.mask_grace_s)
        self._started_at = self._active_at = now
        self._meter = CostMeter(limits.cost_decay_per_s, now)
        self._lines = LineBuffer(limits.max_line_bytes)
        self._out: list[bytes] = []
        self._extranonce: Extranonce | None = None
        self._sent_jobs: dict[int, Extranonce] = {}
        self._sent_work_log2: int | None = None
        self._users: dict[str, int] = {}
        self._user_hashes: dict[int, int] = {}
        self._throttled = False

    # --- What comes in ---

    def receive_data(self, data: bytes, now: float) -> list[Event]:
        """Take bytes as they came; an incomplete line is held until its end comes (see `take_held`).

        All lines are read before the driver can answer the first. A driver that answers in between, so that a
        share behind its own ``mining.authorize`` counts, splits with `LineBuffer` and calls `receive_line`.
        """
        events: list[Event] = []
        for line in self._lines.feed(data):
            events += self.line_too_long() if isinstance(line, LineTooLong) else self.receive_line(line, now)
        return events

    def receive_line(self, line: bytes, now: float) -> list[Event]:
        """Take one line without its end."""
        if self.state is State.CLOSED:
            return []
        self._active_at = now
        if not line.strip():
            return self._charge(self.limits.submit_cost, now)
        match codec.decode_message(line):
            case Request(method="mining.submit") as request:
                return self._on_submit(request, now)
            case Request() as request:
                return self._on_request(request, now)
            case Reply():  # to our client.get_version, or to nothing; either way nothing hangs on it
                return self._charge(self.limits.submit_cost, now)
            case ProtocolError(id=request_id, message=message):
                return self.refuse(request_id, message, now)

    def take_held(self) -> bytes:
        """Return the start of a line that `receive_data` holds, and forget it.

        For a driver that reads runs of shares itself: it puts this before the next bytes, and gives what it
        could not read to `receive_data` again.
        """
        return self._lines.take()

    def line_too_long(self) -> list[Event]:
        """Close: a peer sent more than a line may hold."""
        return self.close("Line too long")

    def on_time(self, now: float) -> list[Event]:
        """Close the session if its time is over."""
        deadline = self.next_deadline()
        if deadline is None or now < deadline:
            return []
        return self.close("Idle for too long" if self.is_active else "Not authorized in time")

    def next_deadline(self) -> float | None:
        """Return when `on_time` is to be called; it moves with every line."""
        if self.state is State.CLOSED:
            return None
        if self.is_active:
            return self._active_at + self.limits.idle_timeout_s
        return self._started_at + self.limits.authorize_timeout_s

    def _on_request(self, request: Request, now: float) -> list[Event]:
        handler = REQUESTS.get(request.method)
        if handler is None:
            return self.refuse(request.id, "Unknown method", now)
        limits = self.limits
        cost = limits.authorize_cost if request.method == "mining.authorize" else limits.request_cost
        events = self._charge(cost, now)
        if self._throttled or self.state is State.CLOSED:
            # Shares are still taken above the soft limit: they may be blocks. Nothing else is.
            self.reply_error(request.id, ErrorCode.OTHER, "Too many requests")
            return events
        return events + handler(self, request, now)

    def _on_submit(self, request: Request, now: float) -> list[Event]:
        submit = self._read_submit(request)
        if isinstance(submit, SubmitRefused):
            self.reject_share(submit.id, submit.verdict)
            return [submit, *self._charge(self.limits.submit_cost + self.limits.rejected_cost, now)]
        return [submit, *self._charge(self.limits.submit_cost, now)]

    def _read_submit(self, request: Request) -> SubmitReceived | SubmitRefused:
        if self._extranonce is None:
            return SubmitRefused(request.id, Verdict.NOT_SUBSCRIBED)
        if not self._users:
            return SubmitRefused(request.id, Verdict.UNAUTHORIZED)
        return read_submit(request)

    # --- The driver's answers ---

    def accept_subscribe(self, request_id: RequestId, extranonce: Extranonce, token: str) -> None:
        """Answer `SubscribeRequested`. The token is what the machine may hand back to resume.

        Asked twice, a machine keeps the extranonce it has.
        """
        if self._extranonce is None:
            self._extranonce = extranonce
            self.token = token
        self._step(Step.SUBSCRIBE)
        self.reply_subscribed(request_id)

    def accept_authorize(self, request_id: RequestId, user: str, worker_id: int) -> None:
        """Answer `AuthorizeRequested`: shares in this user's name count for this worker."""
        self._users[user] = worker_id
        self._user_hashes[user_hash(user.encode())] = worker_id
        self._step(Step.AUTHORIZE)
        self.reply(request_id, True)

    def reject_authorize(self, request_id: RequestId, message: str = "Unauthorized worker") -> None:
        """Answer `AuthorizeRequested` with a refusal."""
        self.reply_error(request_id, ErrorCode.UNAUTHORIZED, message)

    def accept_share(self, request_id: RequestId) -> None:
        """Answer `SubmitReceived`: the share is credited."""
        self.send_bytes(codec.encode_verdict(request_id, Verdict.ACCEPTED))

    def reject_share(self, request_id: RequestId, verdict: Verdict) -> None:
        """Answer `SubmitReceived`: the share is not credited, and why."""
        self.send_bytes(codec.encode_verdict(request_id, verdict))

    def reply_subscribed(self, request_id: RequestId) -> None:
        """Answer `mining.subscribe` with the extranonce and token this session has.

        Raises:
            ValueError: If it has none yet.
        """
        if self._extranonce is None:
            raise ValueError("the session has no extranonce")
        subscriptions = [["mining.set_difficulty", self.token], ["mining.notify", self.token]]
        self.reply(request_id, [subscriptions, self._extranonce.wire, self._extranonce.extranonce2_size])

    def reply(self, request_id: RequestId, result: Any) -> None:
        """Answer a request."""
        self.send_bytes(codec.encode_reply(request_id, result))

    def reply_error(self, request_id: RequestId, code: ErrorCode, message: str) -> None:
        """Answer a request with an error."""
        self.send_bytes(codec.encode_error(request_id, code, message))

    def refuse(
        self, request_id: RequestId, message: str, now: float, code: ErrorCode = ErrorCode.OTHER
    ) -> list[Event]:
        """Answer with an error that costs the peer."""
        self.reply_error(request_id, code, message)
        return [Refused(request_id, message), *self._charge(self.limits.error_cost, now)]

    def send_bytes(self, lines: bytes) -> None:
        """Send whole lines, as by `results.encode_results`; a closed session sends nothing more."""
        if self.state is not State.CLOSED:
            self._out.append(lines)

    def close(self, reason: str) -> list[Event]:
        """End the session; the peer is told why."""
        if self.state is State.CLOSED:
            return []
        self.reply_error(None, ErrorCode.OTHER, reason)
        self._step(Step.CLOSE)
        return [Closed(reason)]

    def data_to_send(self) -> bytes:
        """Return what is to be written, and forget it."""
        if not self._out:
            return b""
        data = b"".join(self._out)
        self._out.clear()
        return data

    # --- Work and notifications ---

    def send_job(self, job: Job, clean: bool, now: float, line: bytes | None = None) -> None:
        """Send a job, and first its difficulty if that changed: `mining.set_difficulty` is for jobs after it.

        Args:
            job: Made for this session's account; its id differs from every job sent before.
            clean: Whether the machine is to drop what it works on: on a new prevhash, or a much harder target.
            now: The time.
            line: The job as `notify.encode_job` writes it, where many sessions get the same.

        Raises:
            ValueError: If the session is not active, or the job leaves another room for extranonces.
        """
        if self.state is State.CLOSED:
            return
        extranonce = self._extranonce
        if extranonce is None or not self.is_active:
            raise ValueError(f"no job for a session that is {self.state.value}")
        room = (job.extranonce1_size, job.extranonce2_size)
        if room != (extranonce.extranonce1_size, extranonce.extranonce2_size):
            raise ValueError(f"job {job.wire_id} leaves room for extranonces of {room[0]} + {room[1]} bytes")
        if job.work_log2 != self._sent_work_log2:
            self._out.append(encode_difficulty(job.work_log2))
            self._sent_work_log2 = job.work_log2
        self._out.append(encode_job(job, clean=clean) if line is None else line)
        self._sent_jobs[job.id] = extranonce
        if len(self._sent_jobs) > self.limits.max_jobs:
            del self._sent_jobs[next(iter(self._sent_jobs))]

    def set_extranonce(self, extranonce: Extranonce) -> None:
        """Give the machine another extranonce, for the jobs that follow; send one next.

        Raises:
            ValueError: If the machine did not ask for this with `mining.extranonce.subscribe`.
        """
        if not self.extranonce_subscribed or self._extranonce is None:
            raise ValueError("the machine takes no new extranonce")
        self._extranonce = extranonce
        self._notify("mining.set_extranonce", [extranonce.wire, extranonce.extranonce2_size])

    def set_version_mask(self, server_mask: int, now: float) -> None:
        """Change the server's mask; a machine that rolls is told, and shares under way have their grace."""
        if self.mask.change(server_mask, self.mask.client_mask, now):
            self._notify("mining.set_version_mask", [f"{self.mask.agreed:08x}"])

    def reconnect(self, host: str, port: int, wait_s: int = 0) -> None:
        """Ask the machine to connect to another server; most only do within their pool's domain."""
        self._notify("client.reconnect", [host, port, wait_s])

    def show_message(self, text: str) -> None:
        """Show people at the machine a text."""
        self._notify("client.show_message", [text])

    # --- What the driver's fast path needs ---

    def apply_submits(self, count: int, now: float) -> list[Event]:
        """Account for shares that `submits.scan_submits` read past this session."""
        if count == 0 or self.state is State.CLOSED:
            return []
        self._active_at = now
        return self._charge(count * self.limits.submit_cost, now)

    def apply_verdicts(self, accepted: int, rejected: int, now: float) -> list[Event]:
        """Account for what became of shares: work pays for its own check, a rejected share costs more."""
        if self.state is State.CLOSED:
            return []
        return self._charge(
            rejected * self.limits.rejected_cost - accepted * self.limits.accepted_refund, now
        )

    def read_delay_s(self, now: float) -> float:
        """Return how long nothing should be read from this peer: 0 below the soft limit."""
        return self._meter.seconds_until(self.limits.soft_cost, now)

    @property
    def is_active(self) -> bool:
        """Whether the machine subscribed and a user is authorised: work is sent, shares are read."""
        return self.state is State.ACTIVE

    @property
    def extranonce(self) -> Extranonce | None:
        """The extranonce of the next job; None before `accept_subscribe`."""
        return self._extranonce

    @property
    def sent_work_log2(self) -> int | None:
        """The share target last announced."""
        return self._sent_work_log2

    @property
    def version_mask(self) -> int:
        """The version bits the machine may roll, as it was last told; 0 where it never asked."""
        return self.mask.agreed

    def allowed_version_mask(self, now: float) -> int:
        """Return the bits a share coming now may have rolled (see `VersionMask.allowed`)."""
        return self.mask.allowed(now)

    def extranonce_of(self, job_id: int) -> Extranonce | None:
        """Return the extranonce with which this session got a job; None if it never did, or too long ago."""
        return self._sent_jobs.get(job_id)

    @property
    def users(self) -> dict[str, int]:
        """Worker ids by authorised user; read only."""
        return self._users

    def worker_of(self, user: str) -> int | None:
        """Return the worker of a user, None if not authorised."""
        return self._users.get(user)

    def worker_of_hash(self, hashed_user: int) -> int | None:
        """Return the worker of a user by the ``user_hash`` of a scanned row, None if not authorised."""
        return self._user_hashes.get(hashed_user)

    # --- Hand-over ---

    def export(self, now: float) -> SessionState:
        """Return everything the session is, for `from_state` in another process."""
        return SessionState(
            state=self.state,
            started_at=self._started_at,
            active_at=self._active_at,
            cost=self._meter.at(now),
            cost_at=now,
            server_mask=self.mask.server_mask,
            client_mask=self.mask.client_mask,
            old_mask=self.mask.old_mask,
            old_mask_until=self.mask.old_mask_until,
            token=self.token,
            extranonce=self._extranonce,
            sent_jobs=list(self._sent_jobs.items()),
            sent_work_log2=self._sent_work_log2,
            users=list(self._users.items()),
            user_agent=self.user_agent,
            extranonce_subscribed=self.extranonce_subscribed,
            suggested_difficulty=self.suggested_difficulty,
            minimum_difficulty=self.minimum_difficulty,
            info=self.info,
            throttled=self._throttled,
            held=self._lines.held,
            unsent=b"".join(self._out),
        )

    @classmethod
    def from_state(cls, saved: SessionState, limits: SessionLimits) -> ServerSession:
        """Return the session that was exported, under the limits of this process."""
        session = cls(limits, saved.started_at, version_mask=saved.server_mask)
        session.state = saved.state
        session.token = saved.token
        session.user_agent = saved.user_agent
        session.suggested_difficulty = saved.suggested_difficulty
        session.minimum_difficulty = saved.minimum_difficulty
        session.extranonce_subscribed = saved.extranonce_subscribed
        session.info = saved.info
        session.mask.client_mask = saved.client_mask
        session.mask.old_mask = saved.old_mask
        session.mask.old_mask_until = saved.old_mask_until
        session._active_at = saved.active_at
        session._meter = CostMeter(limits.cost_decay_per_s, saved.cost_at, saved.cost)
        session._lines = LineBuffer(limits.max_line_bytes, saved.held)
        session._out = [saved.unsent] if saved.unsent else []
        session._extranonce = saved.extranonce
        session._sent_jobs = dict(saved.sent_jobs)
        session._sent_work_log2 = saved.sent_work_log2
        session._users = dict(saved.users)
        session._user_hashes = {user_hash(user.encode()): worker for user, worker in saved.users}
        session._throttled = saved.throttled
        return session

    # --- Inside ---

    def _step(self, step: Step) -> None:
        if self.state is not State.CLOSED:
            self.state = TRANSITIONS[self.state, step]

    def _notify(self, method: str, params: list[Any]) -> None:
        self.send_bytes(codec.encode_notification(method, params))

    def _charge(self, cost: float, now: float) -> list[Event]:
        total = self._meter.add(cost, now)
        if total > self.limits.hard_cost:
            return self.close("Too many requests")
        was_throttled, self._throttled = self._throttled, total > self.limits.soft_cost
        return [Throttled(total)] if self._throttled and not was_throttled else []
