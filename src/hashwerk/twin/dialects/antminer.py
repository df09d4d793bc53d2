"""Stock Antminers of 2020 to 2023: bmminer's API to read, the web server's CGIs to command, behind digest authentication.

The traps are those of real ones: the mode is obeyed as ``miner-mode`` and ignored as ``bitmain-work-mode``, writing the
configuration replaces all of it, pools included, and a change restarts the mining program.
"""

from __future__ import annotations

import json
from functools import partial
from typing import Any, Final

from hashwerk.twin.cgminer import (
    Answer,
    Bare,
    Code,
    Request,
    Row,
    Silence,
    encode_reply,
    invalid_command,
    is_number,
    parse_request,
)
from hashwerk.twin.dialects.digest import challenge, is_authorized
from hashwerk.twin.faults import FaultKind
from hashwerk.twin.http import BAD_REQUEST, NOT_FOUND, HttpRequest, HttpResponse, json_response, text_response
from hashwerk.twin.machine import Machine, Slot
from hashwerk.twin.physics import Phase
from hashwerk.twin.reports import common_answer, summary_row

_REALM: Final = "antMiner Configuration"
_USER: Final = "root"
_PASSWORD: Final = "root"  # noqa: S105 - the maker's default
_COMPILED: Final = "Tue Dec  6 16:12:30 CST 2022"
_CHAINS: Final = 4
_NORMAL, _SLEEP, _HIGH, _LOW = "0", "1", "2", "3"


class AntminerDialect:
    """A stock Antminer."""

    speaks_api = True
    speaks_http = True

    def api(self, machine: Machine, data: bytes, now: float) -> bytes | None:
        """Answer a request of the miner API; it cannot join commands."""
        request = parse_request(data)
        if request is None:
            return None
        if isinstance(request, Request):
            request = Request(("+".join(request.commands),), request.parameter, request.is_json)
        return encode_reply(
            request, partial(_answer, machine, now), when=machine.clock(now), description="cgminer 1.0.0"
        )

    def http(self, machine: Machine, request: HttpRequest, now: float) -> HttpResponse:
        """Answer a CGI."""
        nonce = machine.identity.serial
        if not is_authorized(request, user=_USER, password=_PASSWORD, realm=_REALM, nonce=nonce):
            return challenge(_REALM, nonce)
        name = request.path.removeprefix("/cgi-bin/").removesuffix(".cgi")
        if request.path == "/":
            return text_response("<html><title>Antminer</title></html>")
        if request.method == "POST":
            return _command(machine, name, request, now)
        return _read(machine, name, now)


def _answer(machine: Machine, now: float, command: str, parameter: str) -> Answer | Silence | Bare:
    model = machine.model
    match command:
        case "version":
            row: Row = {
                "BMMiner": "1.0.0",
                "API": "3.1",
                "Miner": model.version,
                "CompileTime": _COMPILED,
                "Type": model.type_name,
            }
            return Answer("S", Code.VERSION, "CGMiner versions", "VERSION", [row])
        case "stats":
            return Answer("S", Code.STATS, "CGMiner stats", "STATS", _stats(machine, now))
        case "summary":
            return Answer("S", Code.SUMMARY, "Summary", "SUMMARY", [_summary(machine, now)])
        case "pools" | "devs":
            return common_answer(machine, command, parameter, now, "BTM_SOC")
        case _:
            return invalid_command()


def _summary(machine: Machine, now: float) -> Row:
    row = dict(summary_row(machine, now))
    rates = {name: row.pop(name) for name in [name for name in row if name.startswith("MHS")]}
    ghs = {name: round(float(rate) / 1e3, 2) for name, rate in rates.items()}
    return {**row, "GHS 5s": ghs["MHS 5s"], "GHS av": ghs["MHS av"], "GHS 30m": ghs["MHS 15m"]}


def _stats(machine: Machine, now: float) -> list[Row]:
    plant, model = machine.state(now), machine.model
    shares = machine.board_shares()
    rate_ghs = plant.hashrate_hs(now) / 1e9 * (1 + 0.01 * machine.wiggle(now, 2))
    chip, board = round(plant.board_c), round(plant.board_c - 5)
    rpm = round(plant.fan_share(now) * model.fan_max_rpm)
    row: dict[str, str | int | float] = {
        "STATS": 0,
        "ID": "BTM_SOC0",
        "Elapsed": int(now - machine.booted_at),
        "Calls": 0,
        "GHS 5s": round(rate_ghs, 2),
        "GHS av": round(machine.hashes_since_boot(now) / max(1.0, now - machine.booted_at) / 1e9, 2),
        "rate_30m": round(plant.averages_hs[3] / 1e9, 2),
        "Mode": 2,
        "miner_count": sum(1 for share in shares if share),
        "frequency": 525,
        "fan_num": model.fans,
        "rate_unit": "GH",
        "total_rateideal": round(machine.goal(machine.point).hashrate_hs / 1e9, 2),
        "total_acn": model.chips * sum(1 for share in shares if share),
        "miner_version": model.version,
        "miner_id": machine.identity.serial,
    }
    row |= {f"fan{fan + 1}": rpm for fan in range(model.fans)}
    for chain in range(_CHAINS):
        there = chain < model.boards and shares[chain] > 0
        row |= {
            f"chain_acn{chain + 1}": model.chips if there else 0,
            f"chain_acs{chain + 1}": " ".join(["ooo"] * (model.chips // 3)) if there else "",
            f"chain_hw{chain + 1}": 0,
            f"chain_rate{chain + 1}": f"{rate_ghs * shares[chain]:.2f}" if there else "",
            f"freq{chain + 1}": 525 if there else 0,
            f"temp_chip{chain + 1}": f"{chip}-{chip - 2}-{chip + 3}-{chip}" if there else "0-0-0-0",
            f"temp_pcb{chain + 1}": f"{board}-{board - 2}-{board + 3}-{board}" if there else "0-0-0-0",
        }
    head: Row = {
        "BMMiner": "1.0.0",
        "Miner": model.version,
        "CompileTime": _COMPILED,
        "Type": model.type_name,
    }
    return [head, row]


def _read(machine: Machine, name: str, now: float) -> HttpResponse:
    model, identity = machine.model, machine.identity
    mac = ":".join(identity.mac[at : at + 2] for at in range(0, 12, 2)).upper()
    match name:
        case "get_system_info":
            return json_response(
                {
                    "minertype": model.type_name,
                    "nettype": "DHCP",
                    "netdevice": "eth0",
                    "macaddr": mac,
                    "hostname": identity.name,
                    "ipaddress": machine.host,
                    "netmask": "255.255.255.0",
                    "gateway": "",
                    "dnsservers": "",
                    "system_mode": "GNU/Linux",
                    "system_kernel_version": "Linux 4.6.0-xilinx",
                    "system_filesystem_version": "Tue Dec 6 16:04:42 CST 2022",
                    "firmware_type": "Release",
                    "serinum": identity.serial,
                }
            )
        case "miner_type":
            return json_response({"miner_type": model.type_name, "subtype": "AMLCtrl_BHB42XXX"})
        case "get_network_info":
            return json_response({"nettype": "DHCP", "macaddr": mac, "ipaddress": machine.host})
        case "get_miner_conf":
            return json_response(_configuration(machine))
        case "get_blink_status":
            return json_response({"blink": machine.led})
        case "summary" | "stats" | "pools":
            return json_response(_web_report(machine, name, now))
        case _:
            return NOT_FOUND


def _mode(machine: Machine) -> str:
    if machine.asleep:
        return _SLEEP
    return _LOW if machine.point < machine.model.default_point else _NORMAL


def _configuration(machine: Machine) -> dict[str, Any]:
    return {
        "pools": [{"url": slot.url, "user": slot.user, "pass": slot.password} for slot in machine.slots],
        "api-listen": True,
        "api-network": True,
        "api-groups": "A:stats:pools:devs:summary:version",
        "api-allow": "A:0/0,W:*",
        "bitmain-fan-ctrl": machine.plant.fan_override is not None,
        "bitmain-fan-pwm": f"{round(100 * (machine.plant.fan_override or 1))}",
        "bitmain-use-vil": True,
        "bitmain-freq": "525",
        "bitmain-voltage": "1380",
        "bitmain-ccdelay": "0",
        "bitmain-pwth": "0",
        "bitmain-work-mode": _mode(machine),
        "bitmain-freq-level": "100",
    }


def _web_report(machine: Machine, name: str, now: float) -> dict[str, Any]:
    status = {"STATUS": "S", "when": machine.clock(now), "Msg": name, "api_version": "1.0.0"}
    info = {"miner_version": machine.model.version, "CompileTime": _COMPILED, "type": machine.model.type_name}
    plant = machine.state(now)
    if name == "summary":
        asleep = plant.phase(now) in (Phase.ASLEEP, Phase.FALLING)
        row: dict[str, Any] = {
            "elapsed": int(now - machine.booted_at),
            "rate_5s": round(plant.averages_hs[0] / 1e9, 2),
            "rate_30m": round(plant.averages_hs[3] / 1e9, 2),
            "rate_avg": round(plant.averages_hs[3] / 1e9, 2),
            "rate_ideal": round(machine.goal(machine.point).hashrate_hs / 1e9, 2),
            "rate_unit": "GH/s",
            "hw_all": 0,
            "bestshare": int(machine.best_difficulty),
            "status": [
                {"type": kind, "status": "s", "code": 0, "msg": "sleep" if asleep and kind == "rate" else ""}
                for kind in ("rate", "network", "fans", "temp")
            ],
        }
        return {"STATUS": status, "INFO": info, "SUMMARY": [row]}
    if name == "pools":
        pools = [
            {
                "index": index,
                "url": slot.url,
                "user": slot.user,
                "status": "Alive" if slot.connected else "Dead",
            }
            for index, slot in enumerate(machine.slots)
        ]
        return {"STATUS": status, "INFO": info, "POOLS": pools}
    return {"STATUS": status, "INFO": info, "STATS": _stats(machine, now)[1:]}


def _command(machine: Machine, name: str, request: HttpRequest, now: float) -> HttpResponse:
    if FaultKind.REFUSE in machine.faults:
        return json_response({"stats": "error", "code": "M001", "msg": "Illegal request!"})
    match name:
        case "reboot":
            machine.command(now, now + 1, Machine.reboot)
            return json_response({"stats": "success", "code": "M000", "msg": "OK!"})
        case "blink":
            return _blink(machine, request)
        case "set_miner_conf":
            return _configure(machine, request, now)
        case _:
            return NOT_FOUND


def _body(request: HttpRequest) -> dict[str, Any] | None:
    try:
        value = json.loads(request.body)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _blink(machine: Machine, request: HttpRequest) -> HttpResponse:
    wanted = (_body(request) or {}).get("blink")
    if FaultKind.IGNORE not in machine.faults:
        machine.led = wanted in (True, "true", "1")
    return json_response({"code": "B000" if machine.led else "B100"})


def _configure(machine: Machine, request: HttpRequest, now: float) -> HttpResponse:
    """Replace the whole configuration, and restart the mining program with it."""
    wanted = _body(request)
    if wanted is None:
        return BAD_REQUEST
    machine.command(now, now + 1, partial(_apply, wanted))
    return json_response({"stats": "success", "code": "M000", "msg": "OK!"})


def _apply(wanted: dict[str, Any], machine: Machine, now: float) -> None:
    pools = wanted.get("pools")
    slots = [pool for pool in pools if isinstance(pool, dict)] if isinstance(pools, list) else []
    machine.slots = [
        Slot(str(pool["url"]), str(pool.get("user", "")), str(pool.get("pass", "")))
        for pool in slots
        if pool.get("url")
    ]
    if wanted.get("bitmain-fan-ctrl") is True and is_number(str(wanted.get("bitmain-fan-pwm", ""))):
        machine.set_fans(now, min(100, int(str(wanted["bitmain-fan-pwm"]))) / 100)
    else:
        machine.set_fans(now, None)
    mode = str(wanted.get("miner-mode", _mode(machine)))
    if mode == _SLEEP:
        machine.fall_asleep(now)
        return
    machine.point = 0 if mode == _LOW else machine.model.default_point
    if machine.asleep:
        machine.wake(now)
    else:
        machine.restart_mining(now)
