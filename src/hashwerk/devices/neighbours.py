"""The system's own table of hardware addresses, for machines whose API does not tell theirs."""

from __future__ import annotations

import functools
import re
from collections import Counter
from pathlib import Path
from typing import Final

from hashwerk.clock import Clock, SystemClock

#: Linux writes its ARP table here; macOS has no such file, and there the address stays unknown.
ARP_TABLE: Final = Path("/proc/net/arp")
#: The table is read again no more often than this: five thousand machines may ask within one second.
RELOAD_AFTER_S: Final = 1.0

#: Addresses whose usual form is known.
_KNOWN: Final = 65_536
_HEX: Final = re.compile(r"[0-9a-f]{12}")
_NOBODY: Final = ("000000000000", "ffffffffffff")


def normal_mac(text: object) -> str | None:
    """Return a hardware address as ``aa:bb:cc:dd:ee:ff``, None if it is none or all zeros or ones."""
    return _normal(text[:32]) if isinstance(text, str) else None


@functools.lru_cache(maxsize=_KNOWN)
def _normal(text: str) -> str | None:
    digits = re.sub(r"[:\-.\s]", "", text).lower()
    if _HEX.fullmatch(digits) is None or digits in _NOBODY:
        return None
    return ":".join(digits[at : at + 2] for at in range(0, 12, 2))


class Neighbours:
    """The addresses that the system has seen on its own links.

    Machines behind a router all show the router's, so an address that stands for several hosts counts as unknown.
    """

    __slots__ = ("_clock", "_macs", "_read_at", "_table")

    def __init__(self, table: Path = ARP_TABLE, clock: Clock | None = None) -> None:
        self._table = table
        self._clock = clock or SystemClock()
        self._macs: dict[str, str] = {}
        self._read_at: float | None = None

    def mac(self, host: str) -> str | None:
        """Return the hardware address last seen at ``host``, None if the system knows none."""
        now = self._clock.monotonic()
        if self._read_at is None or now - self._read_at >= RELOAD_AFTER_S:
            self._macs, self._read_at = _read(self._table), now
        return self._macs.get(host)


def _read(table: Path) -> dict[str, str]:
    try:
        lines = table.read_text(encoding="ascii", errors="replace").splitlines()[1:]
    except OSError:
        return {}
    macs: dict[str, str] = {}
    for line in lines:
        columns = line.split()
        mac = normal_mac(columns[3]) if len(columns) > 3 else None
        if mac is not None:
            macs[columns[0]] = mac
    hosts_of = Counter(macs.values())
    return {host: mac for host, mac in macs.items() if hosts_of[mac] == 1}
