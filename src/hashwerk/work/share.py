"""The share: what a machine hands in, and what became of it.

Shares are handled in batches, as rows of numpy arrays, from the socket to the ledger's packed rows on disk.
The layout of `SHARE_DTYPE` is the on-disk format: it changes only together with a schema version.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import numpy as np


class Verdict(IntEnum):
    """What became of a share. `ACCEPTED` alone is credited; the numbers are stored, never renumber."""

    ACCEPTED = 0
    STALE = 1  # its prevhash is no longer the tip's
    UNKNOWN_JOB = 2  # never sent to this session, or too old
    DUPLICATE = 3
    LOW_DIFFICULTY = 4
    TIME_TOO_OLD = 5
    TIME_TOO_NEW = 6
    BAD_VERSION = 7  # bits outside the negotiated mask
    UNAUTHORIZED = 8
    NOT_SUBSCRIBED = 9
    MALFORMED = 10
    NOT_STORED = 11  # the ledger could not make it durable; the machine was told


#: One packed share record. Byte order little-endian, no padding; 72 bytes.
SHARE_DTYPE: Final = np.dtype(
    [
        ("time_us", "<i8"),  # receive time, microseconds since the Unix epoch, UTC
        ("session", "<u4"),
        ("worker", "<u4"),  # account and machine, see the ledger's table of workers
        ("job", "<u4"),
        ("ntime", "<u4"),
        ("nonce", "<u4"),
        ("version", "<u4"),  # full header version after rolling
        ("extranonce1", "<u8"),  # as a big-endian number of its byte length
        ("extranonce2", "<u8"),
        ("hash_key", "V16"),  # first 16 bytes of the header hash in internal order: the identity of a share
        ("verdict", "u1"),
        ("work_log2", "u1"),  # credited work is 2**work_log2 hashes
        ("flags", "<u2"),  # FLAG_BLOCK, FLAG_NETWORK
        ("epoch", "<u4"),
    ]
)

#: It met its job's notable target: the network's for work of our own, the pool's for work of an upstream pool.
FLAG_BLOCK: Final = 1
#: It met the network's target: a block, ours or the pool's. Not set in records of before upstream pools.
FLAG_NETWORK: Final = 2
