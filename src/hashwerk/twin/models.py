"""What is to be known of a model of machine: its points, its times, its boards. The table is `catalogue`."""

from __future__ import annotations

import itertools

import msgspec


class Point(msgspec.Struct, frozen=True):
    """One way to run: what it draws at the wall and what it hashes when it has settled at 25 °C."""

    name: str  # as the make calls it
    power_w: float
    hashrate_hs: float
    target_w: int  # what the firmware calls its target; often below the wall
    source: str


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """How long each change takes, in seconds."""

    boot_s: float  # from mains or reboot until the API answers
    init_s: float  # from there, or from waking, until the first hash
    ramp_s: float  # from the first hash to full power
    sleep_s: float  # until the power has fallen
    mode_s: float  # from one running point to another


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model with its firmware."""

    key: str
    dialect: str  # how it speaks: a key of `hashwerk.twin.dialects.DIALECTS`
    make: str
    product: str  # as the maker writes it
    type_name: str  # as its API writes it
    firmware: str
    version: str
    points: tuple[Point, ...]  # from the lowest power to the highest
    default_point: int
    idle_w: float  # asleep, at the wall
    efficiency: float  # of the power supply: DC over AC
    volts: float  # of the boards
    boards: int
    chips: int  # on each board
    core: str
    fans: int
    fan_max_rpm: int
    chip_target_c: float  # what the fans are run for
    warming_s: float = 240.0  # time constant of boards and heat sinks
    timing: Timing
    clock_from_boot: bool = False  # its clock counts from boot: no time server reached
    stays_asleep: bool = True  # whether a sleeping machine sleeps on after a power cut
    mode_needs_reboot: bool = False
    speaks_http: bool = False  # whether tools need its web server


def limited(points: tuple[Point, ...], power_w: float) -> tuple[float, float]:
    """Return power and hash rate at a limit in watts: on the straight lines between points, never outside them."""
    if power_w <= points[0].power_w:
        return points[0].power_w, points[0].hashrate_hs
    for lower, upper in itertools.pairwise(points):
        if power_w <= upper.power_w:
            share = (power_w - lower.power_w) / (upper.power_w - lower.power_w)
            return power_w, lower.hashrate_hs + share * (upper.hashrate_hs - lower.hashrate_hs)
    return points[-1].power_w, points[-1].hashrate_hs
