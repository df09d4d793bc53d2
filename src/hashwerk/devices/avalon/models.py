"""Which Avalon speaks which dialect: the explicit table of models, their modes and what they can be told."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from hashwerk.devices.avalon.fields import Fields
from hashwerk.devices.cgminer_reply import Section, text_of
from hashwerk.fleet.machine import Capability


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """How one family of Avalons is spoken to."""

    family: str
    model: re.Pattern[str]  # of the start of MODEL, or of what follows "Avalon" in PROD, in lower case
    modes: tuple[str, ...] = ()  # by their numbers on the wire
    mode_option: str = "workmode"
    is_verbal: bool  # "workmode,set,1" and "softoff,1:<time>", against "workmode,1" and "softoff"
    mode_takes_reboot: bool = False  # the maker says so of Mini 3; a Q was seen to change at once
    stats: str = "estats"  # the reading that leaves out each chip's values, where the firmware has one
    has_setpool: bool = False
    capabilities: Capability = Capability.NONE
    lies: tuple[str, ...] = ()


_A_SERIES: Final = (
    Capability.SLEEP
    | Capability.MODE
    | Capability.REBOOT
    | Capability.LOCATE
    | Capability.POOLS
    | Capability.FAN
)
_HOME: Final = Capability.SLEEP | Capability.MODE | Capability.REBOOT | Capability.POOLS | Capability.FAN

#: What all of them say and none of them means; `hashwerk.devices.avalon.reading` believes none of it.
_AVERAGES: Final = "GHSavg and MGHS are averages since start and stay when it sleeps"
_STANDBY_W: Final = "PS has a figure in standby that no meter has confirmed"
_ACCEPTED: Final = "accepts a command, in words that vary, whatever becomes of it"

DIALECTS: Final = (
    Dialect(
        family="A10–A13",
        model=re.compile(r"a?1[0-3]\d\d"),
        modes=("Normal", "High"),
        is_verbal=False,
        mode_takes_reboot=True,
        has_setpool=True,
        capabilities=_A_SERIES,
        lies=(
            _AVERAGES,
            _STANDBY_W,
            "its clock counts from boot",
            "wakes by a reboot only",
            "PS may have DC watts only",
        ),
    ),
    Dialect(
        family="A14–A16",
        model=re.compile(r"a?1[4-9]\d\d|a?1[4-9](?!\d)"),
        modes=("Normal", "High"),
        is_verbal=False,
        mode_takes_reboot=True,
        has_setpool=True,
        capabilities=_A_SERIES,
        lies=(_AVERAGES, _STANDBY_W, "its clock counts from boot", "wakes by a reboot only"),
    ),
    Dialect(
        family="Nano 3S",
        model=re.compile(r"nano ?3s"),
        modes=("Low", "Normal", "High"),
        is_verbal=True,
        capabilities=_HOME,
        lies=(_AVERAGES, _ACCEPTED, "an absent sensor says −273 °C", "MPO is a target"),
    ),
    Dialect(
        family="Nano 3",
        model=re.compile(r"nano ?3(?!s)"),
        modes=("Low", "Normal", "High"),
        mode_option="worklevel",
        is_verbal=True,
        capabilities=_HOME,
        lies=(_AVERAGES, _ACCEPTED, "an absent sensor says −273 °C", "MPO is a target"),
    ),
    Dialect(
        family="Mini 3",
        model=re.compile(r"mini ?3"),
        modes=("Heating", "Mining", "Night"),
        is_verbal=True,
        mode_takes_reboot=True,
        stats="litestats",
        capabilities=_HOME,
        lies=(_AVERAGES, _STANDBY_W, _ACCEPTED, "MPO is a target", "a mode takes a reboot to work"),
    ),
    Dialect(
        family="Q",
        model=re.compile(r"q(?![a-z0-9])"),
        modes=("Eco", "Standard", "Super"),
        is_verbal=True,
        stats="litestats",
        capabilities=_HOME,
        lies=(_AVERAGES, _STANDBY_W, _ACCEPTED, "MPO is a target", "wakes by itself when mains returns"),
    ),
)

#: An Avalon that is not in the table is read and told nothing.
UNKNOWN: Final = Dialect(family="unknown", model=re.compile(""), is_verbal=False)

_MAKER: Final = re.compile(r"avalon(?:miner)?[\s-]*", re.IGNORECASE)


def is_avalon(version: Section, fields: Fields) -> bool:
    """Whether a machine with this ``version`` and these fields is an Avalon."""
    product = text_of(version.get("PROD")) or ""
    return _MAKER.match(product) is not None or "GHSmm" in fields


def dialect_of(version: Section, fields: Fields) -> Dialect:
    """Return the dialect of a machine by its own words: PROD, MODEL, or the version within ``estats``."""
    for name in _names(version, fields):
        for dialect in DIALECTS:
            if dialect.model.match(name.lower()):
                return dialect
    return UNKNOWN


def model_of(version: Section, fields: Fields) -> str:
    """Return the model as the maker writes it."""
    product = text_of(version.get("PROD"))
    if product is not None:
        return product
    names = _names(version, fields)
    return f"Avalon {names[0]}" if names else "Avalon"


def _names(version: Section, fields: Fields) -> tuple[str, ...]:
    model, product = text_of(version.get("MODEL")), text_of(version.get("PROD"))
    running = (fields.text("Ver") or "").partition("-")[0]
    names = (_MAKER.sub("", product, count=1) if product else None, model, running)
    return tuple(name for name in names if name)
