"""The CPU hashing kernel, generated as LLVM IR for the processor it runs on."""

from hashwerk.work.kernel.scanner import Scanner, available_widths, header_hash

__all__ = ["Scanner", "available_widths", "header_hash"]
