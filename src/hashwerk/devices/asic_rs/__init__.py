"""Every make but Avalon, through the library `pyasic_rs` (asic-rs), with what it gets wrong corrected or said to be unknown."""

from hashwerk.devices.asic_rs.driver import AsicRsDriver

__all__ = ["AsicRsDriver"]
