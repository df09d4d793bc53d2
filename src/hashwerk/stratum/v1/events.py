"""What a server session tells its driver."""

from __future__ import annotations

import msgspec

from hashwerk.stratum.v1.codec import RequestId
from hashwerk.work.share import Verdict


class SubscribeRequested(msgspec.Struct, frozen=True):
    """The machine asks for an extranonce; answer with `ServerSession.accept_subscribe`."""

    id: RequestId
    user_agent: str
    resume_token: str | None  # what an earlier session's answer carried


class Configured(msgspec.Struct, frozen=True):
    """The machine asked for extensions (BIP-0310); it has been answered already."""

    version_mask: int | None  # the common mask; None: no version rolling
    minimum_difficulty: float | None  # the machine wants no share target below this
    info: dict[str, str]  # "hw-version", "sw-version", "hw-id", "connection-url" as the machine says


class AuthorizeRequested(msgspec.Struct, frozen=True):
    """A user wants to work; answer with `accept_authorize` or `reject_authorize`."""

    id: RequestId
    user: str
    password: str
    difficulty: float | None  # asked for in the password, as in "d=1024"


class DifficultySuggested(msgspec.Struct, frozen=True):
    """The machine would like this difficulty; it has been answered already."""

    difficulty: float


class ExtranonceSubscribed(msgspec.Struct, frozen=True):
    """The machine takes a new extranonce at any time (`set_extranonce`); it has been answered already."""


class SubmitReceived(msgspec.Struct, frozen=True):
    """A well-formed share; answer with `accept_share` or `reject_share`.

    The fields are those of a row of `submits.SUBMIT_DTYPE`. Whether the job is known, the user authorised and
    the version bits inside the mask is for the driver to judge *after* it has seen whether the share is a
    block.
    """

    id: RequestId
    user: str
    job_id: int
    extranonce2: int
    extranonce2_size: int  # bytes, 1 to 8; a share whose size is not the job's is malformed
    ntime: int
    nonce: int
    version_bits: int | None


class SubmitRefused(msgspec.Struct, frozen=True):
    """A share that names no work we could look at; it has been answered already."""

    id: RequestId
    verdict: Verdict  # NOT_SUBSCRIBED, UNAUTHORIZED, UNKNOWN_JOB or MALFORMED


class Refused(msgspec.Struct, frozen=True):
    """A line that was answered with an error: garbage, an unknown method, wrong parameters."""

    id: RequestId
    reason: str


class Throttled(msgspec.Struct, frozen=True):
    """The session has reached its soft limit; read no more from it for as long as `read_delay_s` says."""

    cost: float


class Closed(msgspec.Struct, frozen=True):
    """The session is over: send what `data_to_send` still has, then close the connection."""

    reason: str


Event = (
    SubscribeRequested
    | Configured
    | AuthorizeRequested
    | DifficultySuggested
    | ExtranonceSubscribed
    | SubmitReceived
    | SubmitRefused
    | Refused
    | Throttled
    | Closed
)
