"""Machines of other makes by firmware, for `pyasic_rs` to drive: the fields that these APIs have, the figures of
../shared/facts/fleet.md §5.3; serial numbers, addresses and pools are invented.

The library knows only the usual ports, so each machine needs a loopback address of its own.
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from support import cgminer_machine, http_machine
from support.cgminer_machine import Answer, CgminerMachine
from support.http_machine import HttpMachine, Page

UNIX_CLOCK = 1_763_000_000


def may_listen(host: str, port: int) -> bool:
    """Return whether this user may listen there now; ports below 1024 are not everybody's."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


@dataclass
class Machine:
    """One machine: what it answers on which port."""

    web: HttpMachine | None = None
    rpc: CgminerMachine | HttpMachine | None = None
    rpc_port: int = 4028
    tasks: list[str] = field(default_factory=list)

    def asked(self) -> list[str]:
        """Return everything that it was asked, on all ports."""
        asked: list[str] = []
        for port in (self.web, self.rpc):
            if port is not None:
                asked += [
                    request if isinstance(request, str) else " ".join(request) for request in port.asked
                ]
        return asked


@contextlib.asynccontextmanager
async def serving(machine: Machine, host: str) -> AsyncIterator[None]:
    """Serve a machine on its usual ports at ``host``."""
    async with contextlib.AsyncExitStack() as stack:
        if machine.web is not None:
            await stack.enter_async_context(http_machine.serving(machine.web, host, 80))
        if isinstance(machine.rpc, HttpMachine):
            await stack.enter_async_context(http_machine.serving(machine.rpc, host, machine.rpc_port))
        elif machine.rpc is not None:
            await stack.enter_async_context(cgminer_machine.serving(machine.rpc, host, machine.rpc_port))
        yield


def bitaxe() -> Machine:
    """Bitaxe Supra, AxeOS 2.4.5."""
    info = {
        "ASICModel": "BM1368", "asicCount": 1, "boardVersion": "401", "coreVoltage": 1166, "coreVoltageActual": 1160,
        "current": 2890.0, "fanrpm": 4100, "fanspeed": 60, "frequency": 490, "hashRate": 640.5, "hostname": "bitaxe",
        "isUsingFallbackStratum": 0, "macAddr": "02:aa:10:00:00:01", "overheat_mode": 0, "power": 14.9,
        "sharesAccepted": 711, "sharesRejected": 3, "smallCoreCount": 1276, "stratumPort": 3333,
        "stratumURL": "pool0.test", "stratumUser": "site.axe", "fallbackStratumPort": 3333,
        "fallbackStratumURL": "pool1.test", "fallbackStratumUser": "site.axe", "temp": 59.5, "uptimeSeconds": 7200,
        "version": "v2.4.5", "voltage": 5175, "vrTemp": 63, "bestDiff": "483k", "bestSessionDiff": "1k",
    }  # fmt: skip
    return Machine(
        web=HttpMachine(
            {
                "GET /": Page("<title>AxeOS</title>"),
                "GET /api/system/info": Page(info),
                "POST /api/system/restart": Page("restarting"),
            }
        )
    )


def luxos(*, asleep: bool = False) -> Machine:
    """S19k Pro, LuxOS 2025.4.8: 54.7 TH/s at 1080 W, or curtailed."""
    rate = 0.0 if asleep else 54_700.0
    config = {
        "CurtailMode": "Sleep" if asleep else "None", "IsPowerSupplyOn": not asleep, "MACAddr": "02:aa:20:00:00:02",
        "Model": "Antminer S19k Pro", "SerialNumber": "LUXTEST0001", "Hostname": "lux", "Profile": "290MHz",
        "RedLed": "auto", "GreenLed": "auto", "NameplateTHS": 121.8, "IsTuning": True, "SystemStatus": "Normal",
        "ControlBoardType": "cvitek", "FeeStatus": "Ok",
    }  # fmt: skip
    stats = {
        "ID": "BTM_SOC0", "Elapsed": 3453, "GHS 5s": rate, "GHS av": 53_000.0, "miner_count": 3, "fan_num": 4,
        "fan1": 1920, "fan2": 1920, "fan3": 2340, "fan4": 2340, "total_rateideal": 54_954.2,
        **{f"chain_acn{n}": 77 for n in (1, 2, 3)}, **{f"chain_rate{n}": str(rate / 3) for n in (1, 2, 3)},
    }  # fmt: skip
    answers: dict[str, Answer | bytes | None] = {
        "version": Answer(
            "VERSION",
            [{"API": "3.7", "LUXminer": "2025.4.8.220305-57b389c7", "Miner": "2025.4.8.220305", "Type": "Antminer S19k Pro"}],
            code=22,
        ),
        "config": Answer("CONFIG", [config], code=33),
        "stats": Answer("STATS", [{"Type": "Antminer S19k Pro"}, stats], code=70),
        "summary": Answer("SUMMARY", [{"Elapsed": 3453, "GHS 5s": rate, "GHS av": 53_000.0, "Accepted": 9}]),
        "power": Answer("POWER", [{"PSU": False, "Watts": 25 if asleep else 1080}], code=311),
        "fans": Answer("FANS", [{"FAN": "FAN1", "ID": 0, "RPM": 1920, "Speed": 20}], code=202),
        "temps": Answer("TEMPS", [{"ID": 0, "Board": 47.0, "Chip": 61.0}], code=201),
        "devs": Answer("DEVS", [], code=9),
        "events": Answer("EVENTS", [], code=1),
        "profiles": Answer("PROFILES", [{"Profile Name": "290MHz", "Watts": 1080, "Hashrate": 54.7}], code=1),
        "pools": Answer(
            "POOLS",
            [{"POOL": 0, "GROUP": 0, "URL": "stratum+tcp://pool0.test:3333", "User": "site.lux", "Status": "Alive",
              "Stratum Active": True, "Accepted": 9, "Rejected": 0}],
            code=7,
        ),
        "session": Answer("SESSION", [{"SessionID": "s1"}], code=316),
        "curtail s1,sleep": Answer(code=1, message="Curtail"),
        "curtail s1,wakeup": Answer(code=1, message="Curtail"),
        "rebootdevice s1": Answer(code=1, message="Reboot"),
        "ledset s1,red,blink": Answer(code=1, message="LED"),
    }  # fmt: skip
    return Machine(rpc=CgminerMachine(answers, when=UNIX_CLOCK))


def vnish(*, state: str = "mining") -> Machine:
    """S19j Pro, VNish 1.2.6: 100 TH/s at 2970 W, or stopped."""
    rate = 100_000.0 if state == "mining" else 0.0
    miner = {
        "hr_realtime": rate, "hr_average": 99_000.0, "hr_stock": 104_000.0, "power_consumption": 2970 if rate else 0,
        "cooling": {"fans": [{"id": n, "rpm": 4000 + n} for n in range(4)]},
        "chains": [{"id": n + 1, "hashrate_rt": rate / 3, "pcb_temp": {"min": 50, "max": 60},
                    "chip_temp": {"min": 60, "max": 75}} for n in range(3)],
        "pools": [{"id": 0, "url": "pool0.test:3333", "user": "site.vn", "status": "active", "accepted": 8,
                   "rejected": 1}],
        "miner_status": {"miner_state": state},
    }  # fmt: skip
    info = {
        "miner": "Antminer S19j Pro", "model": "s19jpro", "fw_name": "Vnish", "fw_version": "1.2.6",
        "system": {"network_status": {"mac": "02:AA:30:00:00:03", "hostname": "vn"}, "uptime": "1:02"},
        "serial": "VNTEST0001",
    }  # fmt: skip
    pages = {
        "GET /": Page("<title>AnthillOS</title>"),
        "GET /api/v1/info": Page(info),
        "POST /api/v1/unlock": Page({"token": "t1"}),
        "GET /api/v1/summary": Page({"miner": miner}),
        "GET /api/v1/status": Page({"miner_state": state, "find_miner": False}),
        "GET /api/v1/chains": Page([]),
        "GET /api/v1/chains/factory-info": Page({"hr_stock": 104_000.0, "psu_model": "APW12"}),
        "POST /api/v1/mining/stop": Page({"ok": True}),
        "POST /api/v1/mining/start": Page({"ok": True}),
    }
    return Machine(web=HttpMachine(pages))


def epic(*, state: str = "Mining") -> Machine:
    """S19 XP, PowerPlay 1.15: 100 TH/s at 2200 W, or stopped."""
    rate_mhs = 100_000_000.0 / 2 if state == "Mining" else 0.0
    summary = {
        "Software": "PowerPlay-BMS v1.15.2", "Hostname": "epic", "Status": {"Operating State": state, "Last Error": None},
        "Fans Rpm": {f"Fans Speed {n}": 5900 + n for n in range(1, 5)},
        "HBStatus": [{"Index": n, "Enabled": True, "Detected": True} for n in range(2)],
        "HBs": [{"Index": n, "Hashrate": [rate_mhs, 100.0, 0.8], "Temperature": 64.0, "Input Voltage": 12.6,
                 "Core Clock Avg": 480.0} for n in range(2)],
        "Power Supply Stats": {"Input Power": 2200.0 if rate_mhs else 31.0, "Target Voltage": 12600},
        "Misc": {"Locate Miner State": False, "Shutdown Temp": 85.0},
        "PerpetualTune": {"Running": False, "Algorithm": {}}, "PresetInfo": {"Target Power": 2200},
        "Session": {"Accepted": 1862, "Rejected": 2, "Uptime": 23170, "Active HBs": 2, "Average MHs": 90_000_000.0},
        "Stratum": {"Current Pool": "pool0.test:3333", "Current User": "site.ep", "IsPoolConnected": True,
                    "Config Id": 0},
        "StratumConfigs": [{"login": "site.ep", "password": "secret-of-the-pool", "pool": "stratum+tcp://pool0.test:3333"}],
        "Mining": {"Algorithm": "SHA-256", "Coin": "BTC"}, "HwConfig": {},
    }  # fmt: skip
    capabilities = {
        "Model": "AntMiner S19 XP", "Model Subtype": "BHB56801", "Board Serial Numbers": ["EP1", "EP2"],
        "Control Board Version": {"cpuHardware": "STM32", "cpuSerial": "002000353232510933360001"},
        "Default Hashrate": 143, "Max HBs": 3, "Performance Estimator": {"Chip Count": 110},
    }  # fmt: skip
    yes = Page({"result": True, "error": None})
    pages = {
        "GET /summary": Page(summary),
        "GET /capabilities": Page(capabilities),
        "GET /network": Page({"dhcp": {"mac_address": "02:AA:40:00:00:04", "address": "10.0.0.1"}}),
        "POST /miner": yes,
        "POST /reboot": yes,
        "POST /identify": Page({"result": False, "error": "busy"}),
    }
    return Machine(
        web=HttpMachine({"GET /": Page("<title>Miner Web Dashboard</title>")}), rpc=HttpMachine(pages)
    )


class WhatsMinerRpc(CgminerMachine):
    """WhatsMiner's replies put their content in Msg, beside cgminer's; writes need a token, which this one denies."""

    def reply(self, request: bytes) -> bytes | None:
        """Return the bytes that answer a request."""
        text = request.decode("latin-1").strip("\x00\r\n ")
        self.asked.append(text)
        command = (
            json.loads(text).get("command") or json.loads(text).get("cmd") if text.startswith("{") else text
        )
        content = _WHATSMINER.get(str(command))
        if content is None:
            content = {"STATUS": "E", "When": UNIX_CLOCK, "Code": 14, "Msg": "invalid cmd", "Description": ""}
        return json.dumps(content).encode()


def _told(msg: Any) -> dict[str, Any]:
    return {"STATUS": "S", "When": UNIX_CLOCK, "Code": 131, "Msg": msg, "Description": ""}


def _listed(name: str, entry: dict[str, Any]) -> dict[str, Any]:
    status = {"STATUS": "S", "When": UNIX_CLOCK, "Code": 11, "Msg": name, "Description": "cgminer 4.9.2"}
    return {"STATUS": [status], name: [entry], "id": 1}


_WHATSMINER = {
    "devdetails": _listed("DEVDETAILS", {"DEVDETAILS": 0, "Name": "SM", "ID": 0, "Driver": "bitmicro", "Model": "M50_VH60"}),
    "version": _told({"api_ver": "2.0.5", "fw_ver": "20230803.11.REL"}),
    "get_version": _told({"api_ver": "2.0.5", "fw_ver": "20230803.11.REL", "platform": "H616"}),
    "get_miner_info": _told({"hostname": "wm", "mac": "02:AA:50:00:00:05", "ledstat": "auto"}),
    "get_psu": _told({"model": "P222B", "fan_speed": "6000", "name": "P222B"}),
    "get_error_code": _told({"error_code": []}),
    "status": _told({"mineroff": "false", "FirmwareVersion": "20230803.11.REL", "power_mode": "normal"}),
    "summary": _listed("SUMMARY", {
        "Elapsed": 25000, "Uptime": 25500, "HS RT": 118_000_000.0, "MHS av": 117_000_000.0, "Factory GHS": 120_000,
        "Power": 3306, "Power Limit": 3400, "Power Mode": "Normal", "Fan Speed In": 5400, "Fan Speed Out": 5280,
        "Env Temp": 28.5, "Chip Temp Max": 81.0, "MAC": "02:AA:50:00:00:05", "Hash Stable": True,
    }),
    "pools": _listed("POOLS", {"POOL": 1, "URL": "stratum+tcp://pool0.test:3333", "User": "site.wm", "Status": "Alive",
                               "Stratum Active": True, "Accepted": 5, "Rejected": 0}),
    "devs": _listed("DEVS", {"ASC": 0, "Slot": 0, "Status": "Alive", "HS RT": 39_333_333.0, "Temperature": 60.0,
                             "Chip Temp Max": 80.0, "Effective Chips": 105}),
}  # fmt: skip


def whatsminer() -> Machine:
    """M50, firmware 20230803 (API v2): 118 TH/s at 3306 W; writing is not enabled."""
    return Machine(rpc=WhatsMinerRpc({}))


def antminer(*, work_mode: str = "0") -> Machine:
    """S19 Pro, stock firmware of December 2022: 110 TH/s, or asleep."""
    asleep = work_mode == "1"
    rate = 0.0 if asleep else 110_500.0
    conf = {
        "pools": [{"url": "stratum+tcp://pool0.test:3333", "user": "site.am", "pass": "secret-of-the-pool"}],
        "miner-mode": int(work_mode), "bitmain-work-mode": work_mode, "bitmain-fan-ctrl": False, "bitmain-fan-pwm": "100",
        "bitmain-freq-level": "100", "freq": "525",
    }  # fmt: skip
    system = {
        "minertype": "Antminer S19 Pro", "macaddr": "02:AA:60:00:00:06", "hostname": "am", "serinum": "AMTEST0001",
        "system_filesystem_version": "Tue Dec 6 16:12:30 CST 2022", "firmware_type": "Release",
    }  # fmt: skip
    summary_web = {
        "INFO": {"CompileTime": "Tue Dec  6 16:12:30 CST 2022", "miner_version": "49.0.1.3"},
        "SUMMARY": [{}],
    }
    pages = {
        "GET /cgi-bin/miner_type.cgi": Page({"miner_type": "Antminer S19 Pro"}),
        "GET /cgi-bin/get_system_info.cgi": Page(system),
        "GET /cgi-bin/summary.cgi": Page(summary_web),
        "GET /cgi-bin/get_miner_conf.cgi": Page(conf),
        "GET /cgi-bin/get_blink_status.cgi": Page({"blink": False}),
        "POST /cgi-bin/set_miner_conf.cgi": Page({"stats": "success", "code": "M000", "msg": "OK!"}),
        "POST /cgi-bin/blink.cgi": Page({"code": "B000"}),
        "GET /cgi-bin/reboot.cgi": Page("rebooting"),
    }
    stats = {
        "ID": "BTM_SOC0", "Elapsed": 50474, "GHS 5s": rate, "GHS av": 111_834.6, "miner_count": 3, "fan_num": 4,
        "fan1": 6000, "fan2": 5880, "fan3": 5040, "fan4": 5040, "total_rateideal": 110_000.0, "rate_unit": "GH",
        **{f"chain_acn{n}": 114 for n in (1, 2, 3)}, **{f"chain_rate{n}": f"{rate / 3:.2f}" for n in (1, 2, 3)},
        **{f"temp_chip{n}": "78-50-69-70" for n in (1, 2, 3)}, **{f"temp_pcb{n}": "73-45-64-65" for n in (1, 2, 3)},
    }  # fmt: skip
    answers: dict[str, Answer | bytes | None] = {
        "version": Answer("VERSION", [{"API": "3.1", "BMMiner": "1.0.0", "Miner": "49.0.1.3", "Type": "Antminer S19 Pro",
                                       "CompileTime": "Tue Dec  6 16:12:30 CST 2022"}], code=22),
        "stats": Answer("STATS", [{"Type": "Antminer S19 Pro"}, stats], code=70),
        "summary": Answer("SUMMARY", [{"Elapsed": 50474, "GHS 5s": rate, "GHS av": 111_834.8, "Accepted": 4057}]),
        "pools": Answer("POOLS", [{"POOL": 0, "URL": "stratum+tcp://pool0.test:3333", "User": "site.am", "Status": "Alive",
                                   "Stratum Active": True, "Accepted": 4057, "Rejected": 11}], code=7),
    }  # fmt: skip
    return Machine(
        web=HttpMachine(pages, digest_realm="antMiner Configuration"),
        rpc=CgminerMachine(answers, when=UNIX_CLOCK),
    )
