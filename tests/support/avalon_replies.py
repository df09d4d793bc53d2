"""Replies of Avalons by firmware, written from ../shared/facts/fleet.md §5.1: the field names, the PS layout and the figures are
those of the samples named there; serial numbers, addresses and pools are invented."""

from __future__ import annotations

from support.cgminer_machine import Answer, CgminerMachine

BOOT_CLOCK = 24_701
UNIX_CLOCK = 1_753_432_244

OK = Answer(letter="S", code=119, message="ASC 0 set OK")


def info(message: str) -> Answer:
    """Return what firmware says where it has something to say: success too."""
    return Answer(letter="I", code=118, message=f"ASC 0 set info: {message}")


def version(product: str, model: str, firmware: str, mac: str, dna: str) -> Answer:
    """Return a VERSION reply."""
    entry = {
        "CGMiner": "4.11.1",
        "API": "3.7",
        "PROD": product,
        "MODEL": model,
        "HWTYPE": f"{model}_MM1v1_X1",
        "SWTYPE": "MM319",
        "LVERSION": firmware,
        "BVERSION": firmware,
        "CGVERSION": firmware,
        "DNA": dna,
        "MAC": mac,
    }
    return Answer("VERSION", [entry], code=22, message="CGMiner versions")


def stats(key: str, fields: str) -> Answer:
    """Return an estats or litestats reply with these fields."""
    text = f"'STATS':{{{fields}}}" if key.endswith("Summary") else fields
    entry = {"STATS": 0, "ID": "AVALON0", "Elapsed": 9, "Calls": 0, "Wait": 0.0, key: text, "Nonce Mask": 25}
    pool = {"STATS": 1, "ID": "POOL0", "Elapsed": 9, "Pool Calls": 0, "Times Recv": 12}
    return Answer("STATS", [entry, pool], code=70, message="CGMiner stats")


def pools() -> Answer:
    """Return two pools, the first of them active."""
    entries = [
        {
            "POOL": slot,
            "URL": f"stratum+tcp://pool{slot}.test:3333",
            "Status": "Alive",
            "User": "site.rig7",
            "Password": "secret-of-the-pool",
            "Accepted": 890 * (1 - slot),
            "Rejected": 2 * (1 - slot),
            "Stratum Active": slot == 0,
        }
        for slot in range(2)
    ]
    return Answer("POOLS", entries, code=7, message="2 Pool(s)")


def _machine(
    version_: Answer,
    key: str,
    fields: str,
    when: int,
    options: dict[str, Answer | bytes | None],
    *,
    has_litestats: bool = False,
) -> CgminerMachine:
    answers: dict[str, Answer | bytes | None] = {"version": version_, "pools": pools(), **options}
    if has_litestats:
        answers["litestats"] = stats(key, fields)
        chips = " ".join(str(58 + n % 9) for n in range(160))
        estats = stats(key, fields)
        estats.entries[0]["HBinfo"] = f"'HB0':{{PVT_T0[ {chips}] MW0[{chips}]}}"
        answers["estats"] = estats
    else:
        answers["estats"] = stats(key, fields)
    return CgminerMachine(answers, when=when)


def a1246(fields: str | None = None) -> CgminerMachine:
    """A1246, firmware 21072802, hashing at 81 TH/s: PS of the facts, no WALLPOWER, no WORKMODE, a clock from boot."""
    chips = " ".join(str(59 + n % 19) for n in range(120))
    text = fields or (
        "Ver[1246-83-21072802_4ec6bb0_211fc46] DNA[020100001122aabb] MEMFREE[1201472.0] NETFAIL[0 0 0 0 0 0 0 0] "
        "SYSTEMSTATU[Work: In Work, Hash Board: 3 ] Elapsed[24684] BOOTBY[0x08.00000000] LW[24558724] "
        "MH[999 697 1039] HW[2735] DH[2.732%] Temp[30] TMax[77] TAvg[65] Fan1[5344] Fan2[5392] Fan3[5349] Fan4[5309] "
        "FanR[72%] Vo[329] PS[0 1214 1316 242 3189 1320 3504] GHSspd[81072.68] DHspd[2.732%] GHSmm[83923.04] "
        "GHSavg[79656.63] WU[1112790.28] Freq[502.41] Led[0] MGHS[26907.01 26025.06 26724.56] MTmax[77 77 76] "
        "MTavg[66 65 64] TA[360] Core[A3201] PING[443] SoftOFF[0] ECHU[0 0 0] ECMM[0] "
        f"PVT_T0[ {chips}] PVT_T1[ {chips}] PVT_T2[ {chips}] CRC[0 0 0] POW_I2C[OK]"
    )
    return _machine(
        version("AvalonMiner 1246-83", "1246-83", "21072802_4ec6bb0", "B4A2EB112233", "020100001122aabb"),
        "MM ID0",
        text,
        BOOT_CLOCK,
        {
            "ascset 0,workmode,255": info("WORKMODE[1]"),
            "ascset 0,hashpower": info("PS[0 1214 1316 242 3189 1320 3504]"),
            "ascset 0,workmode,0": OK,
            "ascset 0,workmode,1": OK,
            "ascset 0,softoff": OK,
            "ascset 0,reboot,0": OK,
            "ascset 0,led,1-1": OK,
            "ascset 0,led,1-0": OK,
            "ascset 0,fan-spd,80": OK,
            "ascset 0,setpool,root,root,0,stratum+tcp://one.test:3333,acct.rig7,x": OK,
            "ascset 0,setpool,root,root,1,stratum+tcp://two.test:3333,acct.rig7,x": OK,
        },
    )


def a1246_asleep() -> CgminerMachine:
    """The same after softoff: idle, the averages of the session still there."""
    return a1246(
        "Ver[1246-83-21072802_4ec6bb0_211fc46] DNA[020100001122aabb] SYSTEMSTATU[Work: In Idle, Hash Board: 3 ] "
        "Elapsed[25211] HW[2735] Temp[24] TMax[0] TAvg[0] Fan1[0] Fan2[0] Fan3[0] Fan4[0] FanR[0%] "
        "PS[0 1214 3 0 0 1320 61] GHSspd[0.00] GHSmm[83923.04] GHSavg[77012.20] Led[0] "
        "MGHS[26007.01 25125.06 25880.13] MTmax[0 0 0] SoftOFF[1] ECHU[0 0 0] ECMM[0]"
    )


def a1366() -> CgminerMachine:
    """A1366, firmware 23030901, 130 TH/s at 25 J/TH."""
    text = (
        "Ver[1366-130-23030901_9a1c7f2_0b1c2d3] DNA[020100007788ccdd] SYSTEMSTATU[Work: In Work, Hash Board: 3 ] "
        "Elapsed[86400] HW[12] Temp[28] TMax[74] TAvg[63] Fan1[4800] Fan2[4790] Fan3[4810] Fan4[4805] FanR[61%] "
        "PS[0 1210 1288 231 2975 1290 3250] GHSspd[130120.40] GHSmm[131500.00] GHSavg[129800.11] Led[1] "
        "MGHS[43270.10 43260.20 43269.81] MTmax[74 73 74] ECHU[0 0 512] ECMM[0] WORKMODE[0]"
    )
    machine = a1246(text)
    machine.answers["version"] = version(
        "AvalonMiner 1366-130", "1366-130", "23030901_9a1c7f2", "B4A2EB445566", "020100007788ccdd"
    )
    return machine


def a1566() -> CgminerMachine:
    """A1566, firmware 24102401, with WALLPOWER, 185 TH/s; its clock still counts from boot."""
    text = (
        "Ver[1566-185-24102401_25462b2_9ddf522] DNA[02010000eeff0011] SYSTEMSTATU[Work: In Work, Hash Board: 3 ] "
        "Elapsed[975] HW[0] Temp[31] TMax[78] TAvg[70] Fan1[4275] Fan2[4282] FanR[49%] "
        "PS[0 1209 1187 272 3229 1188 3420] WALLPOWER[3420] GHSspd[185199.24] GHSmm[186920.42] GHSavg[171007.00] "
        "Led[0] MGHS[56459.52 57407.83 57139.66] MTmax[77 78 77] ECHU[0 0 0] ECMM[0] WORKMODE[1]"
    )
    machine = a1246(text)
    machine.when = 986
    machine.answers["version"] = version(
        "AvalonMiner 1566-185", "1566-185", "24102401_25462b2", "B4A2EB778899", "02010000eeff0011"
    )
    return machine


_HELP = (
    "help|voltage|fan-spd|lcd|hash-sn-read|hash-sn-write|volt-tuning|workmode|worklevel|work_mode_lvl|reboot|softon|"
    "softoff|filter-clean|facopts|faclock|activate|solo-allowed|frequency|loop|password|qr_auth|time|"
)


def _home_options(when: int) -> dict[str, Answer | bytes | None]:
    return {
        "ascset 0,help": info(_HELP),
        "ascset 0,workmode,get": info("workmode 0"),
        "ascset 0,workmode,set,0": OK,
        "ascset 0,workmode,set,1": OK,
        "ascset 0,workmode,set,2": OK,
        f"ascset 0,softoff,1:{when + 5}": info(f"success softoff:{when + 5}"),
        f"ascset 0,softon,1:{when + 5}": info(f"success softon:{when + 5}"),
        "ascset 0,reboot,0": None,  # closes without a reply
        "ascset 0,fan-spd,-1": OK,
        "ascset 0,fan-spd,80": OK,
    }


def q_running() -> CgminerMachine:
    """Avalon Q, firmware 25052801, in Super mode: PS of the facts and WALLPOWER."""
    text = (
        "Ver[Q-25052801_14a19a2] LVer[25052801_14a19a2] CPU[K230] FW[Release] DNA[0201000099887766] STATE[1] "
        "SYSTEMSTATU[Work: In Work, Hash Board: 1] Elapsed[3977] BOOTBY[0x01.00000000] HW[3] DH[2.449%] ITemp[26] "
        "HBITemp[38] HBOTemp[55] TMax[79] TAvg[66] TarT[65] Fan1[1585] Fan2[1590] Fan3[1580] Fan4[1600] FanR[50%] "
        "FanErr[0] PS[0 1221 2421 66 1598 2422 1670] WALLPOWER[1674] GHSspd[90012.40] GHSmm[91032.79] "
        "GHSavg[89350.83] MGHS[89350.83] TA[160] Core[A3197S] PING[17] SoftOFF[0] ECHU[0] ECMM[0] "
        "ATA0[1600-65-2422-258-20] WORKMODE[2] WORKLEVEL[0] MPO[1600] CALIALL[7] ADJ[1] Nonce Mask[25]"
    )
    return _machine(
        _q_version(), "MM ID0:Summary", text, UNIX_CLOCK, _home_options(UNIX_CLOCK), has_litestats=True
    )


def q_standby() -> CgminerMachine:
    """Avalon Q, firmware 25052801, in standby: the reply that every open library misreads."""
    text = (
        "Ver[Q-25052801_14a19a2] LVer[25052801_14a19a2] CPU[K230] FW[Release] DNA[0201000099887766] STATE[2] "
        "SYSTEMSTATU[Work: In Idle, Hash Board: 1] Elapsed[37977] BOOTBY[0x01.00000000] HW[0] DH[2.449%] ITemp[26] "
        "HBITemp[27] HBOTemp[27] TMax[0] TAvg[0] TarT[65] Fan1[0] Fan2[0] Fan3[0] Fan4[0] FanR[0%] "
        "SoftOffTime[1753425250] SoftOnTime[1753425190] FanErr[0] PS[0 1222 4 0 0 2245 146] GHSspd[0.00] "
        "DHspd[0.000%] GHSmm[55032.79] GHSavg[44350.83] WU[619573.88] MGHS[44350.83] TA[160] Core[A3197S] PING[17] "
        "SoftOFF[4] ECHU[0] ECMM[0] ATA0[800-65-2264-258-20] WORKMODE[0] WORKLEVEL[0] MPO[800] CALIALL[7] ADJ[1] "
        "Nonce Mask[25]"
    )
    return _machine(
        _q_version(), "MM ID0:Summary", text, UNIX_CLOCK, _home_options(UNIX_CLOCK), has_litestats=True
    )


def _q_version() -> Answer:
    return version("Avalon Q", "Q", "25052801_14a19a2", "AA:BB:CC:DD:EE:01", "0201000099887766")


def nano_3s() -> CgminerMachine:
    """Avalon Nano 3S, firmware 25021401: an absent inlet sensor, PS without DC, 6.6 TH/s at 133 W."""
    text = (
        "Ver[Nano3s-25021401_56abae7] LVer[25021401_56abae7] FW[Release] LED[0-0] DNA[02010000aabb1122] "
        "SYSTEMSTATU[Work: In Work, Hash Board: 1] Elapsed[10027] BOOTBY[0x01.00000000] HW[0] ITemp[-273] OTemp[65] "
        "TMax[95] TAvg[90] TarT[90] Fan1[1520] FanR[33%] PS[0 0 27541 4 0 3756 133] GHSspd[6598.84] GHSmm[6783.65] "
        "GHSavg[6695.18] MGHS[6695.18] MTmax[95] TA[12] SoftOFF[0] ECHU[0] ECMM[0] "
        "PVT_T0[ 85  91  91  91  91  90  85  86  95  95  91  87] WORKMODE[2] WORKLEVEL[0] MPO[140]"
    )
    made = version("Avalon Nano3s", "Nano3s", "25021401_56abae7", "e0:e1:a9:11:22:33", "02010000aabb1122")
    return _machine(made, "MM ID0", text, UNIX_CLOCK, _home_options(UNIX_CLOCK))


def mini_3() -> CgminerMachine:
    """Avalon Mini 3, firmware 25021401, heating at 800 W."""
    text = (
        "Ver[Mini3-25021401_56abae7] CPU[K230] FW[Release] DNA[02010000ccdd3344] STATE[1] "
        "SYSTEMSTATU[Work: In Work, Hash Board: 1] Elapsed[7200] HW[1] ITemp[21] OTemp[58] TMax[88] TAvg[80] "
        "TarT[24] Fan1[1410] FanR[40%] FanErr[0] PS[0 1220 1902 40 760 1904 803] WALLPOWER[812] GHSspd[37480.10] "
        "GHSmm[38012.00] GHSavg[36990.01] MGHS[36990.01] TA[96] SoftOFF[0] ECHU[0] ECMM[0] WORKMODE[0] "
        "WORKLEVEL[0] MPO[800]"
    )
    made = version("Avalon Mini3", "Mini3", "25021401_56abae7", "e0:e1:a9:44:55:66", "02010000ccdd3344")
    return _machine(made, "MM ID0:Summary", text, UNIX_CLOCK, _home_options(UNIX_CLOCK), has_litestats=True)
