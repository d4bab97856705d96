"""What operators are made of that a format has no lowering for: PyTorch's decompositions, which the
tracer runs in their place, so that their parts are in the program."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

from portwright import _core
from portwright.exporters import (
    fourier_parts,
    operator_parts,
    recurrent_parts,
    scatter_parts,
    volume_parts,
)

_PARTS = (
    operator_parts.PARTS
    | fourier_parts.PARTS
    | recurrent_parts.PARTS
    | scatter_parts.PARTS
    | volume_parts.PARTS
)

# torch.dtype by the number that operators are called with (c10/core/ScalarType.h).
_DTYPES = dict(
    enumerate(
        [
            torch.uint8,
            torch.int8,
            torch.int16,
            torch.int32,
            torch.int64,
            torch.float16,
            torch.float32,
            torch.float64,
            torch.complex32,
            torch.complex64,
            torch.complex128,
            torch.bool,
        ]
    )
) | {15: torch.bfloat16}


class _Call:
    """A decomposition as the tracer calls it: all operands by position, the results in a tuple."""

    def __init__(self, op: torch._ops.OpOverload, function: Callable[..., Any]) -> None:
        self._schema = op._schema
        self._function = function

    def __call__(self, *operands: Any) -> Any:
        positional: list[Any] = []
        keywords: dict[str, Any] = {}
        for argument, operand in zip(self._schema.arguments, operands, strict=True):
            kind = str(argument.real_type)
            if "ScalarType" in kind and operand is not None:
                operand = _DTYPES[operand]
            elif "Layout" in kind or "MemoryFormat" in kind:
                operand = None  # of no meaning in a functional program
            if not argument.kwarg_only:
                positional.append(operand)
            elif operand is not argument.default_value:
                keywords[argument.name] = operand
        self._drop_defaults(positional)
        result = self._function(*positional, **keywords)
        single = result is NotImplemented or len(self._schema.returns) != 1
        return result if single else (result,)

    def _drop_defaults(self, operands: list[Any]) -> None:
        """Decompositions need not know the last arguments that torch has added to an operator."""
        arguments = self._schema.arguments
        while operands and arguments[len(operands) - 1].has_default_value():
            default = arguments[len(operands) - 1].default_value
            if type(operands[-1]) is not type(default) or operands[-1] != default:
                return
            operands.pop()


def find(name: str) -> Callable[..., Any] | None:
    """What the operator of this name is made of; None when nothing is known."""
    return _table().get(name)


def _operator(namespace: str, packet_name: str, overload: str) -> torch._ops.OpOverload | None:
    """None where the library that defines it is not there."""
    packet = getattr(getattr(torch.ops, namespace), packet_name, None)
    return None if packet is None else getattr(packet, overload)


@functools.cache
def _table() -> dict[str, _Call]:
    """Made when the first operator without a lowering is met: it takes a while."""
    table: dict[str, _Call] = {}
    for name in _core.kept_composites():  # in the C++ parts that torch itself runs
        packet = getattr(torch.ops.aten, name)
        for overload in packet.overloads():
            op = getattr(packet, overload)
            table[str(op)] = _Call(op, op.decompose)
    for op, function in torch._decomp.core_aten_decompositions().items():  # type: ignore[no-untyped-call]
        table[str(op)] = _Call(op, function)
    for name, function in _PARTS.items():
        op = _operator(*name.split("."))
        if op is not None:
            table[name] = _Call(op, function)
    return table
