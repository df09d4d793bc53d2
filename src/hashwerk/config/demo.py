"""The built-in demonstration: what `hashwerk run` does without a site file. One readable place for all of it.

Real: the node's consensus rules, the work, the shares, the blocks, the protocols, the commands. Simulated, and said so wherever
it shows: the machines and their meters. Power, heat and times are full size; the hash rate is one over `SCALE`.
"""

from __future__ import annotations

from typing import Final

import msgspec

from hashwerk.config.demo_energy import demo_dispatch, demo_feeds
from hashwerk.config.site import PayoutSettings, SiteConfig
from hashwerk.fleet.place import Place, Placement, write_places
from hashwerk.fleet.settings import FleetSettings, LimitSettings
from hashwerk.meters.settings import MeterSettings, ModbusTcpMeter
from hashwerk.twin.furnish import furnish
from hashwerk.twin.settings import HallSettings

#: Where a demonstration hall may stand: the first of these whose addresses are free. `hashwerk twin` begins at 127.1.0.1.
BASES: Final = tuple(f"127.80.{block}.1" for block in range(32))
#: Hash rate of a real machine over that of its twin. All of them together then hash some 11 MH/s, which takes a seventh of a
#: core with wide vectors and a third to a half with narrow ones.
SCALE: Final = 2e8
#: Apart from the account of the miner on this computer, whose hashes stand for themselves.
ACCOUNT: Final = "hall"
HALL: Final = "Demo"
#: Machines in a row, as they stand on the page of the hall.
_ROW: Final = 8


def demo_hall() -> HallSettings:
    """Return the hall of the demonstration, before its addresses are known."""
    return HallSettings(
        machines=24,
        models=("avalon-q", "avalon-q", "luxos-s19kpro", "avalon-q", "avalon-q", "whatsminer-m50s"),
        base=BASES[0],
        http_port=0,  # port 80 needs rights that not everybody has, and none of these models needs it
        meter_port=5020,
        user=ACCOUNT,
        scale=SCALE,
        share_interval_s=5.0,
        ambient_c=24.0,
        ambient_swing_c=5.0,
        per_breaker=6,
        breakers_per_feeder=2,
    )


def demo_site(config: SiteConfig, hall: HallSettings, places: str | None) -> SiteConfig:
    """Return a configuration with the demonstration's hall, its fleet and its meters.

    Args:
        config: What the command line said.
        hall: The hall with addresses that are free.
        places: The file of `demo_places`.
    """
    last = hall.address(hall.machines - 1)
    return msgspec.structs.replace(
        config,
        twin=hall,
        fleet=FleetSettings(
            ranges=(f"{hall.base}-{last}",),  # nothing is ever sent to another address
            control=True,
            poll_s=3.0,
            timeout_s=4.0,
            scan_s=30.0,
            share_scale=hall.scale,
            places=places,
            limits=LimitSettings(wave_s=3.0, verify_s=20.0, settle_s=5.0),
        ),
        meter=demo_meters(hall),
        feed=demo_feeds(),
        dispatch=demo_dispatch(),
        evidence=msgspec.structs.replace(
            config.evidence, payout=config.evidence.payout or PayoutSettings(scheme="tides")
        ),
    )


def demo_meters(hall: HallSettings) -> tuple[MeterSettings, ...]:
    """Return the meters in front of a hall: one of the site, and one of each feeder."""
    if hall.meter_port is None:
        return ()
    breakers = -(-hall.machines // hall.per_breaker)
    feeders = -(-breakers // hall.breakers_per_feeder)
    scopes = ["site", *(f"feeder:F{number}" for number in range(1, feeders + 1))]
    return tuple(
        ModbusTcpMeter(
            name="simulated main meter" if scope == "site" else f"simulated meter of {scope[7:]}",
            scope=scope,
            host=hall.base,
            port=hall.meter_port + number,
            map="schneider-iem3155",
            interval_s=60,  # so that a stranger sees energy in evidence within minutes
            max_power_w=10_000.0 * hall.machines,
            gap_s=30.0,
        )
        for number, scope in enumerate(scopes)
    )


def demo_places(hall: HallSettings) -> str:
    """Return the list of places of a hall's machines, as CSV."""
    return write_places(
        Placement(
            mac=machine.identity.mac,
            place=Place(
                hall=HALL,
                row=str(machine.identity.index // _ROW + 1),
                shelf=str(machine.identity.index % _ROW + 1),
                breaker=machine.identity.breaker,
                feeder=machine.identity.feeder,
            ),
            owner=ACCOUNT,
        )
        for machine in furnish(hall, now=0.0, inlet_c=hall.ambient_c)
    )
