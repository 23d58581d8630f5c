"""Memory inside compiled functions, by address."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

__all__ = ["as_pointer", "take_turn"]


@intrinsic  # type: ignore[untyped-decorator]
def as_pointer(typing_context: Any, address: Any) -> Any:
    """Return an address, an int64, as a pointer that `numba.carray` takes."""
    signature = types.voidptr(types.int64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], ir.PointerType(ir.IntType(8)))

    return signature, generate


@intrinsic  # type: ignore[untyped-decorator]
def take_turn(typing_context: Any, address: Any) -> Any:
    """Return the int64 at an address and add 1 to it, in one step: no two threads get the same."""
    signature = types.int64(types.int64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        integer = ir.IntType(64)
        pointer = builder.inttoptr(arguments[0], ir.PointerType(integer))
        return builder.atomic_rmw("add", pointer, ir.Constant(integer, 1), "seq_cst")

    return signature, generate
