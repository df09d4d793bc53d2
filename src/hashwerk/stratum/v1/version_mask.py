"""Which version bits a machine may roll (BIP-0310), now and for shares that were on their way."""

from __future__ import annotations


class VersionMask:
    """The server's mask, the machine's, and for a grace after every change what was allowed before."""

    __slots__ = ("_grace_s", "client_mask", "old_mask", "old_mask_until", "server_mask")

    def __init__(self, server_mask: int, grace_s: float) -> None:
        """Begin with the server's mask; the machine has asked for none."""
        self.server_mask = server_mask
        self.client_mask: int | None = None
        self.old_mask = 0
        self.old_mask_until = float("-inf")
        self._grace_s = grace_s

    @property
    def agreed(self) -> int:
        """The bits the machine may roll, as it was last told; 0 where it never asked."""
        return self.server_mask & (self.client_mask or 0)

    def allowed(self, now: float) -> int:
        """Return the bits a share coming now may have rolled.

        BIP-0310: "Miner can set only bits corresponding to the set bits in the last received mask". The share may have
        been hashed before the machine received the last one.
        """
        return self.agreed | (self.old_mask if now < self.old_mask_until else 0)

    def change(self, server_mask: int, client_mask: int | None, now: float) -> bool:
        """Take new masks, and return whether the machine may roll other bits than before."""
        before, allowed = self.agreed, self.allowed(now)
        self.server_mask, self.client_mask = server_mask, client_mask
        if allowed & ~self.agreed:
            self.old_mask, self.old_mask_until = allowed, now + self._grace_s
        return self.agreed != before
