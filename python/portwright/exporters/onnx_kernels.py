"""Which nodes of a graph ONNX Runtime's CPU provider has no kernel for, from its own registry."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator
from typing import Any

from portwright import _core

_CPU = "CPUExecutionProvider"
# Casts stand around operators of halves that have a kernel of floats only.
_CAST_TO = {"tensor(float16)": "tensor(float)"}
_LISTED = 3  # places of an operator


def missing(model: _core.OnnxModel) -> list[str]:
    """What the CPU provider of the installed onnxruntime cannot run, a line for each operator.

    Types are onnx's own inference; a value whose type it does not find counts as one that fits.
    Empty too where onnx or onnxruntime is not installed, or built without its registry.
    """
    try:
        import onnx.inliner
        from onnxruntime.capi import onnxruntime_pybind11_state as state

        import onnx
    except ImportError:
        return []
    if not hasattr(state, "get_all_opkernel_def"):
        return []
    places: dict[str, list[str]] = collections.defaultdict(list)
    for what, place in _Registry(onnx, state).refused(onnx.load_from_string(model.graph_bytes())):
        places[what].append(place)
    return [
        f"ONNX Runtime's CPU provider has no kernel for {what}, used {len(found)} time(s): "
        + "; ".join(dict.fromkeys(found[:_LISTED]))
        for what, found in places.items()
    ]


class _Registry:
    """Kernels and schemas of the installed onnxruntime."""

    def __init__(self, onnx: Any, state: Any):
        self._onnx = onnx
        self._schemas = {(item.domain, item.name): item for item in state.get_all_operator_schema()}
        self._kernels = collections.defaultdict(list)
        for kernel in state.get_all_opkernel_def():
            if kernel.provider == _CPU:
                self._kernels[kernel.domain, kernel.op_name].append(kernel)

    def refused(self, proto: Any) -> Iterator[tuple[str, str]]:
        """Operator with types, and the model's line, of each node that cannot run."""
        proto = self._onnx.shape_inference.infer_shapes(proto)
        versions = {item.domain: item.version for item in proto.opset_import}
        names = {
            info.name: info.type.tensor_type.elem_type
            for info in [*proto.graph.input, *proto.graph.value_info, *proto.graph.output]
            if info.type.HasField("tensor_type")
        }
        for node in proto.graph.node:
            version = versions.get(node.domain, 1)
            schema = self._schema(node, version)
            if schema is None or node.op_type == "Constant":  # which becomes data
                continue
            types = _types(schema, node, names, self._type_name)
            own = self._kernels[node.domain, node.op_type]
            if any(_covers(item, version) and _takes(item, types) for item in own):
                continue
            place = node.doc_string or node.name
            if schema.has_function:  # ONNX Runtime puts its nodes in its place
                inner = self._expanded(node, names, proto)
                yield from ((what, place) for what, _ in self.refused(inner))
            else:
                kinds = ", ".join(sorted({kind[7:-1] for kind in types.values()}))
                yield f"{node.op_type} of {kinds}", place

    def _expanded(self, node: Any, names: dict[str, int], proto: Any) -> Any:
        """A graph of the nodes that a function stands for; empty when onnx does not expand it."""
        helper = self._onnx.helper
        inputs = [
            helper.make_tensor_value_info(name, names.get(name, 0), None)
            for name in dict.fromkeys(node.input)
            if name
        ]
        outputs = [helper.make_tensor_value_info(name, 0, None) for name in node.output]
        graph = helper.make_graph([node], "function", inputs, outputs)
        model = helper.make_model(graph, opset_imports=proto.opset_import)
        inlined = self._onnx.inliner.inline_selected_functions(
            model, [], exclude=True, inline_schema_functions=True
        )
        if [item.op_type for item in inlined.graph.node] == [node.op_type]:
            del inlined.graph.node[:]
        return inlined

    def _schema(self, node: Any, version: int) -> _Schema | None:
        defs = self._onnx.defs
        if node.domain == "" and defs.has(node.op_type):
            schema = defs.get_schema(node.op_type, version)
            variadic = any(item.option == item.option.Variadic for item in schema.inputs)
            function = schema.has_function or schema.has_context_dependent_function
            return _Schema([item.type_str for item in schema.inputs], variadic, function)
        own = self._schemas.get((node.domain, node.op_type))
        if own is None:
            return None
        return _Schema([item.typeStr for item in own.inputs], False, False)

    def _type_name(self, element: int) -> str:
        """ "tensor(float)" and so on, as schemas name types."""
        return f"tensor({self._onnx.TensorProto.DataType.Name(element).lower()})"


class _Schema:
    """Of an operator, from onnx or from onnxruntime: the type constraint of each input."""

    def __init__(self, constraints: list[str], variadic: bool, has_function: bool):
        self._constraints = constraints
        self._variadic = variadic
        self.has_function = has_function

    def constraint(self, index: int) -> str | None:
        if index < len(self._constraints):
            return self._constraints[index]
        return self._constraints[-1] if self._variadic and self._constraints else None


def _types(
    schema: _Schema, node: Any, names: dict[str, int], type_name: Callable[[int], str]
) -> dict[str, str]:
    """The type of each constraint that is known."""
    found = {}
    for index, name in enumerate(node.input):
        constraint = schema.constraint(index)
        if names.get(name) and constraint is not None:
            found[constraint] = type_name(names[name])
    return found


def _covers(kernel: Any, version: int) -> bool:
    first, last = kernel.version_range
    return bool(first <= version <= last)


def _takes(kernel: Any, types: dict[str, str]) -> bool:
    return all(
        kind in allowed or _CAST_TO.get(kind) in allowed
        for constraint, kind in types.items()
        if (allowed := kernel.type_constraints.get(constraint)) is not None
    )
