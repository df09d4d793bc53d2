"""From LLVM IR to a function of this processor, in memory."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, Final

import llvmlite.binding as llvm
from llvmlite import ir

from hashwerk.work.kernel.host import target_features
from hashwerk.work.kernel.vector import NAME

_PROTOTYPE: Final = ctypes.CFUNCTYPE(
    ctypes.c_uint64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint64
)


class NativeKernel:
    """A compiled kernel. Calling it releases the GIL; it may run in many threads at once."""

    def __init__(self, module: ir.Module, group_size: int) -> None:
        """Compile ``module`` for this processor; ``group_size`` is the number of nonces in a group."""
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        module.triple = llvm.get_process_triple()
        machine = llvm.Target.from_triple(module.triple).create_target_machine(
            cpu=llvm.get_host_cpu_name(),
            features=target_features(),
            opt=2,
            reloc="default",
            codemodel="jitdefault",
        )
        module.data_layout = str(machine.target_data)
        parsed = llvm.parse_assembly(str(module))
        parsed.verify()
        self.group_size: Final = group_size
        self._engine = llvm.create_mcjit_compiler(
            parsed, machine
        )  # owns the code: lives as long as the function
        self._engine.finalize_object()
        self._machine = machine
        self._module = parsed
        self.call: Final[Callable[..., Any]] = _PROTOTYPE(self._engine.get_function_address(NAME))

    def assembly(self) -> str:
        """Return the machine's assembly of the kernel, to look at and to count."""
        return str(self._machine.emit_assembly(self._module))
