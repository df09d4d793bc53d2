"""What is logged beside shares: one struct for each kind of record, as written in docs/evidence/specification.md.

Times are microseconds since the Unix epoch, UTC; intervals are half-open. Energy is whole watt-hours, rounded down.
Accounts are salted hashes. Nothing here is a float. A kind's number and fields never change: a new need is a new kind.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar, Final

import msgspec

from hashwerk.evidence.canonical import I64, U8, U32, U64, Blob, Hash32, Text

#: The account of work that is bound to nobody.
UNBOUND: Final = bytes(32)


class Source(IntEnum):
    """Where energy comes from."""

    UNKNOWN = 0
    HYDRO = 1
    WIND = 2
    SOLAR = 3
    NUCLEAR = 4
    GEOTHERMAL = 5
    BIOMASS = 6
    GAS = 7
    COAL = 8
    OIL = 9
    STORAGE = 10
    FLARED_GAS = 11


#: Sources that count as carbon-free (24/7 carbon-free energy; storage only with what filled it, so not here).
CARBON_FREE: Final = frozenset({Source.HYDRO, Source.WIND, Source.SOLAR, Source.NUCLEAR, Source.GEOTHERMAL})


class Direction(IntEnum):
    """Which register of a meter."""

    IMPORT = 0
    EXPORT = 1
    CORRECTION_UP = 2  # energy found to be missing
    CORRECTION_DOWN = 3  # energy found to be too much


class Quality(IntEnum):
    """How a register came to its value."""

    MEASURED = 0
    ESTIMATED = 1
    FILLED = 2  # an interval was missed; the difference of the registers is spread over it


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all records."""

    NUMBER: ClassVar[int] = 0


class Job(Record, frozen=True, kw_only=True):
    """A piece of work that shares name. Bytes are as in Bitcoin; hashes in internal order."""

    NUMBER: ClassVar[int] = 1
    id: U32
    account: Hash32  # commitment; zero for an upstream pool's job
    work_log2: U8
    height: U32
    prev_hash: Hash32
    nbits: U32
    version: U32
    version_mask: U32
    min_time: U32
    max_time: U32 | None
    ntime: U32
    coinbase1: Blob
    coinbase2: Blob
    branch: tuple[Hash32, ...]
    extranonce1_size: U8
    extranonce2_size: U8
    coinbase_value_sat: U64
    template_hash: Hash32
    source: Text  # node, or upstream pool
    upstream: U8  # 1: the coinbase is a pool's, so the work is unbound
    site_key: Hash32
    epoch_root: Hash32  # of the last closed epoch; zero before the first
    created_us: U64


class Meter(Record, frozen=True, kw_only=True):
    """A cumulative register at both ends of an interval."""

    NUMBER: ClassVar[int] = 2
    meter: Text
    serial: Text
    multiplier_ppm: U64  # of the current transformers, 1,000,000 = 1
    direction: U8
    start_us: U64
    end_us: U64
    start_wh: U64
    end_wh: U64
    quality: U8
    signed_by: Text  # "" or the format of the meter's own signature: "OCMF"
    signed_data: Blob
    signer_key: Blob


class SourceInterval(Record, frozen=True, kw_only=True):
    """Energy of one source that the site claims for an interval of at most an hour."""

    NUMBER: ClassVar[int] = 3
    name: Text
    source: U8
    start_us: U64
    end_us: U64
    wh: U64
    certificate: Text  # its id, or ""
    meter: Text  # the plant's own meter, or ""


class Certificate(Record, frozen=True, kw_only=True):
    """A granular certificate and its cancellation."""

    NUMBER: ClassVar[int] = 4
    id: Text
    registry: Text
    source: U8
    start_us: U64
    end_us: U64
    wh: U64
    beneficiary: Text
    registry_key: Blob  # Ed25519, or empty
    signature: Blob  # over the fields above it, or empty


class Command(Record, frozen=True, kw_only=True):
    """A command to the fleet and what the meter saw of it."""

    NUMBER: ClassVar[int] = 5
    id: U64
    at_us: U64
    command: Text
    group: Text
    machines: U32
    reason: Text
    ordered_w: U64 | None
    before_w: U64 | None
    after_w: U64 | None
    effect_us: U64 | None  # when the measurement had followed


class Inventory(Record, frozen=True, kw_only=True):
    """A group of machines as declared. No machines: the group is gone."""

    NUMBER: ClassVar[int] = 6
    group: Text
    make: Text
    model: Text
    machines: U32
    nominal_hs: U64  # of one machine
    declared_mj_per_th: U32  # millijoules per 10**12 hashes
    learned_mj_per_th: U32 | None
    learned_low_mj_per_th: U32 | None
    learned_high_mj_per_th: U32 | None


class AttributionRule(Record, frozen=True, kw_only=True):
    """How the sources are shared among the site's loads: declared before the period."""

    NUMBER: ClassVar[int] = 7
    rule: Text
    parameters: Text


class PayoutRule(Record, frozen=True, kw_only=True):
    """How rewards are shared among the accounts: declared before the period."""

    NUMBER: ClassVar[int] = 8
    scheme: Text  # "solo", "proportional", "pplns", "tides" or "fpps"
    fee_ppm: U32
    window_ppm: U64  # PPLNS and TIDES: work in the window over the network's work for a block
    threshold_sat: U64  # less than this stays owed


class PayoutEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What one account is due."""

    account: Hash32
    sat: U64


class Payout(Record, frozen=True, kw_only=True):
    """A reward and how it was shared."""

    NUMBER: ClassVar[int] = 9
    block_hash: Hash32  # zero: a scheme that does not pay by block
    height: U32
    at_us: U64
    position: U32  # of the block's own share in its epoch: the window ends with it
    reward_sat: U64
    fee_sat: U64
    state: U8  # 0 pending, 1 mature, 2 reversed
    entries: tuple[PayoutEntry, ...]  # by account, ascending


class KeyRecord(Record, frozen=True, kw_only=True):
    """The hash of a key event that happened in this epoch."""

    NUMBER: ClassVar[int] = 10
    event: Hash32


class Scale(Record, frozen=True, kw_only=True):
    """Hashes that each hash stands for; 1 in a real mine."""

    NUMBER: ClassVar[int] = 11
    factor: U64
    basis: Text


class Configuration(Record, frozen=True, kw_only=True):
    """A setting that was changed."""

    NUMBER: ClassVar[int] = 12
    name: Text
    value: Text


class Block(Record, frozen=True, kw_only=True):
    """A block that was found."""

    NUMBER: ClassVar[int] = 13
    hash: Hash32
    height: U32
    found_us: U64
    reward_sat: U64
    job: U32
    state: U8  # 0 submitted, 1 accepted, 2 rejected, 3 mature, 4 orphaned


class Grid(Record, frozen=True, kw_only=True):
    """What the grid was made of in an interval, by a named set of factors."""

    NUMBER: ClassVar[int] = 14
    factors: Text
    vintage: Text
    start_us: U64
    end_us: U64
    location_mg_per_kwh: U64
    residual_mg_per_kwh: U64
    carbon_free_ppm: U32
    price_micro_per_mwh: I64 | None
    currency: Text


class Site(Record, frozen=True, kw_only=True):
    """The site and its chain."""

    NUMBER: ClassVar[int] = 15
    name: Text
    network: Text
    private: U8  # 1: a chain of its own that gives neither time nor anchor


class Prefix(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes that begin the extranonce2 of one account's machines at an upstream pool."""

    prefix: Blob
    account: Hash32


class PrefixTable(Record, frozen=True, kw_only=True):
    """Whose machine hashes which part of an upstream pool's work: committed before the period."""

    NUMBER: ClassVar[int] = 16
    upstream: Text
    work_log2: U8  # credited for each share, fixed beforehand; 0: it varies, and is the operator's word
    prefixes: tuple[Prefix, ...]


class PoolStatement(Record, frozen=True, kw_only=True):
    """What an upstream pool says of a period."""

    NUMBER: ClassVar[int] = 17
    upstream: Text
    start_us: U64
    end_us: U64
    shares: U64
    paid_sat: U64
    document: Hash32


class LocalFact(Record, frozen=True, kw_only=True):
    """Something the operator says of the place: people employed, taxes paid."""

    NUMBER: ClassVar[int] = 18
    name: Text
    value: Text


class Thinning(Record, frozen=True, kw_only=True):
    """Only shares that meet 2**(256 - work_log2) are leaves, each credited 2**work_log2: declared before the period."""

    NUMBER: ClassVar[int] = 19
    work_log2: U8


class Rejected(Record, frozen=True, kw_only=True):
    """How many shares of this epoch were refused, by the number of the verdict."""

    NUMBER: ClassVar[int] = 20
    verdict: U8
    count: U64


class AccountScale(Record, frozen=True, kw_only=True):
    """Hashes that each hash of one account stands for, in place of the site's scale: declared before the period."""

    NUMBER: ClassVar[int] = 21
    account: Hash32
    factor: U64
    basis: Text
