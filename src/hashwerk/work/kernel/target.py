"""The processor that code is generated for, and what it offers to the kernel."""

from __future__ import annotations

import functools

import llvmlite.binding as llvm
import msgspec


class Target(msgspec.Struct, frozen=True):
    """A processor as LLVM names it. `host_target` is the one of this machine."""

    triple: str
    cpu: str
    features: frozenset[str]  # those present, by LLVM's names
    known_features: frozenset[str]  # all that LLVM knows for this architecture

    @property
    def is_x86(self) -> bool:
        """Whether the processor is a 64-bit x86."""
        return self.triple.startswith("x86_64")

    @property
    def widths(self) -> tuple[int, ...]:
        """Vector widths in 32-bit lanes that the processor has registers for, widest first."""
        widths = [16] if "avx512f" in self.features else []
        widths += [8] if "avx2" in self.features else []
        return (*widths, 4, 1)

    @property
    def has_sha_instructions(self) -> bool:
        """Whether the processor has x86 SHA instructions."""
        return self.is_x86 and {"sha", "sse4.1", "ssse3"} <= self.features

    def has_ternary_logic(self, width: int) -> bool:
        """Return whether one instruction computes any function of three vectors of that width."""
        if width == 16:
            return "avx512f" in self.features
        return width in {4, 8} and "avx512vl" in self.features

    def has_many_registers(self, width: int) -> bool:
        """Return whether there are 32 registers of that width, as AVX-512 and ARM have, rather than 16."""
        return not self.is_x86 or self.has_ternary_logic(width)

    def register_constraint(self, width: int) -> str:
        """Return the letter by which inline assembly asks for a register of that width."""
        if width == 1:
            return "r"
        if not self.is_x86:
            return "w"
        return "v" if self.has_ternary_logic(width) else "x"

    def feature_string(self) -> str:
        """Return the features as LLVM wants them; 16 lanes need the 512-bit registers that it avoids on some."""
        signs = [f"{'+' if name in self.features else '-'}{name}" for name in sorted(self.known_features)]
        return ",".join([*signs, "-prefer-256-bit"] if "avx512f" in self.features else signs)

    def without(self, *prefixes: str) -> Target:
        """Return a lesser processor: this one without the features whose names start so."""
        kept = frozenset(name for name in self.features if not name.startswith(prefixes))
        return Target(self.triple, self.cpu, kept, self.known_features)


@functools.cache
def host_target() -> Target:
    """Return this machine's processor."""
    llvm.initialize_native_target()
    features = dict(llvm.get_host_cpu_features())
    return Target(
        triple=llvm.get_process_triple(),
        cpu=llvm.get_host_cpu_name(),
        features=frozenset(name for name, present in features.items() if present),
        known_features=frozenset(features),
    )
