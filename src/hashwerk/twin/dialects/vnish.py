"""VNish on an Antminer: a web API behind a password, and cgminer's API to read.

What stopped a machine wakes it too: ``mining/stop`` goes with ``mining/start``, ``mining/pause`` with ``mining/resume``.
Settings hold after ``mining/restart``.
"""

from __future__ import annotations

import json
from functools import partial
from typing import Any, Final

from hashwerk.twin.cgminer import Answer, Bare, Code, Row, Silence, encode_reply, is_number, parse_request
from hashwerk.twin.faults import FaultKind
from hashwerk.twin.http import BAD_REQUEST, NOT_FOUND, HttpRequest, HttpResponse, json_response, text_response
from hashwerk.twin.machine import Machine, Slot
from hashwerk.twin.physics import Phase
from hashwerk.twin.reports import common_answer, summary_row

_PASSWORD: Final = "admin"  # noqa: S105 - the maker's default
_STATES: Final = {
    Phase.STARTING: "initializing",
    Phase.HASHING: "mining",
    Phase.FALLING: "shutting-down",
    Phase.ASLEEP: "stopped",
}
#: Which deed undoes which.
_WAKES: Final = {"start": "stop", "resume": "pause"}


class VnishDialect:
    """A machine with VNish."""

    speaks_api = True
    speaks_http = True

    def api(self, machine: Machine, data: bytes, now: float) -> bytes | None:
        """Answer a request of the miner API."""
        request = parse_request(data)
        if request is None:
            return None
        return encode_reply(
            request, partial(_answer, machine, now), when=machine.clock(now), description="cgminer 1.0.0"
        )

    def http(self, machine: Machine, request: HttpRequest, now: float) -> HttpResponse:
        """Answer the web API; reading needs no password."""
        if request.path == "/":
            return text_response("<html><title>AnthillOS</title></html>")
        if not request.path.startswith("/api/v1/"):
            return NOT_FOUND
        name = request.path.removeprefix("/api/v1/")
        if request.method == "GET":
            found = _read(machine, name, now)
            return NOT_FOUND if found is None else json_response(found)
        if name == "unlock":
            right = _body(request).get("pw") == _PASSWORD
            return json_response({"token": _token(machine)}) if right else HttpResponse(403, b"{}")
        if name == "find-miner":
            machine.led = bool(_body(request).get("on", not machine.led))
            return json_response({"on": machine.led})
        if request.headers.get("authorization", "").removeprefix("Bearer ") != _token(machine):
            return HttpResponse(401, b'{"err":"unauthorized"}')
        if FaultKind.REFUSE in machine.faults:
            return HttpResponse(403, b'{"err":"forbidden"}')
        return _command(machine, name, request, now)


def _token(machine: Machine) -> str:
    return f"{machine.seed:032x}"


def _body(request: HttpRequest) -> dict[str, Any]:
    try:
        value = json.loads(request.body or b"{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _type(machine: Machine) -> str:
    return f"{machine.model.type_name} (Vnish {machine.model.version})"


def _answer(machine: Machine, now: float, command: str, parameter: str) -> Answer | Silence | Bare:
    match command:
        case "version":
            row: Row = {"API": "3.1", "Miner": machine.model.version, "Type": _type(machine)}
            return Answer("S", Code.VERSION, "CGMiner versions", "VERSION", [row])
        case "stats":
            rows: list[Row] = [
                {"Type": _type(machine), "Miner": machine.model.version},
                {"STATS": 0, "ID": "BTM_SOC0", "Elapsed": int(now - machine.booted_at)},
            ]
            return Answer("S", Code.STATS, "CGMiner stats", "STATS", rows)
        case "summary":
            summary = dict(summary_row(machine, now))
            summary["GHS 5s"] = round(float(summary["MHS 5s"]) / 1e3, 2)
            summary["GHS av"] = round(float(summary["MHS av"]) / 1e3, 2)
            return Answer("S", Code.SUMMARY, "Summary", "SUMMARY", [summary])
        case _:
            return common_answer(machine, command, parameter, now, "BTM_SOC")


def _read(machine: Machine, name: str, now: float) -> object:
    identity, model = machine.identity, machine.model
    mac = ":".join(identity.mac[at : at + 2] for at in range(0, 12, 2)).upper()
    network = {"mac": mac, "dhcp": True, "ip": machine.host, "hostname": identity.name}
    minutes = int(now - machine.booted_at) // 60
    uptime = f"{minutes // 60}:{minutes % 60:02d}"
    system = {"os": "GNU/Linux", "uptime": uptime, "network_status": network}
    match name:
        case "info":
            return {
                "miner": model.type_name,
                "model": "s19jpro",
                "fw_name": "Vnish",
                "fw_version": model.version,
                "platform": "xil",
                "hr_measure": "GH/s",
                "serial": identity.serial,
                "system": system,
            }
        case "status":
            return _status(machine, now)
        case "summary":
            return {"miner": _miner(machine, now), "system": system}
        case "chains":
            return _chains(machine, now)
        case "settings":
            point = model.points[machine.point]
            return {"miner": {"overclock": {"preset": point.name}, "pools": _pools(machine)}}
        case "autotune/presets":
            return [
                {"name": point.name, "pretty": f"{point.name} watt", "status": "tuned"}
                for point in model.points
            ]
        case "perf-summary":
            return {"current_preset": {"name": model.points[machine.point].name}}
        case _:
            return None


def _status(machine: Machine, now: float) -> dict[str, Any]:
    state = _STATES.get(machine.phase(now), "stopped")
    return {"miner_state": state, "miner_state_time": 60, "find_miner": machine.led, "unlocked": False}


def _miner(machine: Machine, now: float) -> dict[str, Any]:
    plant, model = machine.state(now), machine.model
    share = plant.fan_share(now)
    power_w = round(machine.reported_power_w(now))
    return {
        "miner_type": _type(machine),
        "miner_status": {"miner_state": _STATES.get(plant.phase(now), "stopped")},
        "hr_realtime": round(plant.hashrate_hs(now) / 1e9 * (1 + 0.01 * machine.wiggle(now, 2)), 2),
        "hr_average": round(plant.averages_hs[3] / 1e9, 2),
        "hr_nominal": round(machine.goal(machine.point).hashrate_hs / 1e9, 2),
        "hr_stock": round(model.points[-1].hashrate_hs / 1e9, 2),
        "power_consumption": power_w,
        "power_usage": power_w,
        "overclock": {"preset": model.points[machine.point].name},
        "cooling": {
            "fan_num": model.fans,
            "fan_duty": round(100 * share),
            "fans": [
                {
                    "id": fan,
                    "rpm": round(share * model.fan_max_rpm),
                    "status": "ok",
                    "max_rpm": model.fan_max_rpm,
                }
                for fan in range(model.fans)
            ],
        },
        "chains": _chains(machine, now),
        "pools": _pools(machine),
    }


def _chains(machine: Machine, now: float) -> list[dict[str, Any]]:
    plant, model = machine.state(now), machine.model
    rate_ghs = plant.hashrate_hs(now) / 1e9
    chip_c = round(plant.board_c)
    return [
        {
            "id": board + 1,
            "hashrate_rt": round(rate_ghs * share, 2),
            "hashrate_ideal": round(machine.goal(machine.point).hashrate_hs / 1e9 * share, 2),
            "pcb_temp": {"min": chip_c - 12, "max": chip_c - 5},
            "chip_temp": {"min": chip_c - 6, "max": chip_c + 6},
            "chips": [
                {"id": chip, "hr": round(rate_ghs * share / model.chips, 2)} for chip in range(model.chips)
            ],
            "status": {"state": "mining" if share else "failure"},
            "serial": f"{machine.identity.serial}{board}",
        }
        for board, share in enumerate(machine.board_shares())
    ]


def _pools(machine: Machine) -> list[dict[str, Any]]:
    return [
        {
            "id": index,
            "url": slot.url,
            "user": slot.user,
            "pass": "",
            "accepted": slot.accepted,
            "rejected": slot.rejected,
            "status": ("active" if index == 0 else "working") if slot.connected else "offline",
        }
        for index, slot in enumerate(machine.slots)
    ]


def _command(machine: Machine, name: str, request: HttpRequest, now: float) -> HttpResponse:
    match name:
        case "mining/stop" | "mining/pause":
            machine.extras["stopped by"] = name.removeprefix("mining/")
            machine.command(now, now, Machine.fall_asleep)
        case "mining/start" | "mining/resume":
            verb = name.removeprefix("mining/")
            if machine.asleep and machine.extras.get("stopped by", "stop") != _WAKES[verb]:
                return HttpResponse(409, b'{"err":"miner is in another state"}')
            machine.command(now, now, Machine.wake)
        case "mining/restart":
            machine.command(now, now, _restart)
        case "system/reboot":
            machine.command(now, now + 1, Machine.reboot)
            return json_response({"after": 3})
        case "settings":
            return _write(machine, _body(request))
        case _:
            return NOT_FOUND
    return json_response({"success": True})


def _write(machine: Machine, wanted: dict[str, Any]) -> HttpResponse:
    """Keep a preset and pools for the next restart."""
    miner = wanted.get("miner")
    if not isinstance(miner, dict):
        return BAD_REQUEST
    ignored = FaultKind.IGNORE in machine.faults
    overclock = miner.get("overclock")
    preset = str(overclock.get("preset", "")) if isinstance(overclock, dict) else ""
    names = [point.name for point in machine.model.points]
    if is_number(preset) and preset not in names:
        return BAD_REQUEST
    if preset in names and not ignored:
        machine.wanted_point = names.index(preset)
    pools = miner.get("pools")
    if isinstance(pools, list) and not ignored:
        machine.next_slots = [
            Slot(str(pool["url"]), str(pool.get("user", "")), str(pool.get("pass", "x")))
            for pool in pools
            if isinstance(pool, dict) and pool.get("url")
        ]
    return json_response({"restart_required": True, "reboot_required": False})


def _restart(machine: Machine, now: float) -> None:
    machine.take_over()
    machine.restart_mining(now)
