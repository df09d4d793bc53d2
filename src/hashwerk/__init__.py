"""Hashwerk: the open operating system of a clean Bitcoin mine."""

__version__ = "0.1.0"
