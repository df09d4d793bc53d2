"""How each make and firmware speaks. A new one is one module here and one row in the table."""

from __future__ import annotations

from typing import Final

from hashwerk.twin.dialects.antminer import AntminerDialect
from hashwerk.twin.dialects.avalon import AvalonDialect
from hashwerk.twin.dialects.avalon_stats import Layout
from hashwerk.twin.dialects.axeos import AxeosDialect
from hashwerk.twin.dialects.base import Dialect
from hashwerk.twin.dialects.luxos import LuxosDialect
from hashwerk.twin.dialects.vnish import VnishDialect
from hashwerk.twin.dialects.whatsminer import WhatsminerDialect

DIALECTS: Final[dict[str, Dialect]] = {
    "avalon-q": AvalonDialect(Layout.Q),
    "avalon-nano": AvalonDialect(Layout.NANO),
    "avalon-a": AvalonDialect(Layout.A),
    "antminer": AntminerDialect(),
    "luxos": LuxosDialect(),
    "whatsminer": WhatsminerDialect(),
    "bitaxe": AxeosDialect(),
    "vnish": VnishDialect(),
}
"""Every dialect, by the key that `hashwerk.twin.models` names it with."""
