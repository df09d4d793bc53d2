"""AxeOS and its kin on small machines of one to a few chips: a web server, no miner API, no way to pause."""

from __future__ import annotations

import json
from typing import Any

from hashwerk.twin.cgminer import is_number
from hashwerk.twin.faults import FaultKind
from hashwerk.twin.http import NOT_FOUND, HttpRequest, HttpResponse, json_response, text_response
from hashwerk.twin.machine import Machine, Slot
from hashwerk.twin.physics import Phase


class AxeosDialect:
    """A Bitaxe or NerdAxe. What is written into its settings is in force after a restart."""

    speaks_api = False
    speaks_http = True

    def api(self, machine: Machine, data: bytes, now: float) -> bytes | None:
        """Say nothing: there is no miner API."""
        return b""

    def http(self, machine: Machine, request: HttpRequest, now: float) -> HttpResponse:
        """Answer the web server."""
        match request.method, request.path:
            case "GET", "/":
                title = "NerdOS Nerd" if machine.model.make == "nerdaxe" else "AxeOS"
                return text_response(f"<html><title>{title}</title></html>")
            case "GET", "/api/system/info":
                return json_response(_info(machine, now))
            case "GET", "/api/system/asic":
                model = machine.model
                return json_response(
                    {"ASICModel": model.core, "asicCount": model.chips, "defaultFrequency": 525}
                )
            case "PATCH", "/api/system":
                return _write(machine, request)
            case "POST", "/api/system/restart":
                if FaultKind.REFUSE in machine.faults:
                    return HttpResponse(403, b"Forbidden", "text/plain")
                machine.command(now, now + 1, Machine.reboot)
                return text_response("System will restart shortly.", content_type="text/plain")
            case _:
                return NOT_FOUND


def _info(machine: Machine, now: float) -> dict[str, Any]:
    plant, model, identity = machine.state(now), machine.model, machine.identity
    slot = machine.slots[0] if machine.slots else None
    spare = machine.slots[1] if len(machine.slots) > 1 else None
    power_w = machine.reported_power_w(now)
    share = plant.fan_share(now)
    rate_ghs = plant.hashrate_hs(now) / 1e9 * (1 + 0.02 * machine.wiggle(now, 2))
    return {
        "ASICModel": model.core,
        "deviceModel": model.type_name,
        "asicCount": model.chips,
        "hashRate": round(rate_ghs, 2),
        "expectedHashrate": round(machine.goal(machine.point).hashrate_hs / 1e9, 2),
        "power": round(power_w, 3),
        "voltage": 5100.0,
        "current": round(power_w / 5.1 * 1000, 1),
        "temp": round(plant.board_c, 1),
        "vrTemp": round(plant.board_c + 8),
        "frequency": 525,
        "coreVoltage": round(model.volts * 1000),
        "coreVoltageActual": round(model.volts * 1000) - 6,
        "fanspeed": round(100 * share),
        "fanrpm": round(share * model.fan_max_rpm),
        "autofanspeed": 1,
        "overheat_mode": 0,
        "bestDiff": f"{machine.best_difficulty:.0f}",
        "bestSessionDiff": f"{machine.best_difficulty:.0f}",
        "sharesAccepted": 0 if slot is None else slot.accepted,
        "sharesRejected": 0 if slot is None else slot.rejected,
        "stratumURL": "" if slot is None else _host(slot.url),
        "stratumPort": 0 if slot is None else _port(slot.url),
        "stratumUser": "" if slot is None else slot.user,
        "fallbackStratumURL": "" if spare is None else _host(spare.url),
        "fallbackStratumPort": 0 if spare is None else _port(spare.url),
        "fallbackStratumUser": "" if spare is None else spare.user,
        "isUsingFallbackStratum": int(spare is not None and spare.connected),
        "stratumDiff": 0 if slot is None else slot.difficulty,
        "hostname": identity.name,
        "macAddr": ":".join(identity.mac[at : at + 2] for at in range(0, 12, 2)).upper(),
        "uptimeSeconds": int(now - machine.booted_at),
        "version": model.version,
        "boardVersion": "601" if model.make == "bitaxe" else "501",
        "runningPartition": "ota_0",
        "freeHeap": 8443612,
        "smallCoreCount": 2040,
        "wifiStatus": "Connected!",
        "isHashing": plant.phase(now) is Phase.HASHING,
    }


def _host(url: str) -> str:
    return url.partition("://")[2].rpartition(":")[0]


def _port(url: str) -> int:
    port = url.rpartition(":")[2]
    return int(port) if is_number(port) else 0


def _write(machine: Machine, request: HttpRequest) -> HttpResponse:
    if FaultKind.REFUSE in machine.faults:
        return HttpResponse(403, b"Forbidden", "text/plain")
    try:
        wanted = json.loads(request.body)
    except ValueError:
        return HttpResponse(400, b"Invalid JSON", "text/plain")
    if isinstance(wanted, dict) and "stratumURL" in wanted and FaultKind.IGNORE not in machine.faults:
        url = f"stratum+tcp://{wanted['stratumURL']}:{wanted.get('stratumPort', 3333)}"
        first = Slot(url, str(wanted.get("stratumUser", "")), str(wanted.get("stratumPassword", "x")))
        machine.next_slots = [first, *machine.slots[1:]]
    return HttpResponse(200, b"", "text/plain")
