"""torch's own ExportedProgram from the document of a .pt2 file, by torch's reader.

The steps of torch's ExportedProgramDeserializer without the work that it does again and again: type
hints are looked up once a class, and a size is parsed once.
"""

from __future__ import annotations

import functools
import json
import typing
from typing import Any

import torch
from torch._export.serde import schema, serialize
from torch._export.serde.union import _Union
from torch._export.verifier import load_verifier
from torch.utils._sympy.numbers import int_oo
from torch.utils._sympy.value_ranges import ValueRanges


def read_document(
    document: bytes,
    state: dict[str, torch.Tensor],
    constants: dict[str, torch.Tensor],
    example_inputs: tuple[tuple[Any, ...], dict[str, Any]],
) -> torch.export.ExportedProgram:
    """The program of `document` on these tensors, by their names in the signature."""
    program = _parse(schema.ExportedProgram, json.loads(document))
    ranges = {
        name: ValueRanges(
            serialize._int_to_sympy_int(bounds.min_val, -int_oo),
            serialize._int_to_sympy_int(bounds.max_val, int_oo),
        )
        for name, bounds in program.range_constraints.items()
    }
    reader = serialize.GraphModuleDeserializer()
    _parse_sizes_once(reader)
    result = reader.deserialize(program.graph_module, state, constants, example_inputs, ranges)
    return torch.export.ExportedProgram(
        root=result.graph_module,
        graph=result.graph_module.graph,
        graph_signature=result.signature,
        state_dict=result.state_dict,
        range_constraints={
            symbol: ranges[name]
            for name, symbol in result.names_to_symbols.items()
            if name in ranges
        },
        module_call_graph=result.module_call_graph,
        example_inputs=result.example_inputs,
        constants=result.constants,
        verifiers=[load_verifier(name) for name in program.verifiers],
    )


def _parse_sizes_once(reader: Any) -> None:
    known: dict[tuple[str, str], Any] = {}
    parse = reader.deserialize_sym_int

    def deserialize_sym_int(size: Any) -> Any:
        if size.type != "as_expr":
            return parse(size)
        key = size.value.expr_str, repr(size.value.hint)
        if key not in known:
            known[key] = parse(size)
        return known[key]

    reader.deserialize_sym_int = deserialize_sym_int


@functools.cache
def _hints(cls: Any) -> dict[str, Any]:
    return typing.get_type_hints(cls, globalns=vars(schema))


def _parse(cls: Any, data: Any) -> Any:
    """An object of the schema's class from its JSON."""
    origin: Any = typing.get_origin(cls)
    make: Any = cls
    if data is None:
        return None
    if isinstance(cls, type) and issubclass(cls, _Union):
        ((field, value),) = data.items()
        return make.create(**{field: _parse(_hints(make)[field], value)})
    if isinstance(data, list):
        item = typing.get_args(cls)[0]
        return data if item in (int, str, bool) else [_parse(item, value) for value in data]
    if isinstance(data, dict):
        if origin is dict:
            item = typing.get_args(cls)[1]
            return {key: _parse(item, value) for key, value in data.items()}
        if origin is not None:  # X | None
            return _parse(typing.get_args(cls)[0], data)
        hints = _hints(cls)
        return cls(**{name: _parse(hints[name], value) for name, value in data.items()})
    return float(data) if cls is float else data
