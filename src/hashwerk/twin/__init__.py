"""Virtual machines that real tools cannot tell from real ones. Everything here is simulation, except the hashing."""

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
