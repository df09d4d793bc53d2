"""Stratum V1 without I/O: bytes and times in, events and bytes out."""
