"""Whom a block of our own pays in its coinbase.

Jobs are made for one account, so where the finder gets the reward its job pays it at once. Every other rule shares by
work up to the block's own share, which nobody knows while the job is made: there the operator is paid, and owes it.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from hashwerk.evidence.payout import DUST_SAT, PPM


class Payees(msgspec.Struct, frozen=True):
    """Who is paid for a block: the operator, and with the scheme *solo* the account that finds it."""

    operator: bytes  # output script
    finders: Mapping[str, bytes] = {}  # account → output script; of all others the operator takes the reward
    fee_ppm: int = 0

    def outputs(self, account: str, value_sat: int) -> list[tuple[int, bytes]]:
        """Return value in satoshi and script of each output; they add up to ``value_sat``.

        The fee is rounded down, as in the payout that is recomputed from the bundle.
        """
        finder = self.finders.get(account)
        fee_sat = value_sat * self.fee_ppm // PPM
        if finder is None or value_sat - fee_sat < DUST_SAT:
            return [(value_sat, self.operator)]
        paid = [(value_sat - fee_sat, finder)]
        return [*paid, (fee_sat, self.operator)] if fee_sat else paid
