"""What can be wrong with a machine, on demand. Each kind is one that operators of real machines complain about."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from hashwerk.errors import ConfigError


class FaultKind(enum.Enum):
    """The kinds of faults. All but those that happen once last until they are cleared."""

    HANG = "hang"  # takes connections and never answers; goes on drawing power
    LIE = "lie"  # reports another power than it draws
    IGNORE = "ignore"  # accepts commands and does nothing
    REFUSE = "refuse"  # refuses every command
    REBOOT = "reboot"  # reboots in the middle of carrying out the next command
    POWER_CUT = "power-cut"  # loses mains for a while; some makes then wake by themselves
    CHANGE_IP = "change-ip"  # answers at another address from now on
    GARBAGE = "garbage"  # answers bytes that mean nothing
    SLOW = "slow"  # takes seconds for each answer
    LOSE_BOARD = "lose-board"  # one hash board is dead
    CLONE_MAC = "clone-mac"  # shows another machine's MAC address
    SWAP_CONTROLLER = "swap-controller"  # has another control board: another MAC address and serial number


#: Kinds that happen once and leave nothing to clear.
ONCE: Final = frozenset({FaultKind.POWER_CUT, FaultKind.CHANGE_IP, FaultKind.SWAP_CONTROLLER})


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """A fault and its measure."""

    kind: FaultKind
    factor: Annotated[float, Meta(ge=0, description="lie: reported over true power")] = 0.5
    delay_s: Annotated[float, Meta(ge=0, le=3600, description="slow: seconds before an answer")] = 4.0
    duration_s: Annotated[float, Meta(gt=0, description="power-cut: seconds without mains")] = 60.0
    controller: Annotated[bool, Meta(description="hang: its shares stop too; its power does not")] = False
    board: Annotated[int, Meta(ge=0, description="lose-board: which")] = 0


def fault_kind(name: str) -> FaultKind:
    """Return a kind by its name.

    Raises:
        ConfigError: If there is no such kind.
    """
    try:
        return FaultKind(name)
    except ValueError:
        known = ", ".join(kind.value for kind in FaultKind)
        raise ConfigError(f"no fault {name!r}; there are: {known}") from None


def parse_fault_counts(texts: tuple[str, ...]) -> dict[FaultKind, int]:
    """Return how many machines get which fault, from words like ``hang=2``.

    Raises:
        ConfigError: If a word is not KIND=COUNT.
    """
    counts: dict[FaultKind, int] = {}
    for text in texts:
        name, _, count = text.partition("=")
        if not (count.isascii() and count.isdigit()):
            raise ConfigError(f"a fault is given as KIND=COUNT, for example hang=2: {text!r}")
        counts[fault_kind(name)] = counts.get(fault_kind(name), 0) + int(count)
    return counts


def _cut_short(reply: bytes) -> bytes:
    return reply[: len(reply) // 3]


def _binary(reply: bytes) -> bytes:
    return bytes(range(256)) * 2


def _other_encoding(reply: bytes) -> bytes:
    return reply.rstrip(b"\0").decode("latin-1").encode("utf-16")


def _braces(reply: bytes) -> bytes:
    return reply.replace(b'":', b'"', 1).replace(b"[{", b"[,{", 1)


def _huge(reply: bytes) -> bytes:
    return b'{"STATUS":[{"STATUS":"S"' + b" " * 2_000_000


#: The ways a reply is spoilt, in turn.
GARBAGE: Final[tuple[Callable[[bytes], bytes], ...]] = (_cut_short, _binary, _other_encoding, _braces, _huge)


def spoil(reply: bytes, turn: int) -> bytes:
    """Return a reply as a broken machine gives it; ``turn`` picks the way."""
    return GARBAGE[turn % len(GARBAGE)](reply)
