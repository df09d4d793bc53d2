"""WhatsMiners of 2023 with the API version 2: open to read, encrypted to command.

Whoever commands proves the administrator's password by a token, derived with md5crypt from it and from three numbers that
``get_token`` gives out, and encrypts the command with AES-256 in ECB mode; the key is the SHA-256 of the hash's text.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import lru_cache, partial
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from hashwerk.twin.cgminer import (
    Answer,
    BadRequest,
    Bare,
    Code,
    Row,
    Silence,
    encode_reply,
    is_number,
    parse_request,
)
from hashwerk.twin.dialects.md5crypt import md5crypt
from hashwerk.twin.faults import FaultKind
from hashwerk.twin.http import HttpRequest, HttpResponse
from hashwerk.twin.machine import Machine, Slot
from hashwerk.twin.physics import Phase
from hashwerk.twin.reports import pool_rows, summary_row

_DESCRIPTION: Final = "cgminer 4.9.2"
_PASSWORD: Final = "admin"  # noqa: S105 - the maker's default
_TOKEN_S: Final = 1800.0
_OK, _ERROR, _BAD_TOKEN = 131, 132, 135
_POWER_MODES: Final = {"set_low_power": 0, "set_normal_power": 1, "set_high_power": 2}
_POOLS: Final = 3


class WhatsminerDialect:
    """A WhatsMiner with its API switched on for writing and its first password."""

    speaks_api = True
    speaks_http = False

    def api(self, machine: Machine, data: bytes, now: float) -> bytes | None:
        """Answer a request of the miner API, encrypted ones included."""
        sealed = _sealed(data)
        if sealed is not None:
            return _answer_sealed(machine, sealed, now)
        request = parse_request(data)
        if request is None:
            return None
        if isinstance(request, BadRequest):
            return _message(machine, now, "E", 23, "json cmd err")
        return encode_reply(
            request, partial(_answer, machine, now), when=machine.clock(now), description=_DESCRIPTION
        )

    def http(self, machine: Machine, request: HttpRequest, now: float) -> HttpResponse:
        """Send everybody to TLS, where nothing is."""
        return HttpResponse(307, b"", "text/html", (("Location", f"https://{machine.host}/"),))


def _message(machine: Machine, now: float, status: str, code: int, message: object) -> bytes:
    return msgspec.json.encode(
        {"STATUS": status, "When": machine.clock(now), "Code": code, "Msg": message, "Description": ""}
    )


def _answer(machine: Machine, now: float, command: str, parameter: str) -> Answer | Silence | Bare:
    match command:
        case "summary":
            return Answer("S", Code.SUMMARY, "Summary", "SUMMARY", [_summary(machine, now)])
        case "devs" | "edevs":
            return Answer("S", Code.DEVS, "3 ASC(s)", "DEVS", _devs(machine, now))
        case "devdetails":
            return Answer("S", Code.DEVDETAILS, "Device Details", "DEVDETAILS", _details(machine))
        case "pools":
            rows = [{**row, "POOL": index + 1} for index, row in enumerate(pool_rows(machine))]
            return Answer("S", Code.POOL, f"{len(rows)} Pool(s)", "POOLS", rows)
        case "get_token":
            return Bare(_message(machine, now, "S", 134, _token(machine, now)))
        case _:
            found = _state(machine, now, command)
            if found is None:
                return Bare(_message(machine, now, "E", 14, "invalid cmd"))
            return Bare(_message(machine, now, "S", _OK, found))


def _state(machine: Machine, now: float, command: str) -> dict[str, Any] | None:
    identity, model = machine.identity, machine.model
    mac = ":".join(identity.mac[at : at + 2] for at in range(0, 12, 2)).upper()
    match command:
        case "get_version":
            return {"api_ver": "2.0.5", "fw_ver": model.version, "platform": "H616", "chip": model.core}
        case "status":
            return {
                "btmineroff": str(machine.asleep).lower(),
                "mineroff": str(machine.asleep).lower(),
                "mineroff_reason": "",
                "mineroff_time": "",
                "FirmwareVersion": model.version,
                "power_mode": model.points[machine.point].name,
                "power_limit_set": str(_limit_w(machine)),
                "hash_percent": "0",
            }
        case "get_psu":
            return {
                "name": "P222B",
                "model": "P222B",
                "hw_version": "",
                "sw_version": "230208.220429",
                "vin": "22900",
                "fan_speed": "6000",
            }
        case "get_miner_info":
            led = "manual" if machine.led else "auto"
            return {"ip": machine.host, "mac": mac, "hostname": identity.name, "ledstat": led}
        case "get_error_code":
            dead = FaultKind.LOSE_BOARD in machine.faults
            return {"error_code": [{"540": "2026-01-01 00:00:00"}] if dead else []}
        case _:
            return None


def _limit_w(machine: Machine) -> int:
    point = machine.model.points[machine.point]
    return round(point.target_w if machine.power_limit_w is None else machine.power_limit_w)


def _summary(machine: Machine, now: float) -> Row:
    plant, model = machine.state(now), machine.model
    share = plant.fan_share(now)
    rpm = round(share * model.fan_max_rpm)
    row = dict(summary_row(machine, now))
    stable = plant.phase(now) is Phase.HASHING and now >= plant.course[-1].at
    return {
        **row,
        "HS RT": round(plant.hashrate_hs(now) / 1e6 * (1 + 0.01 * machine.wiggle(now, 2)), 2),
        "Temperature": round(plant.board_c, 1),
        "freq_avg": 600 if stable else 0,
        "Fan Speed In": rpm,
        "Fan Speed Out": round(rpm * 0.98),
        "Power": round(machine.reported_power_w(now)),
        "Power Limit": _limit_w(machine),
        "Power Mode": model.points[machine.point].name.capitalize(),
        "Factory GHS": round(model.points[model.default_point].hashrate_hs / 1e9),
        "Env Temp": round(plant.inlet_c, 1),
        "Chip Temp Min": round(plant.board_c - 8, 1),
        "Chip Temp Max": round(plant.board_c + 8, 1),
        "Chip Temp Avg": round(plant.board_c, 1),
        "Hash Stable": stable,
        "Upfreq Complete": int(stable),
        "Uptime": int(now - machine.booted_at) + 40,
        "MAC": ":".join(machine.identity.mac[at : at + 2] for at in range(0, 12, 2)).upper(),
    }


def _devs(machine: Machine, now: float) -> list[Row]:
    plant, model = machine.state(now), machine.model
    stable = plant.phase(now) is Phase.HASHING and now >= plant.course[-1].at
    return [
        {
            "ASC": board,
            "Name": "SM",
            "ID": board,
            "Slot": board,
            "Enabled": "Y",
            "Status": "Alive" if share else "Dead",
            "Temperature": round(plant.board_c - 6, 1),
            "Chip Frequency": 600 if share else 0,
            "Frequency": 600.0 if share else 0.0,
            "MHS av": round(plant.averages_hs[2] / 1e6 * share, 2),
            "MHS 5s": round(plant.averages_hs[0] / 1e6 * share, 2),
            "Factory GHS": round(model.points[model.default_point].hashrate_hs / 1e9 / model.boards),
            "Effective Chips": model.chips if share else 0,
            "Chip Temp Min": round(plant.board_c - 8, 1),
            "Chip Temp Max": round(plant.board_c + 8, 1),
            "Chip Temp Avg": round(plant.board_c, 1),
            "Upfreq Complete": int(stable),
            "PCB SN": f"{machine.identity.serial}{board}",
        }
        for board, share in enumerate(machine.board_shares())
    ]


def _details(machine: Machine) -> list[Row]:
    model = machine.model
    return [
        {
            "DEVDETAILS": board,
            "Name": "SM",
            "ID": board,
            "Driver": "bitmicro",
            "Kernel": "",
            "Model": model.type_name,
        }
        for board in range(model.boards)
    ]


# --- commands ---


@lru_cache(maxsize=4096)
def _keys(serial: str, time: str) -> tuple[str, str, str, str]:
    """Return salt, newsalt, the password's hash and the token that belong to a machine and a time."""
    salt, newsalt = serial[-8:], serial[-12:-4]
    key = md5crypt(_PASSWORD.encode(), salt.encode())
    return salt, newsalt, key, md5crypt(f"{key}{time}".encode(), newsalt.encode())


def _token(machine: Machine, now: float) -> dict[str, str]:
    """Give out the numbers for a token, good for half an hour."""
    time = f"{machine.clock(now) % 10_000:04d}"
    machine.extras["token"] = (time, now + _TOKEN_S)
    salt, newsalt, _, _ = _keys(machine.identity.serial, time)
    return {"time": time, "salt": salt, "newsalt": newsalt}


def _sealed(data: bytes) -> str | None:
    """Return the encrypted part of a request, if it is one."""
    if b'"enc"' not in data:
        return None
    try:
        value = json.loads(data.rstrip(b"\0\r\n "))
    except ValueError:
        return None
    sealed = value.get("data") if isinstance(value, dict) else None
    return sealed if isinstance(sealed, str) else None


def _cipher(key: str) -> Cipher[modes.ECB]:
    return Cipher(algorithms.AES256(hashlib.sha256(key.encode()).digest()), modes.ECB())  # noqa: S305 - theirs


def _answer_sealed(machine: Machine, sealed: str, now: float) -> bytes:
    given = machine.extras.get("token")
    time, until = given if isinstance(given, tuple) else ("", 0.0)
    _, _, key, token = _keys(machine.identity.serial, time)
    try:
        opener = _cipher(key).decryptor()
        plain = opener.update(base64.b64decode(sealed)) + opener.finalize()
        order = json.loads(plain.rstrip(b"\0"))
    except ValueError:
        return _message(machine, now, "E", 23, "enc json load err")
    if not isinstance(order, dict) or order.get("token") != token or until <= now:
        return _message(machine, now, "E", _BAD_TOKEN, "check token err")
    reply = _carry_out(machine, order, now)
    closer = _cipher(key).encryptor()
    padded = reply + b"\0" * (-len(reply) % 16)
    encoded = base64.b64encode(closer.update(padded) + closer.finalize()).decode()
    return msgspec.json.encode({"enc": encoded})


def _carry_out(machine: Machine, order: dict[str, Any], now: float) -> bytes:
    command = order.get("command", order.get("cmd"))
    if FaultKind.REFUSE in machine.faults:
        return _message(machine, now, "E", 45, "permission denied")
    match command:
        case "power_off":
            machine.command(now, now + 0.5, Machine.fall_asleep)
        case "power_on":
            machine.command(now, now + 0.5, Machine.wake)
        case "reboot":
            machine.command(now, now + 1, Machine.reboot)
        case "set_low_power" | "set_normal_power" | "set_high_power":
            machine.command(now, now + 0.5, partial(_set_mode, _POWER_MODES[command]))
        case "adjust_power_limit":
            limit = str(order.get("power_limit", ""))
            if not is_number(limit) or int(limit) > machine.model.points[-1].target_w:
                return _message(machine, now, "E", _ERROR, "power limit invalid")
            machine.command(now, now + 0.5, partial(_limit, float(limit)))
        case "set_led":
            if FaultKind.IGNORE not in machine.faults:
                machine.led = order.get("param") != "auto"
        case "update_pools":
            machine.command(now, now + 0.5, partial(_set_pools, order))
        case _:
            return _message(machine, now, "E", 14, "invalid cmd")
    return _message(machine, now, "S", _OK, "API command OK")


def _set_mode(point: int, machine: Machine, now: float) -> None:
    machine.power_limit_w = None
    machine.set_point(now, point)


def _limit(limit_w: float, machine: Machine, now: float) -> None:
    machine.limit_power(now, limit_w)


def _set_pools(order: dict[str, Any], machine: Machine, now: float) -> None:
    machine.slots = [
        Slot(str(order[f"pool{n}"]), str(order.get(f"worker{n}", "")), str(order.get(f"passwd{n}", "")))
        for n in range(1, _POOLS + 1)
        if order.get(f"pool{n}")
    ]
