"""Changes to a finished ONNX model: translations of operators and fixes, both on onnx_ir.

The model is turned into an `onnx_ir.Model` only when there are such changes, or when someone looks
at `ONNXProgram.model`.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import torch

from portwright import _core
from portwright.errors import FileError, InvalidArgumentError, UnsupportedError

# Weights of this many bytes and more go to the external file, as in the engine's own writer.
_EXTERNAL_BYTES = 1024
_PROTOBUF_LIMIT = 2**31 - 1

_IR_FIXES: list[Callable[[Any], None]] = []
"""Functions `fix(graph)`: called with the model's `onnx_ir.Graph` and each `onnx_ir.Function`."""

_ONNX_TRANSLATION_TABLE: dict[Any, Callable[..., Any]] = {}
"""Lowerings of operators, before the built-in ones: an overload (`torch.ops.aten.bincount.default`,
or its name) to an onnxscript function of the operator's arguments."""


class IrModel:
    """An `onnx_ir.Model` with the face of `_core.OnnxModel`."""

    def __init__(self, model: _core.OnnxModel) -> None:
        import onnx_ir

        # The weights are mapped from here as long as the model lives.
        self._folder = tempfile.TemporaryDirectory(prefix="portwright-")
        path = os.path.join(self._folder.name, "model.onnx")
        model.write(path, True)
        self.ir = onnx_ir.load(path)

    @property
    def input_names(self) -> list[str]:
        return [value.name for value in self.ir.graph.inputs]

    @property
    def output_names(self) -> list[str]:
        return [value.name for value in self.ir.graph.outputs]

    @property
    def opset(self) -> int:
        return int(self.ir.opset_imports[""])

    @property
    def node_count(self) -> int:
        return len(self.ir.graph)

    def serialize(self) -> bytes:
        """The model with its weights inside."""
        import onnx_ir

        self._check_inline_size()
        proto = onnx_ir.to_proto(self._with_data())
        return bytes(proto.SerializeToString())

    def write(self, path: str, external_data: bool = True, checkpoint: str = "") -> dict[str, Any]:
        """As `_core.OnnxModel.write`, without references.

        Raises:
            UnsupportedError: a checkpoint is given.
        """
        import onnx_ir

        if checkpoint:
            raise UnsupportedError(
                'weights="reference" is for the model as it was lowered: this one is an onnx_ir '
                "model now, made for an IR fix, a translation or `ONNXProgram.model`. Use "
                'weights="copy"'
            )
        if not external_data:
            self._check_inline_size()
        name = os.path.basename(path)
        try:
            folder = os.path.dirname(os.path.abspath(path))
            with tempfile.TemporaryDirectory(prefix=".portwright-", dir=folder) as aside:
                written = os.path.join(aside, name)
                if external_data:
                    onnx_ir.save(
                        self.ir,
                        written,
                        external_data=f"{name}_data",
                        size_threshold_bytes=_EXTERNAL_BYTES,
                    )
                else:
                    onnx_ir.save(self._with_data(), written)
                has_data = os.path.exists(f"{written}_data")
                facts = self._facts(path, f"{written}_data" if has_data else "")
                record = os.path.join(aside, "record")
                self._write_record(record, facts)
                if has_data:
                    os.replace(f"{written}_data", facts["data_path"])
                if facts["record_path"]:
                    os.replace(record, facts["record_path"])
                os.replace(written, path)
        except OSError as error:
            raise FileError(f"cannot write '{path}': {error.strerror or error}") from error
        return {**facts, "model_bytes": os.path.getsize(path)}

    def _facts(self, path: str, written_data: str) -> dict[str, Any]:
        has_record = _core.RECORD_KEY in self.ir.metadata_props
        return {
            "model_path": path,
            "data_path": f"{path}_data" if written_data else "",
            "record_path": _core.record_path(path) if has_record else "",
            "data_bytes": os.path.getsize(written_data) if written_data else 0,
            "referenced": {},
            "copied": sorted(self.ir.graph.initializers) if written_data else [],
        }

    def _write_record(self, path: str, facts: dict[str, Any]) -> None:
        if not facts["record_path"]:
            return
        text = _core.record_text(
            self.ir.metadata_props[_core.RECORD_KEY],
            facts["model_path"],
            facts["data_path"],
            facts["data_bytes"],
            facts["copied"],
        )
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def _with_data(self) -> Any:
        """A model whose weights are in memory."""
        import onnx_ir

        return onnx_ir.external_data.load_to_model(self.ir.clone())

    def _check_inline_size(self) -> None:
        values = self.ir.graph.initializers.values()
        size = sum(value.const_value.nbytes for value in values if value.const_value is not None)
        if size > _PROTOBUF_LIMIT:
            raise InvalidArgumentError(
                f"the weights have {size} bytes, more than the 2 GiB that one ONNX file holds: use "
                "external_data=True"
            )


def apply_onnx_ir_fixes(onnx_program: Any) -> None:
    """Calls each function of `_IR_FIXES` on the graph and on every function of the program."""
    if not _IR_FIXES:
        return
    model = onnx_program.model
    for fix in tuple(_IR_FIXES):
        for graph in (model.graph, *model.functions.values()):
            fix(graph)


def translations() -> dict[str, Callable[..., Any]]:
    """The translation table by the operators' names.

    Raises:
        InvalidArgumentError: a key that is no operator, or a value that cannot be called.
    """
    table = {}
    for key, function in _ONNX_TRANSLATION_TABLE.items():
        if isinstance(key, torch._ops.OpOverloadPacket):
            key = key.default
        if not isinstance(key, (str, torch._ops.OpOverload)) or not callable(function):
            raise InvalidArgumentError(
                f"_ONNX_TRANSLATION_TABLE maps operators such as torch.ops.aten.bincount.default "
                f"to onnxscript functions, not {key!r} to {function!r}"
            )
        table[str(key)] = function
    return table


def translate(model: Any, table: Mapping[str, Callable[..., Any]]) -> None:
    """Replaces the placeholders in an `onnx_ir.Model` by what the table's functions emit."""
    import onnx_ir

    for node in list(model.graph):
        if node.domain == _core.PLACEHOLDER_DOMAIN:
            _translate(model, node, table[node.op_type])
    model.opset_imports.pop(_core.PLACEHOLDER_DOMAIN, None)
    onnx_ir.passes.common.NameFixPass()(model)


def _translate(model: Any, node: Any, function: Callable[..., Any]) -> None:
    import onnx_ir
    from onnxscript import evaluator, values
    from torch.onnx._internal.exporter import _building

    opset = values.Opset("", model.opset_imports[""])
    recorder = _building.OpRecorder(opset, {})
    stand_ins: dict[int, Any] = {}

    def operand(argument: Any) -> Any:
        if isinstance(argument, list):
            return [operand(item) for item in argument]
        if not isinstance(argument, dict):
            return argument
        if "type" in argument:
            return argument["type"]
        index = argument["input"]
        if index not in stand_ins:
            stand_ins[index] = _stand_in(opset, node.inputs[index].name, argument)
        return stand_ins[index]

    arguments = json.loads(node.attributes["arguments"].value)
    args, kwargs = _bound(node.op_type, [operand(argument) for argument in arguments])
    with evaluator.default_as(recorder):
        results = function(*args, **kwargs)
        results = list(results) if isinstance(results, (list, tuple)) else [results]
        results = [  # an operand that is passed through needs a node of its own
            opset.Identity(item) if any(item is value for value in stand_ins.values()) else item
            for item in results
        ]
    if len(results) != len(node.outputs):
        raise InvalidArgumentError(
            f"the translation of {node.op_type} gives {len(results)} results, the operator has "
            f"{len(node.outputs)}"
        )
    for index, stand_in in stand_ins.items():
        stand_in.replace_all_uses_with(node.inputs[index])
    facts = json.loads(node.attributes["outputs"].value)
    for result, old, fact in zip(results, node.outputs, facts, strict=True):
        old.dtype, old.shape = onnx_ir.DataType(fact["dtype"]), onnx_ir.Shape(fact["shape"])
        result.dtype, result.shape = old.dtype, old.shape
    onnx_ir.convenience.replace_nodes_and_values(
        model.graph, node, [node], recorder.nodes, node.outputs, results
    )
    for function_of_own in recorder.functions.values():
        _add_function(model, function_of_own)


def _stand_in(opset: Any, name: str, fact: Mapping[str, Any]) -> Any:
    import onnx_ir
    from torch.onnx._internal.exporter import _tensors

    dtype = onnx_ir.DataType(fact["dtype"])
    return _tensors.SymbolicTensor(
        opset, name=name, shape=onnx_ir.Shape(fact["shape"]), type=onnx_ir.TensorType(dtype)
    )


def _bound(op: str, values: list[Any]) -> tuple[list[Any], dict[str, Any]]:
    """The operands as a function of the operator takes them: defaults at the end left out."""
    namespace, name, overload = op.split(".")
    schema = getattr(getattr(getattr(torch.ops, namespace), name), overload)._schema.arguments
    pairs = list(zip(schema, values, strict=True))
    kwargs = {item.name: value for item, value in pairs if item.kwarg_only and value is not None}
    args = [(item, value) for item, value in pairs if not item.kwarg_only]
    while args and args[-1][0].has_default_value() and args[-1][1] == args[-1][0].default_value:
        args.pop()
    return [value for _, value in args], kwargs


def _add_function(model: Any, function: Any) -> None:
    import onnx_ir

    if not isinstance(function, onnx_ir.Function):
        function = onnx_ir.serde.deserialize_function(function.to_function_proto())
    model.functions[function.identifier()] = function
    model.opset_imports.setdefault(function.domain, 1)
