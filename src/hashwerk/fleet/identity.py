"""By what a machine is known: its MAC address, else its serial number, never where it answers."""

from __future__ import annotations

import functools
import re
from typing import Final

from hashwerk.fleet.machine import Identity

MachineKey = str
"""``mac:aa:bb:cc:dd:ee:ff`` or ``serial:…``."""

#: Identities whose keys are known: each machine tells its own again with every answer.
_KNOWN: Final = 65_536
_HEX: Final = re.compile(r"[0-9a-f]{12}")
#: What firmware writes where it has no address.
_NOBODY: Final = frozenset({"000000000000", "ffffffffffff"})
#: What firmware writes where it has no serial number.
_NO_SERIAL: Final = frozenset({"", "none", "null", "n/a", "na", "unknown", "default", "serial"})


def normal_mac(text: str | None) -> str | None:
    """Return a MAC address as ``aa:bb:cc:dd:ee:ff``; None if it is none, or one that stands for nobody."""
    digits = re.sub(r"[:\-.\s]", "", (text or "")[:32]).lower()
    if _HEX.fullmatch(digits) is None or digits in _NOBODY:
        return None
    return ":".join(digits[at : at + 2] for at in range(0, 12, 2))


def normal_serial(text: str | None) -> str | None:
    """Return a serial number in lower case; None if it is a filler that many machines share."""
    serial = (text or "").strip().lower()
    if serial in _NO_SERIAL or not serial.strip("0-x"):
        return None
    return serial[:64]


def mac_key(mac: str) -> MachineKey:
    """Return the key of a machine with this MAC address."""
    return f"mac:{mac}"


def serial_key(serial: str) -> MachineKey:
    """Return the key of a machine with this serial number."""
    return f"serial:{serial}"


@functools.lru_cache(maxsize=_KNOWN)
def keys_of(identity: Identity) -> tuple[MachineKey, ...]:
    """Return every key that an identity gives, the surest first; none where it tells neither MAC nor serial."""
    mac, serial = normal_mac(identity.mac), normal_serial(identity.serial)
    keys = [] if mac is None else [mac_key(mac)]
    if serial is not None:
        keys.append(serial_key(serial))
    return tuple(keys)
