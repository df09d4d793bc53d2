"""How a coinbase's extranonce is divided between server and machine."""

from __future__ import annotations

from typing import NamedTuple


class Room(NamedTuple):
    """How many bytes of the coinbase are a session's, and how many its machine may count through."""

    extranonce1_size: int
    extranonce2_size: int
