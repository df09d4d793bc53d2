"""Ways to hash that a processor offers, and which of them is the fastest."""

from __future__ import annotations

import functools
from enum import Enum
from typing import Final

import msgspec

from hashwerk.work.kernel.native import NativeKernel
from hashwerk.work.kernel.sha_instructions import build_sha_kernel
from hashwerk.work.kernel.target import Target, host_target
from hashwerk.work.kernel.vector import build_vector_kernel


class Kind(Enum):
    """What does the arithmetic."""

    VECTOR = "vector"
    SHA_INSTRUCTIONS = "sha"


class Strategy(msgspec.Struct, frozen=True):
    """A kernel that can be generated: what does the arithmetic, and for how many nonces at a time."""

    kind: Kind
    width: int  # nonces at a time: lanes of a vector, or hashes side by side

    @property
    def name(self) -> str:
        """The strategy's short name, for example ``vector-16``."""
        return f"{self.kind.value}-{self.width}"


#: Four chains of round instructions hide their latency of four cycles; more only cost registers.
SHA: Final = Strategy(Kind.SHA_INSTRUCTIONS, 2)
#: With one slow placement in thirty, all of four are slow once in a million.
_PLACEMENTS: Final = 4


def strategies(target: Target) -> tuple[Strategy, ...]:
    """Return the strategies that a processor has the instructions for, the fastest first.

    The order is a table, not a measurement, so that the choice does not depend on what else the machine does. Cycles
    for 16 hashes, counted or measured as docs/performance/hashing.md says: 16 lanes of AVX-512 take 840 on Zen 5 and
    about 1,450 where there are two 512-bit ports; SHA instructions take 2,100; 8 lanes of AVX2 need at least 3,900 with
    three ports, because a rotation is three operations there.
    """
    vectors = [Strategy(Kind.VECTOR, width) for width in target.widths]
    if target.has_sha_instructions:
        vectors.insert(1 if vectors[0].width == 16 else 0, SHA)
    return tuple(vectors)


def available_strategies() -> tuple[Strategy, ...]:
    """Return this processor's strategies, the fastest first."""
    return strategies(host_target())


def available_widths() -> tuple[int, ...]:
    """Return this processor's vector widths in 32-bit lanes, widest first."""
    return host_target().widths


def generate(strategy: Strategy, target: Target, *, placements: int = 1) -> NativeKernel:
    """Generate and compile a kernel for a processor that this one is at least (see `NativeKernel`)."""
    build = build_sha_kernel if strategy.kind is Kind.SHA_INSTRUCTIONS else build_vector_kernel
    return NativeKernel(build(strategy.width, target), target, strategy.width, placements=placements)


@functools.cache
def host_kernel(strategy: Strategy) -> NativeKernel:
    """Return this process's kernel, compiled when it is first asked for."""
    return generate(strategy, host_target(), placements=_PLACEMENTS)


class HostDescription(msgspec.Struct, frozen=True):
    """This processor as the kernel sees it."""

    cpu: str  # LLVM's name of its kind
    triple: str
    features: tuple[str, ...]  # those that matter to the kernel
    widths: tuple[int, ...]  # vector widths in 32-bit lanes
    strategies: tuple[str, ...]  # fastest first
    strategy: str  # the one that is chosen


_RELEVANT: Final = frozenset(
    ("sse2", "ssse3", "sse4.1", "avx", "avx2", "avx512f", "avx512vl", "bmi2", "sha", "neon", "sha2", "sha3")
)


def describe_host() -> HostDescription:
    """Return what this processor offers and which strategy is chosen for it."""
    target = host_target()
    names = tuple(strategy.name for strategy in strategies(target))
    return HostDescription(
        cpu=target.cpu,
        triple=target.triple,
        features=tuple(sorted(target.features & _RELEVANT)),
        widths=target.widths,
        strategies=names,
        strategy=names[0],
    )
