"""What is different in the process while a model is traced, and back afterwards.

torch's export flags, the operators of symbolic numbers, methods of tensors that must return
symbols, builtins that must not read a symbolic length, the patches of model code.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import inspect
import sys
import warnings
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import torch
import torch.fx.experimental.sym_node  # gives torch.SymInt its operators
from torch._dynamo import _trace_wrapped_higher_order_op as vmap_indexing
from torch.nn.utils import rnn

from portwright import _core, higher_order, lazy_functions, lazy_lists, symbolic_functions
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
def swapped(owner: Any, replacements: Mapping[str, Any]) -> Iterator[None]:
    """Attributes of a class or module replaced; afterwards its own are as they were before."""
    before = {name: vars(owner)[name] for name in replacements if name in vars(owner)}
    try:
        for name, value in replacements.items():
            setattr(owner, name, value)
        yield
    finally:
        for name in replacements:
            if name in before:
                setattr(owner, name, before[name])
            elif name in vars(owner):
                delattr(owner, name)


@contextlib.contextmanager
def no_collections() -> Iterator[None]:
    """No garbage collections: traces and torch.fx graphs are very many objects with little garbage,
    and each full collection would look through all of them and the model again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextlib.contextmanager
def staged(model: torch.nn.Module) -> Iterator[None]:
    """Eval mode, export flags, no autograd; put back afterwards, with the random state."""
    flags = {"_is_compiling_flag": True, "_is_exporting_flag": True}
    with (
        evaluated(model),
        swapped(torch.compiler, flags),
        swapped(torch.jit, {"is_tracing": _is_tracing}),
        no_collections(),
    ):
        yield


@contextlib.contextmanager
def evaluated(model: torch.nn.Module) -> Iterator[None]:
    """Eval mode, no autograd; put back afterwards, with the random state."""
    training = [module for module in model.modules() if module.training]
    if training:
        warnings.warn("the model is in training mode: it is exported in eval mode", stacklevel=6)
    random_state = torch.get_rng_state()
    try:
        for module in training:
            module.training = False
        with torch.no_grad():
            yield
    finally:
        torch.set_rng_state(random_state)
        for module in training:
            module.training = True


@contextlib.contextmanager
def unchanged(model: torch.nn.Module) -> Iterator[None]:
    """Takes back what forward changes on the model's modules and configs: attributes, and what the
    lists, dicts and sets among them hold. (Tensors are not written to while a model is traced.)"""
    before = [(held, held.copy()) for held in _state(model)]
    try:
        yield
    finally:
        for held, old in before:
            if isinstance(held, list):
                held[:] = old
            elif isinstance(held, set):
                held.intersection_update(old)
                held.update(old)
            elif not _holds_same(held, old):
                held.clear()
                held.update(old)


def _holds_same(held: dict[Any, Any], old: dict[Any, Any]) -> bool:
    """Whether two dicts have the same keys in order, and the very same values."""
    return len(held) == len(old) and all(
        (name, id(value)) == (other, id(kept))
        for (name, value), (other, kept) in zip(held.items(), old.items(), strict=True)
    )


def _state(model: torch.nn.Module) -> Iterator[Any]:
    configs: dict[int, Any] = {}
    for module in model.modules():
        attributes = vars(module)
        yield attributes
        for value in attributes.values():
            if isinstance(value, (list, dict, set)):
                yield value
        config = attributes.get("config")
        if hasattr(config, "__dict__"):
            configs[id(config)] = config
    for config in configs.values():
        yield vars(config)


def _with_path(call: Any) -> Any:
    """nn.Module.__call__, which tells the tracer in which module it is."""

    def call_with_path(self: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        _core.enter_module(self)
        try:
            return call(self, *args, **kwargs)
        finally:
            _core.leave_module()

    return call_with_path


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
_TORCH_FUNCTIONS = lazy_functions.TORCH_FUNCTIONS | symbolic_functions.FUNCTIONS
_original_tolist = torch.Tensor.tolist
_TENSOR_METHODS = {
    "__iter__": _iter,
    "item": _item,
    "split": lazy_functions.split,
    "tolist": _tolist,
}


def _seeding(manual_seed: Any) -> Any:
    """torch.manual_seed, which tells the tracer that what is drawn next is always the same."""

    def seed(number: int) -> Any:
        _core.note_seed()
        return manual_seed(number)

    return seed


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


class _ShapeEnv:
    """What torch's guard_or_false, guard_or_true and statically_known_true ask of a shape_env:
    conditions that ranges settle; for others the answer that holds for every size."""

    @staticmethod
    def _maybe_evaluate_static(node: Any) -> bool | None:
        return _core.sym_truth(node)

    @staticmethod
    def evaluate_sym_node(node: Any, size_oblivious: bool, fallback_value: bool) -> bool:
        truth = _core.sym_truth(node)
        return fallback_value if truth is None else truth


_SYM_NODE_PROPERTIES = {
    "_hint": property(lambda self: None),
    "expr": property(lambda self: self),
    "shape_env": property(lambda self: _ShapeEnv),
}


@contextlib.contextmanager
def tracing(tracer: _core.Tracer, model: torch.nn.Module) -> Iterator[None]:
    """The tracer active on this thread, and what it needs from Python in place."""
    node_class = torch._C._SymNode  # type: ignore[attr-defined]
    node_methods = {
        name: _sym_node_method(name) for name in _SYM_NODE_METHODS if not hasattr(node_class, name)
    }
    with contextlib.ExitStack() as stack:
        for owner, replacements in (
            (node_class, node_methods | _SYM_NODE_PROPERTIES),
            (torch.nn.Module, {"__call__": _with_path(torch.nn.Module.__call__)}),
            (torch.Tensor, _TENSOR_METHODS),
            (torch.SymInt, {"__hash__": _hash_size, "__rmul__": lazy_functions.times}),
            (rnn, {"pad_sequence": lazy_functions.pad_sequence}),
            (vmap_indexing, {"mod_index": _index}),
            (torch, _TORCH_FUNCTIONS | {"manual_seed": _seeding(torch.manual_seed)}),
            *higher_order.replacements(),
            *((module, lazy_functions.BUILTINS) for module in _modeling_modules(model)),
        ):
            stack.enter_context(swapped(owner, replacements))
        # What the model itself has compiled runs as it is written.
        stack.enter_context(torch.compiler.set_stance("force_eager"))
        tracer.start()
        stack.callback(tracer.stop)
        yield


def _sym_node_method(name: str) -> Any:
    function = _SYM_NODE_METHODS[name]
    return lambda self, *args: function(self, *args)


def _modeling_modules(model: torch.nn.Module) -> list[ModuleType]:
    """The Python modules that define the model, in whose globals builtins are shadowed."""
    names = {cls.__module__ for cls in {type(m) for m in model.modules()}}
    names |= {helper for name in names for helper in _helper_modules(name)}
    return [
        sys.modules[name]
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
