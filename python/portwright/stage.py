"""What is different in the process while a model is traced, and back afterwards.

torch's export flags, the operators of symbolic numbers, methods of tensors that must return
symbols, builtins that must not read a symbolic length, the patches of model code.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import torch
import torch.fx.experimental.sym_node  # gives torch.SymInt its operators
from torch._dynamo import _trace_wrapped_higher_order_op as vmap_indexing
from torch.nn.utils import rnn

from portwright import _core, lazy_functions, lazy_lists, symbolic_functions
from portwright.loops import starts_loop

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
def staged(model: torch.nn.Module) -> Iterator[None]:
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


@contextlib.contextmanager
def unchanged(model: torch.nn.Module) -> Iterator[None]:
    """Takes back what forward sets on the model's modules: attributes, buffers and parameters."""
    before = []
    for module in model.modules():
        state = vars(module)
        before += [(names, dict(names)) for names in (state, state["_buffers"])]
    try:
        yield
    finally:
        for names, old in before:
            for name in [name for name in names if name not in old]:
                del names[name]
            for name, value in old.items():
                if names.get(name) is not value:
                    names[name] = value


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
    return lazy_functions.tolist(self) if _core.is_traced(self) else _original_tolist(self)


def _iter(self: torch.Tensor) -> Any:
    """Tensor.__iter__: of a symbolic number of rows lazily, where Python itself asks for it."""
    lazy = _core.is_traced(self) and lazy_functions.has_symbolic_rows(self)
    if not lazy or not starts_loop(sys._getframe(1)):
        return _original_iter(self)
    return lazy_lists.Rows(self).iterate(sys._getframe(1))


_original_iter: Any = torch.Tensor.__iter__
_original_item = torch.Tensor.item
_original_times = torch.SymInt.__rmul__
_original_hash = torch.SymInt.__hash__
_original_mod_index = vmap_indexing.mod_index
_original_pad_sequence = rnn.pad_sequence
_TORCH_FUNCTIONS = lazy_functions.TORCH_FUNCTIONS | symbolic_functions.FUNCTIONS
_original_functions = {name: getattr(torch, name) for name in _TORCH_FUNCTIONS}
_original_tolist = torch.Tensor.tolist
_TENSOR_METHODS = {
    "__iter__": _iter,
    "item": _item,
    "split": lazy_functions.split,
    "tolist": _tolist,
}
_original_methods = {
    name: vars(torch.Tensor)[name] for name in _TENSOR_METHODS if name in vars(torch.Tensor)
}


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
def tracing(tracer: _core.Tracer, model: torch.nn.Module) -> Iterator[None]:
    node_class = torch._C._SymNode  # type: ignore[attr-defined]
    modules = _modeling_modules(model)
    added = [name for name in _SYM_NODE_METHODS if not hasattr(node_class, name)]
    try:
        for name in added:
            setattr(node_class, name, _sym_node_method(name))
        torch.nn.Module.__call__ = _call_with_path  # type: ignore[method-assign]
        for name, method in _TENSOR_METHODS.items():
            setattr(torch.Tensor, name, method)
        torch.SymInt.__hash__ = _hash_size  # type: ignore[method-assign]
        torch.SymInt.__rmul__ = lazy_functions.times  # type: ignore[method-assign]
        vmap_indexing.mod_index = _index
        rnn.pad_sequence = lazy_functions.pad_sequence
        for name, function in _TORCH_FUNCTIONS.items():
            setattr(torch, name, function)
        for names in modules:
            names.update(lazy_functions.BUILTINS)
        tracer.start()
        yield
    finally:
        tracer.stop()
        for names in modules:
            for name in lazy_functions.BUILTINS:
                names.pop(name, None)
        for name, function in _original_functions.items():
            setattr(torch, name, function)
        torch.nn.Module.__call__ = _original_call  # type: ignore[method-assign]
        torch.SymInt.__hash__ = _original_hash  # type: ignore[method-assign]
        torch.SymInt.__rmul__ = _original_times  # type: ignore[method-assign]
        vmap_indexing.mod_index = _original_mod_index
        rnn.pad_sequence = _original_pad_sequence
        for name in _TENSOR_METHODS:
            if name in _original_methods:
                setattr(torch.Tensor, name, _original_methods[name])
            elif name in vars(torch.Tensor):  # the original is its base class's
                delattr(torch.Tensor, name)
        for name in added:
            delattr(node_class, name)


def _sym_node_method(name: str) -> Any:
    function = _SYM_NODE_METHODS[name]
    return lambda self, *args: function(self, *args)


def _modeling_modules(model: torch.nn.Module) -> list[dict[str, Any]]:
    """The globals of the Python modules that define the model, where builtins are shadowed."""
    names = {cls.__module__ for cls in {type(m) for m in model.modules()}}
    names |= {helper for name in names for helper in _helper_modules(name)}
    return [
        vars(sys.modules[name])
        for name in sorted(names)
        if name in sys.modules
        and not name.startswith(("torch.", "portwright.", "builtins"))
        and not any(builtin in vars(sys.modules[name]) for builtin in lazy_functions.BUILTINS)
    ]


@functools.cache
def _helper_modules(name: str) -> frozenset[str]:
    """The modules of the same package whose functions a module has imported by name."""
    if name.startswith("torch.") or name not in sys.modules:
        return frozenset()
    package = name.partition(".")[0]
    functions = [v for v in vars(sys.modules[name]).values() if inspect.isfunction(v)]
    modules = {str(function.__globals__.get("__name__")) for function in functions}
    return frozenset(m for m in modules if m.partition(".")[0] == package)
