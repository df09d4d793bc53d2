"""All payouts of a bundle brought together: what is mature, what is pending, what stays owed."""

from __future__ import annotations

from typing import Any

import msgspec

from hashwerk.chain.address import address_from_script
from hashwerk.chain.network import network_from_name
from hashwerk.chain.serial import Cursor
from hashwerk.errors import EvidenceError
from hashwerk.evidence.payout import PPM, BlockPayout, Scheme, fpps, settle, share_out
from hashwerk.evidence.records import PayoutRule
from hashwerk.evidence.verify.run import Verified


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule gives for a bundle."""

    rule: PayoutRule
    payouts: tuple[BlockPayout, ...]
    mature: dict[bytes, int]  # to be paid now
    owed: dict[bytes, int]  # mature, but below the threshold
    pending: dict[bytes, int]
    fee_sat: int
    mature_fee_sat: int
    network: str
    coinbases: dict[bytes, bytes]  # block hash → coinbase without witness
    upstream: tuple[dict[str, Any], ...] = ()  # work for upstream pools, which pay it themselves

    @property
    def reward_sat(self) -> int:
        """All rewards that were shared."""
        return sum(payout.block.reward_sat for payout in self.payouts if payout.entries)

    def as_data(self) -> dict[str, Any]:
        """Return the settlement for JSON; its sums are exact."""
        accounts = sorted({*self.mature, *self.owed, *self.pending})
        paid = sum(self.mature.values()) + sum(self.owed.values()) + sum(self.pending.values())
        return {
            "rule": {
                "scheme": self.rule.scheme,
                "fee_ppm": self.rule.fee_ppm,
                "window_ppm": self.rule.window_ppm,
                "threshold_sat": self.rule.threshold_sat,
                "remainder": "largest remainder, ties by account ascending",
            },
            "reward_sat": paid + self.fee_sat if self.rule.scheme == Scheme.FPPS else self.reward_sat,
            "paid_sat": paid,
            "fee_sat": self.fee_sat,
            "accounts": [
                {
                    "account": account.hex(),
                    "mature_sat": self.mature.get(account, 0),
                    "pending_sat": self.pending.get(account, 0),
                    "owed_sat": self.owed.get(account, 0),
                }
                for account in accounts
            ],
            "blocks": [
                {
                    "hash": payout.block.hash[::-1].hex(),
                    "height": payout.block.height,
                    "state": payout.block.state,
                    "reward_sat": payout.block.reward_sat,
                    "fee_sat": payout.fee_sat,
                    "payouts": {account.hex(): sat for account, sat in payout.entries.items()},
                    "coinbase": self._paid_at_once(payout),
                }
                for payout in self.payouts
            ],
            "unbound": [{**row, "paid_by": row["pool"]} for row in self.upstream],
        }

    def _paid_at_once(self, payout: BlockPayout) -> list[dict[str, Any]]:
        """Return what the block's own coinbase pays, and to which address; whose that is, its owner knows.

        An output of exactly one account's amount may be that account's: who has its address sees it.
        """
        network = network_from_name(self.network)
        return [
            {
                "sat": sat,
                "address": address_from_script(script, network),
                "script": script.hex(),
                "may_be_of": [a.hex() for a, amount in payout.entries.items() if amount == sat],
            }
            for sat, script in coinbase_outputs(self.coinbases[payout.block.hash])
            if sat
        ]


def coinbase_outputs(coinbase: bytes) -> list[tuple[int, bytes]]:
    """Return amount and script of each output of a coinbase without witness."""
    cursor = Cursor(coinbase)
    cursor.read(4 + 1 + 36)
    cursor.var_bytes()
    cursor.read(4)
    return [(cursor.uint64(), cursor.var_bytes()) for _ in range(cursor.count(9))]


def settle_bundle(
    inspected: Verified,
    *,
    scheme: str | None = None,
    fee_ppm: int | None = None,
    window_ppm: int | None = None,
    threshold_sat: int | None = None,
) -> Settlement:
    """Return what a rule gives for a bundle that was read with `Options.keep_order`.

    Args:
        inspected: The bundle.
        scheme: None: the declared one; so for the rest.
        fee_ppm: The operator's fee.
        window_ppm: Of PPLNS.
        threshold_sat: Below which an amount stays owed.

    Raises:
        EvidenceError: If no rule is declared or given, or a window reaches back before the bundle.
    """
    declared = inspected.rule
    if scheme is None and declared is None:
        raise EvidenceError("the bundle declares no payout rule; name one with --scheme")
    base = declared or PayoutRule(scheme="solo", fee_ppm=0, window_ppm=2 * PPM, threshold_sat=0)
    rule = PayoutRule(
        scheme=base.scheme if scheme is None else scheme,
        fee_ppm=base.fee_ppm if fee_ppm is None else fee_ppm,
        window_ppm=base.window_ppm or 2 * PPM if window_ppm is None else window_ppm,
        threshold_sat=base.threshold_sat if threshold_sat is None else threshold_sat,
    )
    if inspected.order is None:
        raise EvidenceError("the bundle could not be read")
    if rule.scheme == Scheme.FPPS:
        return _by_share(inspected, rule)
    payouts = share_out(rule, inspected.order, inspected.blocks)
    mature = _sum([payout for payout in payouts if payout.block.state == "mature"])
    pending = _sum([payout for payout in payouts if payout.block.state == "pending"])
    paid, owed = settle(mature, {}, rule.threshold_sat)
    return Settlement(
        rule=rule,
        payouts=tuple(payouts),
        mature=paid,
        owed=owed,
        pending=pending,
        fee_sat=sum(payout.fee_sat for payout in payouts),
        mature_fee_sat=sum(payout.fee_sat for payout in payouts if payout.block.state == "mature"),
        network=inspected.network,
        coinbases=inspected.coinbases,
        upstream=_upstream(inspected),
    )


def _by_share(inspected: Verified, rule: PayoutRule) -> Settlement:
    """FPPS: the operator pays every share at once, whatever blocks are found; nothing is pending."""
    due = fpps(rule, inspected.value)
    gross = fpps(msgspec.structs.replace(rule, fee_ppm=0), inspected.value)
    paid, owed = settle(due, {}, rule.threshold_sat)
    return Settlement(
        rule=rule,
        payouts=(),
        mature=paid,
        owed=owed,
        pending={},
        fee_sat=sum(gross.values()) - sum(due.values()),
        mature_fee_sat=0,
        network=inspected.network,
        coinbases={},
        upstream=_upstream(inspected),
    )


def _upstream(inspected: Verified) -> tuple[dict[str, Any], ...]:
    """Return unbound work by pool and account: no part of any payout here."""
    return tuple(inspected.report.statement.get("work", {}).get("upstream", ()))


def _sum(payouts: list[BlockPayout]) -> dict[bytes, int]:
    total: dict[bytes, int] = {}
    for payout in payouts:
        for account, sat in payout.entries.items():
            total[account] = total.get(account, 0) + sat
    return total
