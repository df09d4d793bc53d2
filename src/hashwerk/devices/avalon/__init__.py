"""Canaan's Avalon machines, A10 to A16, Nano 3 and 3S, Mini 3 and Q: our own driver.

No open library reads a sleeping one rightly (docs/guide/machines): they take averages for rates, set-points for watts,
and an accepted command for a refused one.
"""

from hashwerk.devices.avalon.driver import AvalonDriver

__all__ = ["AvalonDriver"]
