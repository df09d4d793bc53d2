"""The template of a private chain's next block: only a coinbase, since nobody sends transactions."""

from __future__ import annotations

from typing import Final

from hashwerk.chain.block import witness_commitment
from hashwerk.chain.nbits import HeaderAt, next_block_rules
from hashwerk.chain.network import Network
from hashwerk.chain.subsidy import subsidy_sat
from hashwerk.chain.template import Template

#: Version bits as BIP-0009 asks for them, none of them set: nothing is being voted on.
BLOCK_VERSION: Final = 0x2000_0000
_EMPTY_COMMITMENT: Final = witness_commitment([])


def private_template(
    network: Network, tip_height: int, prev_hash: bytes, header_at: HeaderAt, now: float, *, source: str = ""
) -> Template:
    """Return the template of the block after the tip.

    Its header times never cross the 20-minute edge: up to it they end there (``max_time``), beyond it they
    begin behind it (``min_time``).

    Args:
        network: Whose rules hold.
        tip_height: Height of the active chain's tip.
        prev_hash: The tip's hash, internal order.
        header_at: Gives the headers of the active chain.
        now: Unix seconds, UTC.
        source: What the template names as its origin.
    """
    height = tip_height + 1
    rules = next_block_rules(network, height, header_at, int(now))
    return Template(
        network=network.name,
        height=height,
        version=BLOCK_VERSION,
        prev_hash=prev_hash,
        nbits=rules.nbits,
        time=max(int(now), rules.min_time),
        min_time=rules.min_time,
        max_time=rules.max_time,
        coinbase_value_sat=subsidy_sat(network, height),
        witness_commitment=_EMPTY_COMMITMENT,
        source=source,
        received_at=now,
    )


def seconds_until_stale(template: Template, now: float, refresh_s: float) -> float:
    """Return how long this template may be worked on: until its refresh is due, or the 20-minute edge."""
    if template.max_time is None:
        return refresh_s
    return max(0.0, min(refresh_s, template.max_time + 1 - now))
