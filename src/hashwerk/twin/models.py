"""The machines that the twin knows: an explicit table of facts about each model and firmware.

Power is at the wall. Every point names its source: "evcc" and "firmware" are figures read at real machines,
"nameplate" is what the maker promises, "assumed" is our own guess where nothing better is known. How long a machine
takes to start and to fall asleep is known for very few; the rest is assumed, and said so in docs/guide/twin.md.
"""

from __future__ import annotations

from typing import Final

import msgspec

from hashwerk.errors import ConfigError


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


_TH: Final = 1e12

_Q: Final = (
    Point("Eco", 843, 54.2 * _TH, 800, "evcc"),
    Point("Standard", 1403, 80.7 * _TH, 1300, "evcc"),
    Point("Super", 1674, 90.0 * _TH, 1600, "evcc"),
)

_AVALON_A_TIMING: Final = Timing(boot_s=45, init_s=60, ramp_s=120, sleep_s=6, mode_s=60)

_MODELS: Final = (
    Model(
        key="avalon-q",
        dialect="avalon-q",
        make="avalon",
        product="Avalon Q",
        type_name="Q",
        firmware="stock",
        version="25052801_14a19a2",
        points=_Q,
        default_point=1,
        idle_w=146,  # the one recorded sample; unverified
        efficiency=0.957,
        volts=24.2,
        boards=1,
        chips=160,
        core="A3197S",
        fans=4,
        fan_max_rpm=4000,
        chip_target_c=65,
        # 229 s from the command to the first answer after a reboot were observed once.
        timing=Timing(boot_s=229, init_s=60, ramp_s=90, sleep_s=5, mode_s=45),
        stays_asleep=False,
    ),
    Model(
        key="avalon-nano3s",
        dialect="avalon-nano",
        make="avalon",
        product="Avalon Nano3s",
        type_name="Nano3s",
        firmware="stock",
        version="25021401_56abae7",
        points=(
            Point("Low", 70, 3.3 * _TH, 66, "assumed"),
            Point("Medium", 105, 4.8 * _TH, 100, "assumed"),
            Point("High", 140, 6.0 * _TH, 133, "nameplate"),
        ),
        default_point=2,
        idle_w=8,
        efficiency=0.93,
        volts=27.5,
        boards=1,
        chips=12,
        core="A3197S",
        fans=1,
        fan_max_rpm=4600,
        chip_target_c=90,
        warming_s=120,
        timing=Timing(boot_s=30, init_s=40, ramp_s=60, sleep_s=4, mode_s=30),
        stays_asleep=False,
    ),
    Model(
        key="avalon-mini3",
        dialect="avalon-q",
        make="avalon",
        product="Avalon Mini3",
        type_name="Mini3",
        firmware="stock",
        version="25031301_e44f7a1",
        points=(
            Point("Heater", 520, 26.0 * _TH, 500, "assumed"),
            Point("Mining", 800, 37.5 * _TH, 760, "nameplate"),
        ),
        default_point=1,
        idle_w=12,
        efficiency=0.94,
        volts=24.0,
        boards=1,
        chips=72,
        core="A3197S",
        fans=1,
        fan_max_rpm=3000,
        chip_target_c=75,
        timing=Timing(boot_s=35, init_s=50, ramp_s=90, sleep_s=5, mode_s=45),
        stays_asleep=False,
        mode_needs_reboot=True,
    ),
    Model(
        key="avalon-a1246",
        dialect="avalon-a",
        make="avalon",
        product="AvalonMiner 1246",
        type_name="1246",
        firmware="stock",
        version="21072802_4ec6bb0_211fc46",
        points=(
            Point("Normal", 3504, 81.07 * _TH, 3200, "firmware"),
            Point("High performance", 3800, 87.0 * _TH, 3400, "assumed"),
        ),
        default_point=0,
        idle_w=60,
        efficiency=0.91,
        volts=13.16,
        boards=3,
        chips=120,
        core="A3201",
        fans=4,
        fan_max_rpm=7400,
        chip_target_c=66,
        timing=_AVALON_A_TIMING,
        clock_from_boot=True,
        stays_asleep=False,
        mode_needs_reboot=True,
    ),
    Model(
        key="avalon-a1366",
        dialect="avalon-a",
        make="avalon",
        product="AvalonMiner 1366",
        type_name="1366",
        firmware="stock",
        version="22111901_5a1ee96_8ee28a5",
        points=(
            Point("Normal", 3250, 130.0 * _TH, 3000, "nameplate"),
            Point("High performance", 3550, 138.0 * _TH, 3250, "assumed"),
        ),
        default_point=0,
        idle_w=60,
        efficiency=0.93,
        volts=13.4,
        boards=3,
        chips=120,
        core="A3205",
        fans=4,
        fan_max_rpm=7400,
        chip_target_c=70,
        timing=_AVALON_A_TIMING,
        stays_asleep=False,
        mode_needs_reboot=True,
    ),
    Model(
        key="avalon-a1566",
        dialect="avalon-a",
        make="avalon",
        product="AvalonMiner 15-194",
        type_name="1566",
        firmware="stock",
        version="24102401_25462b2_9ddf522",
        points=(
            Point("Eco", 2700, 155.0 * _TH, 2500, "assumed"),
            Point("Normal", 3420, 185.0 * _TH, 3200, "nameplate"),
            Point("High performance", 3750, 198.0 * _TH, 3500, "assumed"),
        ),
        default_point=1,
        idle_w=55,
        efficiency=0.94,
        volts=13.6,
        boards=3,
        chips=160,
        core="A3198",
        fans=2,
        fan_max_rpm=7000,
        chip_target_c=72,
        timing=_AVALON_A_TIMING,
        stays_asleep=False,
        mode_needs_reboot=True,
    ),
)

MODELS: Final[dict[str, Model]] = {model.key: model for model in _MODELS}
"""Every model that a hall can be filled with, by its key."""


def find_model(key: str) -> Model:
    """Return a model by its key.

    Raises:
        ConfigError: If there is no such model; the message lists those there are.
    """
    model = MODELS.get(key)
    if model is None:
        raise ConfigError(f"no twin of {key!r}; there are: {', '.join(MODELS)}")
    return model
