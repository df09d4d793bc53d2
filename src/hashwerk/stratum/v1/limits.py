"""What one session may do, and what it costs the server. Limits are a session's own, never an address's.

A farm behind one NAT address is many sessions: whoever bans the address punishes machines that did nothing
(miningcore #397, #698). So every session carries its own account of what it made us do.
"""

from __future__ import annotations

import msgspec

from hashwerk.stratum.v1.codec import DEFAULT_MAX_LINE_BYTES, MIN_MAX_LINE_BYTES


class SessionLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The limits of a session, with the precedent of every default. Times in seconds.

    Cost is counted as in aiorpcX: every message adds what it makes the server do, in units of one share's
    check; it decays steadily. Above the soft limit the session is read more slowly, above the hard limit it
    is closed.
    """

    max_line_bytes: int = DEFAULT_MAX_LINE_BYTES  # DATUM's receive buffer; no miner sends a line above 1 KiB
    authorize_timeout_s: float = 60.0  # ckpool drops a client not authorised after a minute; DATUM waits 15 s
    idle_timeout_s: float = 7_200.0  # DATUM's idle_timeout_no_shares
    max_jobs: int = 16  # DATUM keeps 8, but a change of target is a job too
    max_users: int = 256  # one connection of a proxy of a large hall; DATUM and ckpool set no limit
    max_user_bytes: int = 191  # DATUM; Avalon cuts at 63, WhatsMiner breaks above 127
    mask_grace_s: float = 10.0  # BIP-0310 has a new mask hold at once; shares under way were hashed before it
    soft_cost: float = 2_000.0  # aiorpcX's cost_soft_limit
    hard_cost: float = 10_000.0  # aiorpcX's cost_hard_limit
    cost_decay_per_s: float = 200.0  # a share every 5 ms for ever, where vardiff wants one every 5 s
    submit_cost: float = 1.0  # the unit
    #: Proof of work pays for its own check: an accepted share gives this much back, so that a proxy of a
    #: whole hall or a machine whose first target was far too low is not held back for doing work.
    accepted_refund: float = 0.9
    rejected_cost: float = 4.0  # more: a rejected share proves nothing and is free to make
    request_cost: float = 5.0  # subscribe, configure and whatever else is answered from memory
    authorize_cost: float = 50.0  # may end in a new row of the ledger
    error_cost: float = 25.0  # garbage and unknown methods: about 80 at once reach the soft limit

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
