"""What the layers below a plan ask of single machines; the fleet sends and verifies it."""

from __future__ import annotations

import msgspec

from hashwerk.fleet.commands import Command


class Instruction(msgspec.Struct, frozen=True, kw_only=True):
    """A command for one machine, and why."""

    machine: str
    command: Command
    reason: str
