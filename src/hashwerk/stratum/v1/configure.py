"""`mining.configure` (BIP-0310): which extensions machine and server have in common."""

from __future__ import annotations

import math
from typing import Any, Final

import msgspec

DEFAULT_CLIENT_MASK: Final = 0xFFFF_FFFF
_INFO: Final = "info."
_MAX_INFO_CHARS: Final = 128


class Configuration(msgspec.Struct, frozen=True):
    """What a machine asked for and what it is answered."""

    result: dict[str, Any]  # goes on the wire as it is
    client_mask: int | None = None  # None: version rolling was not asked for, or cannot be had
    minimum_difficulty: float | None = None
    subscribe_extranonce: bool = False
    info: dict[str, str] = {}


def parse_mask(value: Any) -> int | None:
    """Return the number of a TMask, or None when it is none.

    BIP-0310: "case independent hexadecimal string of length 8". Shorter ones are seen and clear enough.
    """
    if (
        not isinstance(value, str)
        or not 0 < len(value) <= 8
        or not all(c in "0123456789abcdefABCDEF" for c in value)
    ):
        return None
    return int(value, 16)


def negotiate(codes: list[Any], wanted: dict[str, Any], server_mask: int) -> Configuration:
    """Answer every extension code of a request.

    BIP-0310: "Each code from the extensions list MUST have a defined return value", ``false`` for what is
    unknown.
    """
    result: dict[str, Any] = {}
    client_mask = minimum_difficulty = None
    subscribe_extranonce = False
    info: dict[str, str] = {}
    for code in codes:
        match code:
            case "version-rolling":
                client_mask = _version_rolling(wanted, server_mask, result)
            case "minimum-difficulty":
                minimum_difficulty = _positive(wanted.get("minimum-difficulty.value"))
                # "The value can be 0 for essentially disabling the feature."
                accepted = minimum_difficulty is not None or _is_zero(wanted.get("minimum-difficulty.value"))
                result[code] = accepted
            case "subscribe-extranonce":
                subscribe_extranonce = result[code] = True
            case "info":
                info = _info(wanted)
                result[code] = True
            case str():
                result[code] = False
    return Configuration(result, client_mask, minimum_difficulty, subscribe_extranonce, info)


def _version_rolling(wanted: dict[str, Any], server_mask: int, result: dict[str, Any]) -> int | None:
    client_mask = parse_mask(wanted.get("version-rolling.mask", f"{DEFAULT_CLIENT_MASK:08x}"))
    if client_mask is None:
        result["version-rolling"] = "version-rolling.mask is not eight hex digits"
        return None
    # "response = server_mask & miner_mask". A min-bit-count above what is left is no reason to refuse: the
    # miner "always has the chance to operate in a degraded mode". No bit at all is no version rolling.
    common = server_mask & client_mask
    result["version-rolling"] = common != 0
    if common == 0:
        return None
    result["version-rolling.mask"] = f"{common:08x}"
    return client_mask


def positive_difficulty(value: Any) -> float | None:
    """Return a difficulty as a peer wrote it, a number or its digits, or None when it is not positive and finite."""
    if isinstance(value, str) and len(value) <= 32:
        try:
            value = float(value)
        except ValueError:
            return None
    return _positive(value)


def _positive(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 2**1000:
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def _is_zero(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == 0


def _info(wanted: dict[str, Any]) -> dict[str, str]:
    return {
        key.removeprefix(_INFO): value[:_MAX_INFO_CHARS]
        for key in ("info.connection-url", "info.hw-version", "info.sw-version", "info.hw-id")
        if isinstance(value := wanted.get(key), str)
    }
