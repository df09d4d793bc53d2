"""Virtual machines that real tools cannot tell from real ones. Everything here is simulation, except the hashing."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hashwerk.twin.catalogue import MODELS
    from hashwerk.twin.faults import Fault, FaultKind
    from hashwerk.twin.hall import Hall
    from hashwerk.twin.machine import Machine
    from hashwerk.twin.models import Model
    from hashwerk.twin.settings import HallSettings
    from hashwerk.twin.truth import HallView, MachineTruth

__all__ = [
    "MODELS",
    "Fault",
    "FaultKind",
    "Hall",
    "HallSettings",
    "HallView",
    "Machine",
    "MachineTruth",
    "Model",
]

#: Loaded when asked for: every process of the mine reads the settings, one alone needs the hashing kernel.
_HOMES: Final = {
    "MODELS": "catalogue",
    "Fault": "faults",
    "FaultKind": "faults",
    "Hall": "hall",
    "HallSettings": "settings",
    "HallView": "truth",
    "Machine": "machine",
    "MachineTruth": "truth",
    "Model": "models",
}


def __getattr__(name: str) -> object:
    """Return a public name, loading its module."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
