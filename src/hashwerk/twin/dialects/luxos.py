"""LuxOS: cgminer's API with commands of its own; whatever changes something needs a session."""

from __future__ import annotations

from functools import partial
from typing import Final

from hashwerk.twin.cgminer import (
    Answer,
    Bare,
    Code,
    Row,
    Silence,
    encode_reply,
    invalid_command,
    is_number,
    parse_request,
)
from hashwerk.twin.dialects.luxos_tables import MORE, TABLES
from hashwerk.twin.faults import FaultKind
from hashwerk.twin.http import NOT_FOUND, HttpRequest, HttpResponse, text_response
from hashwerk.twin.machine import Machine, Slot
from hashwerk.twin.physics import Phase
from hashwerk.twin.reports import common_answer

_SESSION_S: Final = 60.0
_CHANGES: Final = frozenset(
    {"logoff", "curtail", "profileset", "ledset", "rebootdevice", "resetminer", "fanset", "atmset"}
)


class LuxosDialect:
    """A LuxOS machine. Its power is the firmware's estimate, and says so: ``PSU`` is false."""

    speaks_api = True
    speaks_http = True

    def api(self, machine: Machine, data: bytes, now: float) -> bytes | None:
        """Answer a request of the miner API."""
        request = parse_request(data)
        if request is None:
            return None
        description = f"LUXminer {machine.model.version}-57b389c7"
        return encode_reply(
            request, partial(_answer, machine, now), when=machine.clock(now), description=description
        )

    def http(self, machine: Machine, request: HttpRequest, now: float) -> HttpResponse:
        """Answer the web server's front page."""
        if request.path == "/":
            return text_response("<html><title>Luxor Firmware</title></html>")
        return NOT_FOUND


def _answer(machine: Machine, now: float, command: str, parameter: str) -> Answer | Silence | Bare:
    if command in _CHANGES:
        return _change(machine, now, command, parameter)
    rows = TABLES.get(command)
    if rows is not None:
        code, message, section, make = rows
        return Answer("S", code, message, section, make(machine, now), MORE.get(command, {}))
    match command:
        case "session":
            return _session(machine, now, new=False)
        case "logon":
            return _session(machine, now, new=True)
        case "voltageget":
            volts = 0.0 if machine.phase(now) in (Phase.ASLEEP, Phase.FALLING) else machine.model.volts
            row: Row = {"Board": int(parameter) if is_number(parameter) else 0, "Voltage": volts}
            return Answer("S", 307, "Get Voltage", "VOLTAGE", [row])
        case "healthchipget":
            return Answer("S", 323, "Chip health", "CHIPS", [])
        case "addpool" | "removepool" | "addgroup" | "removegroup" | "groupquota":
            return _change_pools(machine, now, command, parameter)
        case "coin" | "check" | "switchpool":
            return common_answer(machine, command, parameter, now, "LUX")
        case _:
            return invalid_command()


def _session(machine: Machine, now: float, *, new: bool) -> Answer:
    """Show the session, or make one; a second one is refused until the first has ended."""
    name, until = _open_session(machine, now)
    if new:
        if name:
            return Answer("E", 402, "Another session is active")
        machine.turns += 1
        name, until = f"{(machine.seed + machine.turns) % 2**32:08x}", now + _SESSION_S
        machine.extras["session"] = (name, until)
    return Answer("S", 316, "Session information", "SESSION", [{"SessionID": name}])


def _open_session(machine: Machine, now: float) -> tuple[str, float]:
    session = machine.extras.get("session")
    if isinstance(session, tuple) and session[1] > now:
        return session
    return "", 0.0


def _change(machine: Machine, now: float, command: str, parameter: str) -> Answer:
    """Carry out a command that needs a session: its first parameter."""
    given, _, value = parameter.partition(",")
    name, _ = _open_session(machine, now)
    if not name or given != name:
        return Answer("E", 401, "Session ID not valid")
    machine.extras["session"] = (name, now + _SESSION_S)
    if FaultKind.REFUSE in machine.faults and command != "logoff":
        return Answer("E", 403, f"{command} not allowed")
    match command:
        case "logoff":
            machine.extras.pop("session")
        case "curtail":
            return _curtail(machine, now, value)
        case "profileset":
            return _set_profile(machine, now, value)
        case "ledset":
            machine.led = value.endswith("blink")
        case "rebootdevice" | "resetminer":
            deed = Machine.reboot if command == "rebootdevice" else Machine.restart_mining
            machine.command(now, now + 1, deed)
        case "atmset":
            machine.extras["atm"] = value.lower() == "enabled=true"
        case "fanset":
            speed = value.partition("speed=")[2].partition(",")[0]
            if not is_number(speed.removeprefix("-")):
                return Answer("E", 405, "Invalid fan speed")
            share = None if int(speed) < 0 else min(100, int(speed)) / 100
            machine.command(now, now, partial(_set_fans, share))
    return Answer("S", 0, f"{command} done")


def _curtail(machine: Machine, now: float, value: str) -> Answer:
    if value not in {"sleep", "wakeup"}:
        return Answer("E", 405, "Invalid curtail mode")
    machine.command(now, now, Machine.fall_asleep if value == "sleep" else Machine.wake)
    return Answer("S", 0, "Curtail mode set", "CURTAIL", [{"Mode": value}])


def _set_profile(machine: Machine, now: float, value: str) -> Answer:
    names = [point.name for point in machine.model.points]
    if value not in names:
        return Answer("E", 405, "Invalid profile")
    machine.command(now, now, partial(_set_point, names.index(value)))
    return Answer("S", 0, "Profile set", "PROFILE", [{"Profile": value}])


def _set_point(point: int, machine: Machine, now: float) -> None:
    machine.set_point(now, point)


def _set_fans(share: float | None, machine: Machine, now: float) -> None:
    machine.set_fans(now, share)


def _change_pools(machine: Machine, now: float, command: str, parameter: str) -> Answer:
    """Change the pools at once; removing a group removes its pools."""
    if FaultKind.REFUSE in machine.faults:
        return Answer("E", 403, f"{command} not allowed")
    if FaultKind.IGNORE in machine.faults:
        return Answer("S", 0, f"{command} done")
    parts = parameter.split(",")
    match command:
        case "addpool" if len(parts) >= 3:
            machine.slots.append(Slot(parts[0], parts[1], parts[2]))
        case "removepool" if is_number(parts[0]) and int(parts[0]) < len(machine.slots):
            machine.slots.pop(int(parts[0]))
        case "removegroup":
            machine.slots.clear()
        case "addgroup" | "groupquota":
            pass
        case _:
            return Answer("E", Code.MISSING_PARAMETER, "Missing parameter")
    return Answer("S", 0, f"{command} done")
