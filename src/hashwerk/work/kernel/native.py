"""From LLVM IR to a function of this processor, in memory."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, Final

import llvmlite.binding as llvm
from llvmlite import ir

from hashwerk.work.kernel.frame import NAME
from hashwerk.work.kernel.target import Target

_PROTOTYPE: Final = ctypes.CFUNCTYPE(
    ctypes.c_uint64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint64
)


class NativeKernel:
    """A compiled kernel. Calling it releases the GIL; it may run in many threads at once."""

    def __init__(self, module: ir.Module, target: Target, group_size: int) -> None:
        """Compile ``module`` for ``target``, which this processor must be at least.

        Args:
            module: With a function as `frame` describes it.
            target: The processor to compile for.
            group_size: The number of nonces in a group.
        """
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        module.triple = target.triple
        machine = llvm.Target.from_triple(target.triple).create_target_machine(
            cpu=target.cpu, features=target.feature_string(), opt=2, reloc="default", codemodel="jitdefault"
        )
        module.data_layout = str(machine.target_data)
        self._module = llvm.parse_assembly(str(module))
        self._module.verify()
        self._machine = machine
        self._engine = llvm.create_mcjit_compiler(self._module, machine)  # owns the code, so it is kept
        self._engine.finalize_object()
        self.group_size: Final = group_size
        self.call: Final[Callable[..., Any]] = _PROTOTYPE(self._engine.get_function_address(NAME))

    def assembly(self) -> str:
        """Return the processor's assembly of the kernel, to look at and to count."""
        return str(self._machine.emit_assembly(self._module))
