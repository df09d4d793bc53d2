"""A machine of the fleet: who it is, where it stands, what it can do, and what it says of itself.

What it was told, what it says and what was measured are three truths (docs/adr); this module has the first two as
types, `hashwerk.fleet.measure` has the third. Missing is None, never zero: an unreachable machine has unknown power.
"""

from __future__ import annotations

import enum

import msgspec


class Capability(enum.Flag):
    """What a make's firmware can be told to do. Whatever is not listed here is refused before anything is sent."""

    NONE = 0
    SLEEP = enum.auto()  # stop hashing and come back without a reboot
    MODE = enum.auto()  # switch between named modes
    POWER_LIMIT = enum.auto()  # a limit in watts
    REBOOT = enum.auto()
    LOCATE = enum.auto()  # a light
    POOLS = enum.auto()
    FAN = enum.auto()


class WorkState(enum.Enum):
    """What a machine says that it does. UNKNOWN is an answer that does not tell, not a missing one."""

    HASHING = "hashing"
    STARTING = "starting"  # tuning, ramping up or initialising
    ASLEEP = "asleep"
    FAULT = "fault"
    UNKNOWN = "unknown"


class Identity(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How a machine is told from all others: by its MAC address or serial number, never by its IP address."""

    mac: str | None = None  # "aa:bb:cc:dd:ee:ff"
    serial: str | None = None
    make: str  # "avalon", "antminer", "whatsminer", …
    model: str  # as the maker writes it: "Avalon Q", "S19j Pro"
    firmware: str  # "stock", "braiins", "luxos", "vnish", …
    firmware_version: str | None = None


class PoolSlot(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A pool as a machine has it. The password is never read back, shown or kept."""

    url: str
    user: str
    active: bool | None = None
    accepted: int | None = None
    rejected: int | None = None


class Board(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A hash board as reported."""

    slot: int
    hashrate_hs: float | None = None
    temperature_c: float | None = None
    chips: int | None = None
    working: bool | None = None


class Reading(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one machine reported at one moment. One field that cannot be read is None and spoils no other."""

    at: float  # when the reply was complete, Unix seconds
    identity: Identity
    capabilities: Capability
    state: WorkState
    hashrate_hs: float | None = None  # instant, never an average since start
    nominal_hashrate_hs: float | None = None  # what it believes it should do
    power_w: float | None = None  # at the wall; None rather than a set-point
    power_is_measured: bool | None = None  # False: the firmware's estimate
    power_limit_w: float | None = None  # a set-point
    mode: str | None = None  # the make's own name of the mode
    modes: tuple[str, ...] = ()
    inlet_c: float | None = None
    chip_max_c: float | None = None
    fans_rpm: tuple[int, ...] = ()
    boards: tuple[Board, ...] = ()
    pools: tuple[PoolSlot, ...] = ()
    uptime_s: float | None = None
    clock_s: float | None = None  # the machine's own clock; None when it counts from boot
    hardware_errors: int | None = None
    is_locating: bool | None = None
    complaints: tuple[str, ...] = ()  # faults in the machine's own words
    doubts: tuple[str, ...] = ()  # fields this reply had but that cannot be believed, and why


class OutcomeKind(enum.Enum):
    """What became of a command as far as the machine tells. Only a measurement shows that it was carried out."""

    ACCEPTED = "accepted"  # the machine said so
    REFUSED = "refused"  # the machine said no
    UNSUPPORTED = "unsupported"  # this make and firmware cannot; nothing was sent
    UNANSWERED = "unanswered"  # sent, no answer within the deadline: it may have been carried out


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """A machine's answer to a command."""

    kind: OutcomeKind
    message: str | None = None  # the machine's own words
    awaits_restart: bool = False  # it took it, and does so once it has started again
