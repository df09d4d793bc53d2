"""From LLVM IR to a function of this processor, in memory."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from typing import Any, Final

import llvmlite.binding as llvm
from llvmlite import ir

from hashwerk.work.kernel.frame import INPUT_WORDS, NAME
from hashwerk.work.kernel.target import Target

_PROTOTYPE: Final = ctypes.CFUNCTYPE(
    ctypes.c_uint64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint64
)
_TRIAL_GROUPS: Final = 1024
_TRIALS: Final = 4


class NativeKernel:
    """A compiled kernel. Calling it releases the GIL; it may run in many threads at once.

    Where the code lies in physical memory matters: about one placement in thirty was found to run at half or a third
    of the speed on Zen 5, the same bytes and the same virtual address notwithstanding (the loop fills most of the caches
    of instructions, and unlucky pages collide there). So the code can be loaded several times, which takes
    milliseconds, to keep the fastest.
    """

    def __init__(self, module: ir.Module, target: Target, group_size: int, *, placements: int = 1) -> None:
        """Compile ``module`` for ``target``, which this processor must be at least.

        Args:
            module: With a function as `frame` describes it.
            target: The processor to compile for.
            group_size: The number of nonces in a group.
            placements: How often to load the code.
        """
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        module.triple = target.triple
        self._machine = _target_machine(target)
        module.data_layout = str(self._machine.target_data)
        self._module = llvm.parse_assembly(str(module))
        self._module.verify()
        code = self._machine.emit_object(self._module)
        loaded = [_Loaded(code, target) for _ in range(placements)]
        self._loaded = _fastest(loaded)  # kept: it owns the code
        self.group_size: Final = group_size
        self.call: Final[Callable[..., Any]] = self._loaded.call

    def assembly(self) -> str:
        """Return the processor's assembly of the kernel, to look at and to count."""
        return str(self._machine.emit_assembly(self._module))


def _target_machine(target: Target) -> Any:
    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.feature_string(), opt=2, reloc="default", codemodel="jitdefault"
    )


class _Loaded:
    """Code in memory, ready to be called."""

    def __init__(self, code: bytes, target: Target) -> None:
        empty = llvm.parse_assembly(f'target triple = "{target.triple}"')
        self._engine = llvm.create_mcjit_compiler(empty, _target_machine(target))
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()
        self.call: Final[Callable[..., Any]] = _PROTOTYPE(self._engine.get_function_address(NAME))

    def trial_s(self) -> float:
        """Return the processor time of a short scan that finds nothing worth listing."""
        inputs = (ctypes.c_uint32 * INPUT_WORDS)(*range(INPUT_WORDS - 1), 0xFFFF_FFFF)
        groups = ctypes.c_uint64(_TRIAL_GROUPS)
        found = (ctypes.c_uint32 * _TRIAL_GROUPS)()
        started_at = time.thread_time()
        self.call(inputs, ctypes.byref(groups), found, _TRIAL_GROUPS)
        return time.thread_time() - started_at


def _fastest(loaded: list[_Loaded]) -> _Loaded:
    """Return the one with the shortest of a few trials; they alternate, so that all see the same disturbances."""
    if len(loaded) == 1:
        return loaded[0]
    best_s = [float("inf")] * len(loaded)
    for _ in range(_TRIALS):
        for index, placement in enumerate(loaded):
            best_s[index] = min(best_s[index], placement.trial_s())
    return loaded[best_s.index(min(best_s))]
