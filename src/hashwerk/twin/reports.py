"""The tables that every cgminer has: summary, devs, pools, config and the like, as rows of one machine."""

from __future__ import annotations

from typing import Final

from hashwerk.twin.cgminer import Answer, Code, Row, invalid_command, is_number
from hashwerk.twin.machine import Machine

_WORK_OF_DIFFICULTY_1: Final = 2.0**32


def rates_mhs(machine: Machine, now: float) -> dict[str, float]:
    """Return the averages in MH/s as cgminer has them; the one since start goes stale when the machine sleeps."""
    plant = machine.state(now)
    elapsed_s = max(1.0, now - machine.booted_at)
    names = ("MHS 5s", "MHS 1m", "MHS 5m", "MHS 15m")
    noise = 1 + 0.01 * machine.wiggle(now, 1)
    found = {name: round(rate * noise / 1e6, 2) for name, rate in zip(names, plant.averages_hs, strict=True)}
    return {"MHS av": round(machine.hashes_since_boot(now) / elapsed_s / 1e6, 2), **found}


def _shares(machine: Machine) -> dict[str, float | int]:
    accepted = sum(slot.accepted for slot in machine.slots)
    rejected = sum(slot.rejected for slot in machine.slots)
    return {
        "Accepted": accepted,
        "Rejected": rejected,
        "Difficulty Accepted": sum(slot.accepted_difficulty for slot in machine.slots),
        "Difficulty Rejected": sum(slot.rejected_difficulty for slot in machine.slots),
        "Difficulty Stale": 0.0,
        "Last Share Time": int(max((slot.last_share_at for slot in machine.slots), default=0)),
        "Last Share Difficulty": max((slot.difficulty for slot in machine.slots), default=0.0),
        "Rejected%": round(100 * rejected / max(1, accepted + rejected), 4),
    }


def summary_row(machine: Machine, now: float) -> Row:
    """Return the one row of ``summary``."""
    shares = _shares(machine)
    elapsed_s = max(1, int(now - machine.booted_at))
    hashes = machine.hashes_since_boot(now)
    return {
        "Elapsed": elapsed_s,
        **rates_mhs(machine, now),
        "Found Blocks": 0,
        "Getworks": elapsed_s // 60,
        "Accepted": shares["Accepted"],
        "Rejected": shares["Rejected"],
        "Hardware Errors": 0,
        "Utility": round(60 * shares["Accepted"] / elapsed_s, 2),
        "Discarded": 0,
        "Stale": 0,
        "Get Failures": 0,
        "Local Work": elapsed_s * 5,
        "Remote Failures": 0,
        "Network Blocks": elapsed_s // 600,
        "Total MH": round(hashes / 1e6, 4),
        "Work Utility": round(60 * hashes / _WORK_OF_DIFFICULTY_1 / elapsed_s, 2),
        "Difficulty Accepted": shares["Difficulty Accepted"],
        "Difficulty Rejected": shares["Difficulty Rejected"],
        "Difficulty Stale": 0.0,
        "Best Share": int(machine.best_difficulty),
        "Device Hardware%": 0.0,
        "Device Rejected%": shares["Rejected%"],
        "Pool Rejected%": shares["Rejected%"],
        "Pool Stale%": 0.0,
        "Last getwork": 0,
    }


def device_row(machine: Machine, now: float, name: str) -> Row:
    """Return the row of ``devs``: a machine's boards are one device to its cgminer."""
    shares = _shares(machine)
    return {
        "ASC": 0,
        "Name": name,
        "ID": 0,
        "Enabled": "Y",
        "Status": "Alive",
        "Temperature": round(machine.state(now).board_c, 2),
        **rates_mhs(machine, now),
        "Accepted": shares["Accepted"],
        "Rejected": shares["Rejected"],
        "Hardware Errors": 0,
        "Last Share Pool": 0,
        "Last Share Time": shares["Last Share Time"],
        "Last Share Difficulty": shares["Last Share Difficulty"],
        "Difficulty Accepted": shares["Difficulty Accepted"],
        "Difficulty Rejected": shares["Difficulty Rejected"],
        "Device Hardware%": 0.0,
        "Device Rejected%": shares["Rejected%"],
        "Device Elapsed": int(now - machine.booted_at),
    }


def pool_rows(machine: Machine) -> list[Row]:
    """Return the rows of ``pools``. Old firmware shows the password; this one does not."""
    return [
        {
            "POOL": index,
            "URL": slot.url,
            "Status": "Alive" if slot.connected else "Dead",
            "Priority": index,
            "Quota": 1,
            "Long Poll": "N",
            "Getworks": 0,
            "Accepted": slot.accepted,
            "Rejected": slot.rejected,
            "Works": slot.accepted + slot.rejected,
            "Discarded": 0,
            "Stale": 0,
            "Get Failures": 0,
            "Remote Failures": 0,
            "User": slot.user,
            "Last Share Time": int(slot.last_share_at),
            "Diff1 Shares": int(slot.accepted_difficulty),
            "Proxy Type": "",
            "Proxy": "",
            "Difficulty Accepted": slot.accepted_difficulty,
            "Difficulty Rejected": slot.rejected_difficulty,
            "Difficulty Stale": 0.0,
            "Last Share Difficulty": slot.difficulty,
            "Work Difficulty": slot.difficulty,
            "Has Stratum": True,
            "Stratum Active": slot.connected,
            "Stratum URL": slot.url if slot.connected else "",
            "Stratum Difficulty": slot.difficulty,
            "Has Vmask": True,
            "Has GBT": False,
            "Best Share": int(machine.best_difficulty),
            "Pool Rejected%": round(100 * slot.rejected / max(1, slot.accepted + slot.rejected), 4),
            "Pool Stale%": 0.0,
            "Bad Work": 0,
        }
        for index, slot in enumerate(machine.slots)
    ]


def common_answer(machine: Machine, command: str, parameter: str, now: float, name: str) -> Answer:
    """Answer the commands that every cgminer answers alike; ``name`` is the driver's, as in AVALON."""
    match command:
        case "summary":
            return Answer("S", Code.SUMMARY, "Summary", "SUMMARY", [summary_row(machine, now)])
        case "devs":
            return Answer("S", Code.DEVS, "1 ASC(s)", "DEVS", [device_row(machine, now, name)])
        case "pools":
            rows = pool_rows(machine)
            return Answer("S", Code.POOL, f"{len(rows)} Pool(s)", "POOLS", rows)
        case "devdetails":
            details: Row = {
                "DEVDETAILS": 0,
                "Name": name,
                "ID": 0,
                "Driver": name.lower(),
                "Kernel": "",
                "Model": "",
                "Device Path": "",
            }
            return Answer("S", Code.DEVDETAILS, "Device Details", "DEVDETAILS", [details])
        case "config":
            config: Row = {
                "ASC Count": 1,
                "PGA Count": 0,
                "Pool Count": len(machine.slots),
                "Strategy": "Failover",
                "Log Interval": 5,
                "Device Code": name,
                "OS": "Linux",
                "Hotplug": "None",
            }
            return Answer("S", Code.CONFIG, "CGMiner config", "CONFIG", [config])
        case "coin":
            coin: Row = {"Hash Method": "sha256", "LP": True, "Network Difficulty": 0.0}
            return Answer("S", Code.COIN, "CGMiner coin", "COIN", [coin])
        case "check":
            known = "Y" if parameter in {"summary", "devs", "pools", "version", "stats", "ascset"} else "N"
            return Answer("S", Code.CHECK, "Check command", "CHECK", [{"Exists": known, "Access": known}])
        case "switchpool":
            return _switch_pool(machine, parameter)
        case _:
            return invalid_command()


def _switch_pool(machine: Machine, parameter: str) -> Answer:
    """Put a pool first, as cgminer does."""
    if not is_number(parameter) or int(parameter) >= len(machine.slots):
        return Answer("E", Code.MISSING_ID, "Invalid pool id")
    slot = machine.slots.pop(int(parameter))
    machine.slots.insert(0, slot)
    return Answer("S", Code.SWITCHED_POOL, f"Switching to pool {parameter}:'{slot.url}'")
