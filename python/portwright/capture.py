"""Capture: from a model and sample inputs to a Program, traced in C++.

The work happens in `portwright._core.Tracer`; this module sets the stage for it (flags, module
names, symbols for the dynamic dims) and puts everything back, whatever is raised.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.fx.experimental.sym_node  # gives torch.SymInt its operators
from torch._dynamo import _trace_wrapped_higher_order_op as indexing

from portwright import _core, tree
from portwright.dims import DimTable
from portwright.errors import GuardViolatedError

# torch's export flags and nn.Module.__call__ are process-wide, so captures take turns.
_CAPTURE_LOCK = threading.RLock()
_CATALOG = _core.OpCatalog()

_LIBRARY_ROOTS = [
    os.path.dirname(os.path.abspath(torch.__file__)) + os.sep,
    os.path.dirname(os.path.abspath(__file__)) + os.sep,
]


@dataclass
class CapturedProgram:
    """A captured model: the Program and the structure of its inputs and outputs."""

    program: _core.Program
    input_tree: tree.TreeSpec
    output_tree: tree.TreeSpec
    input_names: list[str]
    output_names: list[str]
    notes: list[str] = field(default_factory=list)
    _interpreter: _core.Interpreter | None = None

    def run(self, inputs: dict[str, Any]) -> Any:
        """Runs the program on real tensors and rebuilds the model's output structure.

        Args:
            inputs: the keyword arguments of the model's forward, structured as at capture.

        Raises:
            GuardViolatedError: an input has a size that the program was not captured for.
            InvalidArgumentError: an input is missing, unexpected, or of another rank or dtype.
        """
        leaves = tree.match(self.input_tree, inputs)
        return self.output_tree.unflatten(self.interpreter.run(leaves))

    @property
    def interpreter(self) -> _core.Interpreter:
        """Runs the program; made when it is first asked for."""
        if self._interpreter is None:
            self._interpreter = _core.Interpreter(self.program)
        return self._interpreter


def capture(
    model: torch.nn.Module,
    inputs: dict[str, Any],
    *,
    dynamic: bool = False,
    dynamic_shapes: dict[str, Any] | None = None,
    prefer_deferred_runtime_asserts_over_guards: bool = False,
    extra_kwargs: dict[str, Any] | None = None,
) -> CapturedProgram:
    """Traces `model(**inputs, **extra_kwargs)`.

    Args:
        model: any module. Traced in eval mode; put back afterwards.
        inputs: sample inputs by forward's argument names; tensors, or containers of tensors.
        dynamic: every dim of every tensor is `Dim.AUTO`, unless `dynamic_shapes` is given.
        dynamic_shapes: per input, as `torch.export.export` takes it.
        prefer_deferred_runtime_asserts_over_guards: a condition that narrows an explicit
            `Dim(min, max)` is checked when the program runs instead of being an error now.
        extra_kwargs: further arguments of forward that are no inputs (`use_cache=False`).

    Raises:
        GuardViolatedError: the model narrows an explicit Dim; names the dim, guard and line.
        DataDependentError: the model reads a float out of a tensor, or compares tensors by value
            in a way that no guard can state.
        UnsupportedError: the model does something that cannot be captured; names the line.
    """
    leaves, input_tree = tree.flatten(inputs)
    with _CAPTURE_LOCK:
        tracer = _core.Tracer(_CATALOG)
        tracer.set_library_roots(_LIBRARY_ROOTS)
        _name_modules(tracer, model)
        tracer.set_weights(_weights(model))
        dims = DimTable(tracer, inputs, leaves, dynamic, dynamic_shapes)
        traced = [
            tracer.add_input(name, tensor, dims.of(index))
            for index, (name, tensor) in enumerate(leaves)
        ]
        arguments = input_tree.unflatten(traced)
        with _stage(model), _tracing(tracer):
            result = model(**arguments, **(extra_kwargs or {}))
            outputs, output_tree = tree.flatten(result)
            outputs = tree.output_names(outputs)
            program = tracer.finish(outputs)
    notes = dims.notes + _narrowing_notes(program)
    violations = _core.user_violations(program)
    if violations and not prefer_deferred_runtime_asserts_over_guards:
        raise GuardViolatedError(_violation_text(violations, dims))
    return CapturedProgram(
        program,
        input_tree,
        output_tree,
        [name for name, _ in leaves],
        [name for name, _ in outputs],
        notes,
    )


def _name_modules(tracer: _core.Tracer, model: torch.nn.Module) -> None:
    for path, module in model.named_modules():
        tracer.name_module(module, path)


def _weights(model: torch.nn.Module) -> list[tuple[str, str, bool, torch.Tensor]]:
    found: list[tuple[str, str, bool, torch.Tensor]] = [
        ("parameter", name, True, parameter) for name, parameter in model.named_parameters()
    ]
    for prefix, module in model.named_modules():
        transient = module._non_persistent_buffers_set
        for name, buffer in module._buffers.items():
            if buffer is not None:
                target = f"{prefix}.{name}" if prefix else name
                found.append(("buffer", target, name not in transient, buffer))
    return found


# Functions of vision models that ask torch.jit.is_tracing() for the branch that holds for every
# image size. Where others ask (whether to make a cache), they get eager's answer.
_SIZE_FUNCTIONS = frozenset(
    {
        "interpolate_pos_encoding",
        "_tile_position_embeddings",
        "get_absolute_positions",
        "unfolding",
    }
)


def _is_tracing() -> bool:
    return sys._getframe(1).f_code.co_name in _SIZE_FUNCTIONS


@contextlib.contextmanager
def _stage(model: torch.nn.Module) -> Iterator[None]:
    """Eval mode, export flags, no autograd; all put back afterwards."""
    compiler = torch.compiler
    flags = (compiler._is_compiling_flag, compiler._is_exporting_flag)  # type: ignore[attr-defined]
    jit_is_tracing = torch.jit.is_tracing  # type: ignore[attr-defined]
    training = [module for module in model.modules() if module.training]
    if training:
        warnings.warn("the model is in training mode: it is exported in eval mode", stacklevel=4)
    try:
        for module in training:
            module.training = False
        compiler._is_compiling_flag = True  # type: ignore[attr-defined]
        compiler._is_exporting_flag = True  # type: ignore[attr-defined]
        torch.jit.is_tracing = _is_tracing  # type: ignore[attr-defined]
        with torch.no_grad():
            yield
    finally:
        compiler._is_compiling_flag, compiler._is_exporting_flag = flags  # type: ignore[attr-defined]
        torch.jit.is_tracing = jit_is_tracing  # type: ignore[attr-defined]
        for module in training:
            module.training = True


_original_call = torch.nn.Module.__call__


def _call_with_path(self: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
    _core.enter_module(self)
    try:
        return _original_call(self, *args, **kwargs)
    finally:
        _core.leave_module()


def _item(self: torch.Tensor) -> Any:
    """Tensor.item: of a traced integer or bool tensor a symbol (torch's can only hold Python's)."""
    if not _core.is_traced(self):
        return _original_item(self)
    node = _core.read_item(self)
    number: Any = torch.SymBool if self.dtype == torch.bool else torch.SymInt
    return number(node)


def _tolist(self: torch.Tensor) -> Any:
    if not _core.is_traced(self):
        return _original_tolist(self)
    return [item.tolist() for item in self.unbind(0)] if self.dim() else self.item()


_original_item = torch.Tensor.item
_original_hash = torch.SymInt.__hash__
_original_mod_index = indexing.mod_index
_original_tolist = torch.Tensor.tolist
_TENSOR_METHODS = {"item": _item, "tolist": _tolist}


def _hash_size(self: Any) -> int:
    """A symbolic number as a dict key: the model looks up by its value, which is a decision."""
    return hash(int(self))


def _index(x: torch.Tensor, indices: list[torch.Tensor]) -> torch.Tensor:
    """torch's mod_index without its autograd.Function, which vmap dispatches past the tracer."""
    return torch.ops.aten.index(x, indices)  # type: ignore[no-any-return]


# Methods that torch.SymInt's operators look for on a C++ SymNode and that torch does not bind.
_SYM_NODE_METHODS = {
    "trunc": _core.sym_trunc,
    "round": _core.sym_round,
    "sqrt": _core.sym_sqrt,
    "str": _core.sym_str,
}


@contextlib.contextmanager
def _tracing(tracer: _core.Tracer) -> Iterator[None]:
    node_class = torch._C._SymNode  # type: ignore[attr-defined]
    added = [name for name in _SYM_NODE_METHODS if not hasattr(node_class, name)]
    try:
        for name in added:
            setattr(node_class, name, _sym_node_method(name))
        torch.nn.Module.__call__ = _call_with_path  # type: ignore[method-assign]
        for name, method in _TENSOR_METHODS.items():
            setattr(torch.Tensor, name, method)
        torch.SymInt.__hash__ = _hash_size  # type: ignore[method-assign]
        indexing.mod_index = _index
        tracer.start()
        yield
    finally:
        tracer.stop()
        torch.nn.Module.__call__ = _original_call  # type: ignore[method-assign]
        torch.SymInt.__hash__ = _original_hash  # type: ignore[method-assign]
        indexing.mod_index = _original_mod_index
        for name in _TENSOR_METHODS:
            if name in vars(torch.Tensor):  # the originals are its base class's
                delattr(torch.Tensor, name)
        for name in added:
            delattr(node_class, name)


def _sym_node_method(name: str) -> Any:
    function = _SYM_NODE_METHODS[name]
    return lambda self, *args: function(self, *args)


def _narrowing_notes(program: _core.Program) -> list[str]:
    """One line per dim that the model fixed, by the condition that did it, or limited."""
    items = _core.narrowings(program)
    fixing = {item["origin"] for item in items if item["fixed"] is not None and item["equality"]}
    notes = []
    for item in items:
        where = f" at {item['source']}" if item["source"] else ""
        if item["fixed"] is None:
            if not item["equality"]:
                notes.append(f"{item['origin']} is limited: the model needs {item['guard']}{where}")
        elif item["equality"] or item["origin"] not in fixing:
            notes.append(
                f"{item['origin']} is fixed at {item['fixed']}: the model needs "
                f"{item['guard']}{where}"
            )
    return list(dict.fromkeys(notes))


def _violation_text(violations: list[dict[str, Any]], dims: DimTable) -> str:
    lines = ["the model needs more than the given dynamic_shapes promise:"]
    for item in violations:
        where = f" at {item['source']}" if item["source"] else ""
        module = f" in {item['module']}" if item["module"] else ""
        lines.append(f"  dim {', '.join(item['dims'])}: {item['guard']}{where}{module}")
    lines.append(
        "Suggested fixes: narrow these Dims so that the condition always holds, use Dim.AUTO or "
        "Dim.STATIC for them, or set prefer_deferred_runtime_asserts_over_guards=True to check "
        "the condition when the program runs."
    )
    return "\n".join(lines)
