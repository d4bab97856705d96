"""torch's own ExportedProgram from the document of a .pt2 file that the engine wrote.

`fx_graph` builds the graph straight from the document's JSON; torch's reader does the rest:
signature, containers and symbols (`torch._export.serde`).
"""

from __future__ import annotations

import json
from typing import Any

import torch
from torch._export.serde import schema, serialize
from torch._export.verifier import load_verifier
from torch.utils._sympy.numbers import int_oo
from torch.utils._sympy.value_ranges import ValueRanges

from portwright.exporters.fx_graph import GraphReader, Json, parse
from portwright.stage import no_collections


def read_document(
    document: bytes,
    state: dict[str, torch.Tensor],
    constants: dict[str, torch.Tensor],
    example_inputs: tuple[tuple[Any, ...], dict[str, Any]],
) -> torch.export.ExportedProgram:
    """The program of `document` on these tensors, by their names in the signature."""
    with no_collections():
        return _read(document, state, constants, example_inputs)


def _read(
    document: bytes,
    state: dict[str, torch.Tensor],
    constants: dict[str, torch.Tensor],
    example_inputs: tuple[tuple[Any, ...], dict[str, Any]],
) -> torch.export.ExportedProgram:
    program = json.loads(document)
    module = program["graph_module"]
    ranges = {
        name: ValueRanges(
            serialize._int_to_sympy_int(bounds["min_val"], -int_oo),
            serialize._int_to_sympy_int(bounds["max_val"], int_oo),
        )
        for name, bounds in program["range_constraints"].items()
    }
    reader: Any = serialize.GraphModuleDeserializer()
    # An empty graph makes torch's reader ready: its symbols, its fake tensor mode.
    around = parse(schema.GraphModule, {**module, "graph": _EMPTY_GRAPH})
    parts = reader.deserialize(around, state, constants, example_inputs, ranges)
    names = [spec.arg.name for spec in parts.signature.input_specs]
    graph_module = GraphReader(reader, module["graph"], names).read()
    graph_module.meta = parts.graph_module.meta
    result = object.__new__(torch.export.ExportedProgram)
    # Not by its constructor, which checks and compiles the graph: `validate()` does so on request.
    result.__dict__.update(
        _graph_module=graph_module,
        _graph_signature=parts.signature,
        _state_dict=parts.state_dict,
        _range_constraints={
            symbol: ranges[name]
            for name, symbol in parts.names_to_symbols.items()
            if name in ranges
        },
        _module_call_graph=parts.module_call_graph,
        _example_inputs=parts.example_inputs,
        _constants=parts.constants,
        _verifiers=[load_verifier(name) for name in program["verifiers"]],
        _guards_code=[],
    )
    return result


_EMPTY_GRAPH: Json = {
    "inputs": [],
    "outputs": [],
    "nodes": [],
    "tensor_values": {},
    "sym_int_values": {},
    "sym_bool_values": {},
    "is_single_tensor_return": False,
    "custom_obj_values": {},
    "sym_float_values": {},
}
