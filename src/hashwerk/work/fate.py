"""What became of a share that was handed in to an upstream pool: the second half of its way.

A share is checked here, stored here, and answered to the machine here. If it also meets the target of the pool its job came
from it is forwarded at once, and the pool's answer is its fate, joined to the share by the first 16 bytes of its hash.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import numpy as np


class Fate(IntEnum):
    """What the pool made of a share. The numbers are stored, never renumber."""

    ACCEPTED = 0  # the pool said so; that is not yet credit
    REJECTED = 1
    LOST = 2  # the connection ended or no answer came: the pool may have it or not


#: One packed record of a fate. Little-endian, no padding; 48 bytes.
FATE_DTYPE: Final = np.dtype(
    [
        ("hash_key", "V16"),  # of the share
        ("job", "<u4"),
        ("worker", "<u4"),
        ("upstream", "<u2"),  # see the ledger's table of upstream pools
        ("reason", "<u2"),  # see the ledger's table of reasons; 0: none
        ("fate", "u1"),
        ("pad", "V3"),
        ("sent_us", "<i8"),  # handed in, microseconds since the Unix epoch; 0: it could not be handed in
        ("known_us", "<i8"),  # answered or given up
    ]
)
