"""What a LuxOS machine tells, command by command."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from hashwerk.twin.cgminer import Code, Row
from hashwerk.twin.machine import Machine
from hashwerk.twin.physics import Phase, Plant
from hashwerk.twin.reports import pool_rows, summary_row

_CHAINS: Final = 4


def _version(machine: Machine, now: float) -> Sequence[Row]:
    version = machine.model.version
    return [
        {
            "API": "3.7",
            "CompileTime": "Tue Apr  8 22:05:35 UTC 2025",
            "LUXminer": f"{version}-57b389c7",
            "Miner": version,
            "Type": machine.model.type_name,
        }
    ]


def _config(machine: Machine, now: float) -> Sequence[Row]:
    phase = machine.phase(now)
    asleep = phase in (Phase.ASLEEP, Phase.FALLING)
    identity = machine.identity
    return [
        {
            "ASC Count": machine.model.boards,
            "ControlBoardType": "cvitek",
            "Cooling": "Air",
            "CurtailMode": "Sleep" if machine.asleep else "None",
            "DHCP": True,
            "Hostname": identity.name,
            "IPAddr": machine.host,
            "IsAtmEnabled": bool(machine.extras.get("atm", True)),
            "IsPowerSupplyOn": not asleep,
            "IsTuning": phase is Phase.STARTING,
            "MACAddr": ":".join(identity.mac[at : at + 2] for at in range(0, 12, 2)),
            "Model": machine.model.type_name,
            "NameplateTHS": machine.model.points[machine.model.default_point].hashrate_hs / 1e12,
            "OS": "LuxOS",
            "PGA Count": 0,
            "PSULabel": "APW121215e",
            "Pool Count": len(machine.slots),
            "Profile": machine.model.points[machine.point].name,
            "RedLed": "blink" if machine.led else "auto",
            "GreenLed": "auto",
            "SerialNumber": identity.serial,
            "Strategy": "Failover",
            "SystemStatus": "Sleep" if machine.asleep else "Normal",
        }
    ]


def _summary(machine: Machine, now: float) -> Sequence[Row]:
    row = dict(summary_row(machine, now))
    for name in [name for name in row if name.startswith("MHS")]:
        row[name.replace("MHS", "GHS")] = round(float(row.pop(name)) / 1e3, 2)
    return [row]


def _board_rates(machine: Machine, plant: Plant, now: float) -> list[float]:
    rate_ghs = plant.hashrate_hs(now) / 1e9 * (1 + 0.01 * machine.wiggle(now, 2))
    return [rate_ghs * share for share in machine.board_shares()]


def _stats(machine: Machine, now: float) -> Sequence[Row]:
    plant, model = machine.state(now), machine.model
    rates, temperature = _board_rates(machine, plant, now), round(plant.board_c)
    inlet, frequency = round(plant.inlet_c + 9), 500
    fan_rpm = round(plant.fan_share(now) * model.fan_max_rpm)
    row: dict[str, str | int | float] = {
        "STATS": 0,
        "ID": "BTM_SOC0",
        "Elapsed": int(now - machine.booted_at),
        "Calls": 0,
        "GHS 5s": round(sum(rates), 2),
        "GHS av": round(machine.hashes_since_boot(now) / max(1.0, now - machine.booted_at) / 1e9, 2),
        "Mode": 2,
        "miner_count": model.boards,
        "frequency": frequency,
        "fan_num": model.fans,
    }
    row |= {f"fan{fan + 1}": fan_rpm for fan in range(model.fans)}
    for chain in range(_CHAINS):
        there = chain < model.boards and machine.board_shares()[chain] > 0
        chips = model.chips if there else 0
        corners = f"{temperature}-{inlet}-{inlet}-{temperature}" if there else "0-0-0-0"
        row |= {
            f"chain_acn{chain + 1}": chips,
            f"chain_rate{chain + 1}": f"{rates[chain]:.2f}" if chain < model.boards else "0",
            f"chain_hw{chain + 1}": 0,
            f"freq{chain + 1}": frequency if there else 0,
            f"temp_chip{chain + 1}": corners,
            f"temp_pcb{chain + 1}": corners,
        }
    row["total_rateideal"] = round(machine.goal(machine.point).hashrate_hs / 1e9, 2)
    return [
        {"Miner": model.version, "Type": model.type_name, "CompileTime": "Tue Apr  8 22:05:35 UTC 2025"},
        row,
    ]


def _devs(machine: Machine, now: float) -> Sequence[Row]:
    plant, model = machine.state(now), machine.model
    nominal_mhs = machine.goal(machine.point).hashrate_hs / 1e6 / model.boards
    goal_w = machine.goal(machine.point).power_w
    ramping = plant.phase(now) is Phase.STARTING or plant.power_w(now) < 0.98 * goal_w
    return [
        {
            "ASC": board,
            "ID": board,
            "Name": "",
            "Enabled": "Y",
            "Status": "Alive" if machine.board_shares()[board] else "Dead",
            "Temperature": round(plant.board_c, 1),
            "MHS 5s": rate * 1e3,
            "MHS av": plant.averages_hs[2] / 1e6 * machine.board_shares()[board],
            "Nominal MHS": nominal_mhs,
            "Profile": model.points[machine.point].name,
            "IsRamping": ramping and not machine.asleep,
            "IsUserShutdown": machine.asleep,
            "Hardware Errors": 0,
            "SerialNumber": f"{machine.identity.serial}{board}",
        }
        for board, rate in enumerate(_board_rates(machine, plant, now))
    ]


def _fans(machine: Machine, now: float) -> Sequence[Row]:
    share = machine.state(now).fan_share(now)
    rpm = round(share * machine.model.fan_max_rpm)
    return [
        {"FAN": f"FAN{fan + 1}", "ID": fan, "RPM": rpm, "Speed": round(100 * share)}
        for fan in range(machine.model.fans)
    ]


def _temps(machine: Machine, now: float) -> Sequence[Row]:
    plant = machine.state(now)
    hot, cool = round(plant.board_c, 1), round(plant.inlet_c + 9, 1)
    return [
        {"TEMP": board, "ID": board, "TopLeft": hot, "BottomLeft": hot, "TopRight": cool, "BottomRight": cool}
        for board in range(machine.model.boards)
    ]


def _power(machine: Machine, now: float) -> Sequence[Row]:
    return [{"PSU": False, "Watts": round(machine.reported_power_w(now))}]


def _profiles(machine: Machine, now: float) -> Sequence[Row]:
    default = machine.model.default_point
    return [
        {
            "Profile Name": point.name,
            "Frequency": int(point.name.removesuffix("MHz")),
            "Hashrate": round(point.hashrate_hs / 1e12, 1),
            "Watts": point.target_w,
            "Voltage": machine.model.volts,
            "Step": str(index - default),
            "IsDynamic": True,
            "IsTuned": index == machine.point,
        }
        for index, point in enumerate(machine.model.points)
    ]


def _groups(machine: Machine, now: float) -> Sequence[Row]:
    return [{"GROUP": 0, "Name": "default", "Quota": 1}]


def _pools(machine: Machine, now: float) -> Sequence[Row]:
    return [{**row, "GROUP": 0} for row in pool_rows(machine)]


def _atm(machine: Machine, now: float) -> Sequence[Row]:
    return [{"Enabled": bool(machine.extras.get("atm", True))}]


def _temperature_control(machine: Machine, now: float) -> Sequence[Row]:
    target = round(machine.model.chip_target_c)
    mode = "Automatic" if machine.plant.fan_override is None else "Manual"
    return [{"Mode": mode, "Target": target, "Hot": target + 10, "Dangerous": target + 20}]


def _none(machine: Machine, now: float) -> Sequence[Row]:
    return []


_Make = Callable[[Machine, float], Sequence[Row]]
TABLES: Final[dict[str, tuple[int, str, str, _Make]]] = {
    "version": (Code.VERSION, "LUXminer versions", "VERSION", _version),
    "config": (Code.CONFIG, "LUXminer config", "CONFIG", _config),
    "summary": (Code.SUMMARY, "Summary", "SUMMARY", _summary),
    "stats": (Code.STATS, "LUXminer stats", "STATS", _stats),
    "devs": (Code.DEVS, "3 ASC(s)", "DEVS", _devs),
    "fans": (202, "4 Fan(s)", "FANS", _fans),
    "temps": (201, "3 Temp(s)", "TEMPS", _temps),
    "power": (311, "Power usage", "POWER", _power),
    "profiles": (321, "Profiles", "PROFILES", _profiles),
    "pools": (Code.POOL, "Pools", "POOLS", _pools),
    "groups": (210, "1 Group(s)", "GROUPS", _groups),
    "events": (357, "Miner Events", "EVENTS", _none),
    "atm": (339, "ATM", "ATM", _atm),
    "tempctrl": (200, "Temperature control", "TEMPCTRL", _temperature_control),
}


MORE: Final[dict[str, dict[str, list[dict[str, object]]]]] = {
    "fans": {"FANCTRL": [{"MinFans": 3, "PowerOffSpeed": 20}]},
    "temps": {
        "METADATA": [
            {
                "TopLeft": {"Label": "Board Exhaust (top)", "Position": [0, 0]},
                "BottomLeft": {"Label": "Board Exhaust (bottom)", "Position": [1, 0]},
                "TopRight": {"Label": "Board Intake (top)", "Position": [0, 1]},
                "BottomRight": {"Label": "Board Intake (bottom)", "Position": [1, 1]},
            }
        ]
    },
}
