"""What one session may do, and what it costs the server. Limits are a session's own, never an address's.

A farm behind one NAT address is many sessions: whoever bans the address punishes machines that did nothing
(miningcore #397, #698). So every session carries its own account of what it made us do.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from hashwerk.stratum.v1.codec import DEFAULT_MAX_LINE_BYTES, MIN_MAX_LINE_BYTES


class SessionLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The limits of a session, with the precedent of every default. Times in seconds.

    Cost is counted as in aiorpcX: every message adds what it makes the server do, in units of one share's
    check; it decays steadily. Above the soft limit the session is read more slowly, above the hard limit it
    is closed.
    """

    # DATUM's receive buffer; no miner sends a line above 1 KiB
    max_line_bytes: Annotated[int, Meta(description="A longer line ends the session.")] = (
        DEFAULT_MAX_LINE_BYTES
    )
    # ckpool drops a client not authorised after a minute; DATUM waits 15 s
    authorize_timeout_s: Annotated[
        float, Meta(description="A connection that has not authorised by then is closed, in seconds.")
    ] = 60.0
    # DATUM's idle_timeout_no_shares
    idle_timeout_s: Annotated[
        float, Meta(description="A connection that said nothing for so long is closed, in seconds.")
    ] = 7_200.0
    # DATUM keeps 8, but a change of target is a job too
    max_jobs: Annotated[int, Meta(description="Jobs of one session whose shares are taken.")] = 16
    # one connection of a proxy of a large hall; DATUM and ckpool set no limit
    max_users: Annotated[int, Meta(description="User names that one connection may authorise.")] = 256
    # DATUM; Avalon cuts at 63, WhatsMiner breaks above 127
    max_user_bytes: Annotated[int, Meta(description="Length of a user name.")] = 191
    # BIP-0310 has a new mask hold at once; shares under way were hashed before it
    mask_grace_s: Annotated[
        float,
        Meta(description="How long shares with the version bits of an earlier mask are taken, in seconds."),
    ] = 10.0
    # aiorpcX's cost_soft_limit
    soft_cost: Annotated[float, Meta(description="Above this cost a session is read more slowly.")] = 2_000.0
    # aiorpcX's cost_hard_limit
    hard_cost: Annotated[float, Meta(description="Above this cost a session is closed.")] = 10_000.0
    # a share every 5 ms for ever, where vardiff wants one every 5 s
    cost_decay_per_s: Annotated[float, Meta(description="How much of its cost a session loses a second.")] = (
        200.0
    )
    # the unit
    submit_cost: Annotated[float, Meta(description="Cost of a share; the unit of all costs.")] = 1.0
    # Proof of work pays for its own check: an accepted share gives this much back, so that a proxy of a
    # whole hall or a machine whose first target was far too low is not held back for doing work.
    accepted_refund: Annotated[
        float, Meta(description="What an accepted share gives back: its work has paid for the check.")
    ] = 0.9
    # more: a rejected share proves nothing and is free to make
    rejected_cost: Annotated[
        float, Meta(description="Cost of a rejected share, which proves nothing and is free to make.")
    ] = 4.0
    # subscribe, configure and whatever else is answered from memory
    request_cost: Annotated[float, Meta(description="Cost of a request that is answered from memory.")] = 5.0
    # may end in a new row of the ledger
    authorize_cost: Annotated[
        float, Meta(description="Cost of an authorisation, which may end in a new row of the ledger.")
    ] = 50.0
    # garbage and unknown methods: about 80 at once reach the soft limit
    error_cost: Annotated[float, Meta(description="Cost of garbage and of unknown methods.")] = 25.0

    def __post_init__(self) -> None:
        """Refuse limits that cannot hold.

        Raises:
            ValueError: If a limit is not positive, the hard limit is below the soft one or a refund above its
            cost.
        """
        for name in self.__struct_fields__:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive: {getattr(self, name)}")
        if self.max_line_bytes < MIN_MAX_LINE_BYTES:
            raise ValueError(f"max_line_bytes must be at least {MIN_MAX_LINE_BYTES}: {self.max_line_bytes}")
        if self.hard_cost < self.soft_cost:
            raise ValueError(f"hard_cost must not be below soft_cost: {self.hard_cost}")
        if self.accepted_refund > self.submit_cost:
            raise ValueError(f"accepted_refund must not be above submit_cost: {self.accepted_refund}")


class CostMeter:
    """The account of one session: costs added, decaying with time."""

    __slots__ = ("_at", "_cost", "_decay_per_s")

    def __init__(self, decay_per_s: float, now: float, cost: float = 0.0) -> None:
        """Begin at ``now`` with a cost brought over."""
        self._decay_per_s = decay_per_s
        self._cost = cost
        self._at = now

    def add(self, cost: float, now: float) -> float:
        """Add a cost, or a refund when negative, and return the sum as of ``now``."""
        self._cost = max(0.0, self._decayed(now) + cost)
        self._at = max(self._at, now)
        return self._cost

    def at(self, now: float) -> float:
        """Return the cost as of ``now``."""
        return max(0.0, self._decayed(now))

    def seconds_until(self, cost: float, now: float) -> float:
        """Return how long it takes from ``now`` until the account is down to ``cost``."""
        return max(0.0, (self.at(now) - cost) / self._decay_per_s)

    def _decayed(self, now: float) -> float:
        return max(0.0, self._cost - self._decay_per_s * max(0.0, now - self._at))
