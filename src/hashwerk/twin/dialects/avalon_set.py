"""Canaan's ``ascset``: the commands of the A series as its manual has them, and those of Nano 3S, Mini 3 and Q.

The two differ in the same words: ``workmode,1`` is an unknown argument to a Q, which wants ``workmode,set,1``. Both
answers that mean success are here, S/119 and I/118, each where real firmware gives it.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from hashwerk.twin.cgminer import Answer, Code, Silence, is_number
from hashwerk.twin.dialects.avalon_stats import Layout, View
from hashwerk.twin.faults import FaultKind
from hashwerk.twin.machine import Machine, Slot
from hashwerk.twin.physics import Phase

_OPTIONS_Q: Final = (
    "help|voltage|fan-spd|lcd|hash-sn-read|hash-sn-write|volt-tuning|workmode|worklevel|work_mode_lvl|reboot|softon|"
    "softoff|filter-clean|facopts|faclock|activate|solo-allowed|frequency|loop|password|qr_auth|time|"
)
_OPTIONS_NANO: Final = (
    "help|voltage|fan-spd|led|lcd|workmode|worklevel|work_mode_lvl|reboot|softon|softoff|setpool|frequency|"
    "password|time|"
)
_POOL_SLOTS: Final = 3
_QUERY: Final = "255"


def _ok() -> Answer:
    return Answer("S", Code.ASC_OK, "ASC 0 set OK")


def _info(text: str) -> Answer:
    return Answer("I", Code.ASC_INFO, f"ASC 0 set info: {text}")


def _failed(text: str) -> Answer:
    return Answer("E", Code.ASC_ERROR, f"ASC 0 set failed: {text}")


def set_asc(machine: Machine, layout: Layout, parameter: str, now: float) -> Answer | Silence:
    """Carry out ``ascset`` with its parameter ``0,option[,value…]``."""
    device, _, rest = parameter.partition(",")
    if not rest:
        return Answer("E", Code.MISSING_PARAMETER, "Missing parameter")
    if device != "0":
        return Answer("E", 107, f"Invalid ASC id {device} - range is 0 - 0")
    option, _, value = rest.partition(",")
    reads = value in {"", "get", _QUERY, f"1-{_QUERY}"} and option not in {"softoff", "softon"}
    if FaultKind.REFUSE in machine.faults and not reads and option != "help":
        return _failed(f"{option} not allowed")
    if layout is Layout.A:
        return _set_a(machine, option, value, now)
    return _set_home(machine, layout, option, value, now)


def _set_a(machine: Machine, option: str, value: str, now: float) -> Answer | Silence:
    match option:
        case "workmode":
            return _workmode_a(machine, value, now)
        case "hashpower":
            if value == "0":
                machine.command(now, now, Machine.fall_asleep)
                return _info("Power off hash now ...")
            return (
                _info(f"PS[{View(machine, now).supply()}]")
                if not value
                else _failed("hashpower unknown argument")
            )
        case "setpool":
            return _setpool(machine, value, now)
        case "softon" if machine.model.clock_from_boot:
            return _failed("Unknown option: softon")  # the older ones wake by reboot only
        case _:
            return _set_common(machine, Layout.A, option, value, now)


def _workmode_a(machine: Machine, value: str, now: float) -> Answer:
    shown = machine.point if machine.wanted_point is None else machine.wanted_point
    if value in {"", _QUERY}:
        return _info(f"WORKMODE[{shown}]")
    if not is_number(value) or int(value) >= len(machine.model.points):
        return _failed("workmode unknown argument")
    machine.command(now, now, partial(_set_point, int(value)))
    return _info(f"WORKMODE[{value}]")


def _set_home(machine: Machine, layout: Layout, option: str, value: str, now: float) -> Answer | Silence:
    match option:
        case "help":
            return _info(_OPTIONS_Q if layout is Layout.Q else _OPTIONS_NANO)
        case "workmode":
            return _workmode_home(machine, value, now)
        case "worklevel":
            if value == "get":
                return _info("worklevel 0")
            return _ok() if value == "set,0" else _failed("worklevel unknown argument")
        case "work_mode_lvl" if value == "get":
            return _info(f"workmode {machine.point} worklevel 0")
        case "loop" if value == "get":
            return _info(f"LOOP[{machine.model.chips} ]")
        case "setpool" | "led" if layout is Layout.Q:
            return _failed(f"Unknown option: {option}")
        case "setpool":
            return _setpool(machine, value, now)
        case _:
            return _set_common(machine, layout, option, value, now)


def _workmode_home(machine: Machine, value: str, now: float) -> Answer:
    verb, _, wanted = value.partition(",")
    if verb == "get":
        return _info(f"workmode {machine.point if machine.wanted_point is None else machine.wanted_point}")
    if verb != "set" or not is_number(wanted):
        return _failed("workmode unknown argument" if verb != "set" else "missing workmode setting")
    if int(wanted) >= len(machine.model.points):
        return _failed("workmode out of range")
    if machine.phase(now) is Phase.STARTING:
        return _failed("calibrating")
    machine.command(now, now, partial(_set_point, int(wanted)))
    return _ok()


def _set_point(point: int, machine: Machine, now: float) -> None:
    machine.set_point(now, point)


def _set_common(machine: Machine, layout: Layout, option: str, value: str, now: float) -> Answer | Silence:
    match option:
        case "softoff" | "softon":
            return _soft_power(machine, layout, option, value, now)
        case "reboot" if is_number(value):
            machine.command(now, now + 1, Machine.reboot)
            return _ok()
        case "fan-spd":
            return _fan(machine, value.removeprefix("set,"), now)
        case "led":
            return _led(machine, value)
        case "reboot":
            return _failed("missing reboot setting")
        case _:
            return _failed(f"Unknown option: {option}")


def _soft_power(machine: Machine, layout: Layout, option: str, value: str, now: float) -> Answer | Silence:
    """Sleep or wake, at once or when the machine's own clock reaches a time."""
    deed = Machine.fall_asleep if option == "softoff" else Machine.wake
    if not value:
        machine.command(now, now, deed)
        return _ok()
    index, _, time = value.partition(":")
    if index != "1" or not is_number(time):
        return _failed(f"{option} unknown argument")
    # A clock that counts from boot reaches a Unix time in fifty years: accepted, and nothing happens.
    machine.command(now, machine.unix_time(int(time)), deed)
    if layout is Layout.Q:
        return _info(f"success {option}:{time}")
    return Silence() if layout is Layout.NANO and option == "softon" else _ok()


def _fan(machine: Machine, value: str, now: float) -> Answer:
    """Set a fixed speed in percent, a range (its upper end counts here), or -1 for the firmware's own control."""
    if value == "-1":
        machine.command(now, now, partial(_set_fans, None))
        return _ok()
    wanted = value.partition("..")[2] or value
    if not is_number(wanted) or not 15 <= int(wanted) <= 100:
        return _failed("No value passed to avalon-fan" if not value else "fan-spd unknown argument")
    machine.command(now, now, partial(_set_fans, None if ".." in value else int(wanted) / 100))
    return _ok()


def _set_fans(share: float | None, machine: Machine, now: float) -> None:
    machine.set_fans(now, share)


def _led(machine: Machine, value: str) -> Answer:
    if value == f"1-{_QUERY}":
        return _info(f"LED[{int(machine.led)}]")
    if value not in {"1-0", "1-1"}:
        return _failed("led unknown argument")
    if FaultKind.IGNORE not in machine.faults:
        machine.led = value == "1-1"
    return _ok()


def _setpool(machine: Machine, value: str, now: float) -> Answer:
    """Write a pool: user, password, [slot,] URL, worker, its password. In force after the next reboot."""
    parts = value.split(",")
    slot = int(parts.pop(2)) if len(parts) == 6 and is_number(parts[2]) else 0
    if len(parts) != 5 or slot >= _POOL_SLOTS or "://" not in parts[2]:
        return _failed("setpool unknown argument")
    _, _, url, worker, password = parts
    machine.command(now, now, partial(write_pool, slot, Slot(url, worker, password)))
    return _info(f"pool success set to {url} worker is {worker} Please reboot miner to make config work.")


def write_pool(index: int, slot: Slot, machine: Machine, now: float) -> None:
    """Keep a pool for the next reboot."""
    slots = list(machine.slots) if machine.next_slots is None else machine.next_slots
    machine.next_slots = [*slots[:index], slot, *slots[index + 1 :]]
