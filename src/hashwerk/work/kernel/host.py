"""What this processor offers to the kernel."""

from __future__ import annotations

import functools

import llvmlite.binding as llvm


@functools.cache
def host_features() -> frozenset[str]:
    """Return the names of the processor's features, as LLVM calls them."""
    return frozenset(name for name, present in llvm.get_host_cpu_features().items() if present)


def target_features() -> str:
    """Return the features to compile for. 16 lanes need AVX-512 registers, which LLVM avoids where it prefers 256 bits."""
    features: str = llvm.get_host_cpu_features().flatten()
    return f"{features},-prefer-256-bit" if "avx512f" in host_features() else features
