"""How far a session has come, and everything it is, as values."""

from __future__ import annotations

from enum import Enum
from typing import Final

import msgspec


class State(Enum):
    """How far a session has come."""

    NEW = "new"
    SUBSCRIBED = "subscribed"
    AUTHORIZED = "authorized"  # before subscribing, as some firmware does
    ACTIVE = "active"  # both; work is sent
    CLOSED = "closed"


class Step(Enum):
    """What brings a session further."""

    SUBSCRIBE = "subscribe"
    AUTHORIZE = "authorize"
    CLOSE = "close"


TRANSITIONS: Final[dict[tuple[State, Step], State]] = {
    (State.NEW, Step.SUBSCRIBE): State.SUBSCRIBED,
    (State.NEW, Step.AUTHORIZE): State.AUTHORIZED,
    (State.SUBSCRIBED, Step.SUBSCRIBE): State.SUBSCRIBED,
    (State.SUBSCRIBED, Step.AUTHORIZE): State.ACTIVE,
    (State.AUTHORIZED, Step.SUBSCRIBE): State.ACTIVE,
    (State.AUTHORIZED, Step.AUTHORIZE): State.AUTHORIZED,
    (State.ACTIVE, Step.SUBSCRIBE): State.ACTIVE,
    (State.ACTIVE, Step.AUTHORIZE): State.ACTIVE,
    (State.NEW, Step.CLOSE): State.CLOSED,
    (State.SUBSCRIBED, Step.CLOSE): State.CLOSED,
    (State.AUTHORIZED, Step.CLOSE): State.CLOSED,
    (State.ACTIVE, Step.CLOSE): State.CLOSED,
}


class Extranonce(msgspec.Struct, frozen=True):
    """The extranonce of a session: the number that is its own, and how many bytes it may fill itself."""

    extranonce1: int
    extranonce1_size: int = 4
    extranonce2_size: int = 8

    def __post_init__(self) -> None:
        """Refuse what cannot go on the wire.

        Raises:
            ValueError: If a size is not 1 to 8 bytes or the number needs more than its size.
        """
        for size in (self.extranonce1_size, self.extranonce2_size):
            if not 1 <= size <= 8:
                raise ValueError(f"an extranonce has 1 to 8 bytes: {size}")
        if not 0 <= self.extranonce1 < 1 << 8 * self.extranonce1_size:
            raise ValueError(f"extranonce1 {self.extranonce1} needs more than {self.extranonce1_size} bytes")

    @property
    def wire(self) -> str:
        """The number as machines see it: big-endian hex of its size."""
        return f"{self.extranonce1:0{2 * self.extranonce1_size}x}"


class SessionState(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a session is, to be handed to another process (msgpack) together with its socket."""

    state: State
    started_at: float
    active_at: float
    cost: float
    cost_at: float
    server_mask: int
    client_mask: int | None
    old_mask: int
    old_mask_until: float
    token: str
    extranonce: Extranonce | None
    sent_jobs: list[tuple[int, Extranonce]]
    sent_work_log2: int | None
    users: list[tuple[str, int]]  # and their workers
    user_agent: str
    extranonce_subscribed: bool
    suggested_difficulty: float | None
    minimum_difficulty: float | None
    info: dict[str, str]
    throttled: bool
    held: bytes  # the start of a line
    unsent: bytes  # what `data_to_send` had not given out
