"""Writes src/executorch/kernels.table: the kernels that ExecuTorch's runtime registers, and the
functional ATen operators whose out variants they are.

Run with torch and the executorch release that the table is for:
    python scripts/executorch_kernels.py > src/executorch/kernels.table
"""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator

import torch
from executorch.extension.pybindings import portable_lib

# Operands that say where a new tensor lies; an out variant has its `out` instead.
_OPTIONS = {"dtype", "layout", "device", "pin_memory"}
# Kernels that refuse what their operators take.
_UNUSABLE = {
    "aten::_upsample_bilinear2d_aa.out",  # no other size than the bound
    "aten::_fft_c2r.out",  # complex tensors, which programs have as pairs
    "aten::_fft_r2c.out",
}
# Views, whose kernels copy.
_COPIES = {
    "alias_copy": "alias",
    "as_strided_copy": "as_strided",
    "detach_copy": "detach",
    "diagonal_copy": "diagonal",
    "expand_copy": "expand",
    "lift_fresh_copy": "lift_fresh",
    "permute_copy": "permute",
    "select_copy": "select",
    "slice_copy": "slice",
    "split_copy": "split",
    "split_with_sizes_copy": "split_with_sizes",
    "squeeze_copy": "squeeze",
    "t_copy": "t",
    "transpose_copy": "transpose",
    "unbind_copy": "unbind",
    "unfold_copy": "unfold",
    "unsqueeze_copy": "unsqueeze",
    "view_as_real_copy": "view_as_real",
    "view_copy": "view",
}


def main() -> None:
    print(f"# executorch {importlib.metadata.version('executorch')}")
    print("# kernel: what its operands are, by their places in the functional operator; out")
    for kernel in sorted(portable_lib._get_operator_names()):
        library, _, name = kernel.partition("::")
        if library != "aten" or kernel in _UNUSABLE:
            continue
        packet_name, _, overload = name.partition(".")
        packet = getattr(torch.ops.aten, packet_name)
        schema = getattr(packet, overload or "default")._schema
        rows = list(_functional(packet_name, schema))
        if not rows:
            print(f"{kernel}: no functional operator", file=sys.stderr)
        for functional, places in rows:
            print(functional, kernel, *places)


def _functional(
    packet_name: str, schema: torch._C.FunctionSchema
) -> Iterator[tuple[str, list[str]]]:
    outs = [argument for argument in schema.arguments if argument.is_out]
    wanted = [argument for argument in schema.arguments if not argument.is_out]
    for name in dict.fromkeys([packet_name, _COPIES.get(packet_name, packet_name)]):
        packet = getattr(torch.ops.aten, name)
        for overload in packet.overloads():
            other = getattr(packet, overload)._schema
            if other.is_mutable or any(argument.is_out for argument in other.arguments):
                continue
            given = {argument.name: i for i, argument in enumerate(other.arguments)}
            if not {argument.name for argument in wanted} <= given.keys():
                continue
            types = {argument.name: str(argument.type) for argument in other.arguments}
            if any(types[argument.name] != str(argument.type) for argument in wanted):
                continue
            if not given.keys() - {argument.name for argument in wanted} <= _OPTIONS:
                continue
            places = [f"{_kind(argument)}:{given[argument.name]}" for argument in wanted]
            is_list = len(outs) == 1 and "List" in str(outs[0].type)
            places += ["outs"] if is_list else ["out"] * len(outs)
            yield f"aten.{name}.{overload}", places


def _kind(argument: torch._C.Argument) -> str:
    """The operand's type as schemas write it: "Tensor?", "int[]", "Scalar", "ScalarType?"."""
    text = str(argument.real_type)
    if text.startswith("Optional["):
        return _named(text[len("Optional[") : -1]) + "?"
    return _named(text)


def _named(text: str) -> str:
    if text.startswith("List["):
        inner = text[len("List[") : -1]
        return (
            _named(inner[9:-1]) + "?" if inner.startswith("Optional[") else _named(inner)
        ) + "[]"
    return {"number": "Scalar", "SymInt": "int", "str": "str"}.get(text, text)


main()
