"""The CPU hashing kernel, generated as LLVM IR for the processor it runs on."""

from hashwerk.work.kernel.scanner import Scanner, header_hash
from hashwerk.work.kernel.strategy import (
    HostDescription,
    Kind,
    Strategy,
    available_strategies,
    available_widths,
    describe_host,
)

__all__ = [
    "HostDescription",
    "Kind",
    "Scanner",
    "Strategy",
    "available_strategies",
    "available_widths",
    "describe_host",
    "header_hash",
]
