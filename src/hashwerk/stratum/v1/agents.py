"""What is known of miners by the name they give in `mining.subscribe`."""

from __future__ import annotations

from typing import Final

import msgspec


class AgentTraits(msgspec.Struct, frozen=True):
    """Where a miner's firmware or marketplace differs from the rest."""

    min_work_log2: int | None = None  # it refuses work easier than this
    max_coinbase_bytes: int | None = None  # a longer coinbase is cut or refused


_NO_TRAITS: Final = AgentTraits()

#: By the lower-case start of the user agent, first match counts. Sizes as DATUM found them by trying;
#: NiceHash's least difficulty is DATUM's 524,288 = 2**19, that is 2**51 hashes.
AGENT_TRAITS: Final[tuple[tuple[str, AgentTraits], ...]] = (
    ("nicehash/", AgentTraits(min_work_log2=51, max_coinbase_bytes=500)),
    ("antminer s21", AgentTraits(max_coinbase_bytes=2_250)),
    ("antminer s19", AgentTraits(max_coinbase_bytes=730)),
    ("whatsminer", AgentTraits(max_coinbase_bytes=6_500)),
    ("vinsh", AgentTraits(max_coinbase_bytes=16_000)),
    ("powerplay", AgentTraits(max_coinbase_bytes=16_000)),  # ePIC's firmware
)


def agent_traits(user_agent: str) -> AgentTraits:
    """Return what is known of a user agent; nothing is known of most."""
    name = user_agent.lower()
    return next((traits for prefix, traits in AGENT_TRAITS if name.startswith(prefix)), _NO_TRAITS)
