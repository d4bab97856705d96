"""Containers of tensors, taken apart into named leaves and put together again.

Works by reflection on what models take and return: lists, tuples, named tuples, dicts,
`ModelOutput`, dataclasses and `transformers` caches of any class. The original is never changed:
`TreeSpec.unflatten` builds fresh containers that share everything but tensors.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import torch

from portwright import lazy_functions
from portwright.errors import InvalidArgumentError, UnsupportedError

Leaf = tuple[str, torch.Tensor]

# Attribute names that leaf names replace: optimum, transformers.js and onnxruntime-genai read
# caches as past_key_values.N.key and .value.
_CACHE_LEAF_NAMES = {"keys": "key", "values": "value"}

# Python ints in which layers of caches count the tokens they have seen: state like their tensors.
_COUNTERS = ("cumulative_length", "cumulative_length_int")

# What becomes of counters: part of the structure, or a leaf (a 0-d int64 tensor) of layers that
# hold tokens.
Counters = Literal["constant", "leaf"]

_SYMBOLIC = (torch.SymInt, torch.SymFloat, torch.SymBool)
Number = int | float | bool | None


@dataclass(frozen=True)
class _Node:
    """One container: how to rebuild it, and its children by key."""

    # "leaf", "constant", "sequence", "mapping", "attributes", "shared"; of counters "count" (read
    # from a leaf)
    kind: str
    original: Any = None
    children: tuple[tuple[Any, _Node], ...] = ()


class TreeSpec:
    """The structure of a nested container, without its tensors.

    Attributes:
        names: of the leaves, in order.
        counts: the names of those that are Python ints outside.
    """

    def __init__(self, root: _Node, found: _Found) -> None:
        self._root = root
        self.names = [name for name, _ in found.leaves]
        self.counts = found.counts

    def unflatten(
        self,
        leaves: Sequence[torch.Tensor],
        number: Callable[[Any], Number] | None = None,
    ) -> Any:
        """The container with these tensors in place of the original's, in the leaves' order.

        Args:
            leaves: one tensor per name.
            number: gives the value of a symbolic number of the structure; None leaves them.

        Raises:
            InvalidArgumentError: another number of tensors than leaves.
        """
        if len(leaves) != len(self.names):
            raise InvalidArgumentError(
                f"the structure has {len(self.names)} tensors, {len(leaves)} were given"
            )
        return _Rebuilding(iter(leaves), number).build(self._root)

    def check_constants(self, other: TreeSpec) -> None:
        """Raises InvalidArgumentError where `other` has another number, string or bool."""
        _check_constants(self._root, other._root, "", False)


@dataclass
class _Found:
    """What taking a container apart gives besides its structure."""

    counters: Counters
    leaves: list[Leaf] = field(default_factory=list)
    counts: set[str] = field(default_factory=set)
    seen: dict[int, Any] = field(default_factory=dict)


def flatten(obj: Any, counters: Counters = "constant") -> tuple[list[Leaf], TreeSpec]:
    """The tensors of a nested container, with names, and its structure.

    Args:
        obj: tensors in lists, tuples, dicts, ModelOutputs, dataclasses and caches. Numbers,
            strings and None are part of the structure.
        counters: what becomes of the ints in which caches count tokens.

    Returns:
        `(leaves, spec)`: `(name, tensor)` in order, names joined with dots
        (`"past_key_values.0.key"`), and what puts them together again.
    """
    found = _Found(counters)
    root = _take_apart(obj, "", found)
    return found.leaves, TreeSpec(root, found)


def match(spec: TreeSpec, inputs: Mapping[str, Any]) -> list[torch.Tensor]:
    """The tensors of `inputs` in the order of `spec`.

    Raises:
        InvalidArgumentError: an input is missing or unexpected, or a number, string or bool is not
            what it was in `spec`.
    """
    tensors, structure = select(spec.names, inputs)
    spec.check_constants(structure)
    return tensors


def select(names: Sequence[str], inputs: Mapping[str, Any]) -> tuple[list[torch.Tensor], TreeSpec]:
    """The tensors of `inputs` by name, and the structure of all inputs.

    Raises:
        InvalidArgumentError: an input is missing or unexpected.
    """
    leaves, structure = flatten(dict(inputs), "leaf")
    given = dict(leaves)
    for counter in structure.counts - {*names}:
        del given[counter]  # a constant of the program
    takes = ", ".join(names) or "no tensors"
    missing = [name for name in names if name not in given]
    if missing:
        raise InvalidArgumentError(f"missing input {_quoted(missing)}: the program takes {takes}")
    unexpected = [name for name in given if name not in set(names)]
    if unexpected:
        raise InvalidArgumentError(
            f"unexpected input {_quoted(unexpected)}: the program takes {takes}"
        )
    return [given[name] for name in names], structure


def is_container(obj: Any) -> bool:
    """Whether `flatten` looks into an object of this class."""
    return _items(obj) is not None


def output_names(leaves: list[Leaf]) -> list[Leaf]:
    """Leaves under the names that ONNX graphs give outputs: caches as `present.N.key`."""
    prefix = "past_key_values."
    named = [
        ("present." + name[len(prefix) :] if name.startswith(prefix) else name or "output", tensor)
        for name, tensor in leaves
    ]
    return [
        (f"output_{name}" if name.split(".")[0].isdigit() else name, tensor)
        for name, tensor in named
    ]


def _quoted(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _join(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)


def _take_apart(obj: Any, path: str, found: _Found) -> _Node:
    if isinstance(obj, torch.Tensor):
        found.leaves.append((path, obj))
        return _Node("leaf")
    obj = lazy_functions.read(obj)
    items = _items(obj)
    if items is None:
        return _Node("constant", obj)
    _refuse_quantized(obj, path)
    if id(obj) in found.seen:  # the same container twice: rebuilt as the same container twice
        return _Node("shared", id(obj))
    found.seen[id(obj)] = obj
    kind, pairs = items
    children = tuple((key, _child(obj, key, value, path, found)) for key, value in pairs)
    return _Node(kind, obj, children)


def _child(owner: Any, key: Any, value: Any, path: str, found: _Found) -> _Node:
    path = _leaf_path(owner, path, key)
    if found.counters == "constant" or not counts(owner, key, value):
        return _take_apart(value, path, found)
    found.leaves.append((path, torch.tensor(value)))
    found.counts.add(path)
    return _Node("count")


def _leaf_path(owner: Any, path: str, key: Any) -> str:
    if _is_cache(owner) and key in ("layers", "self_attention_cache"):
        return path  # past_key_values.0.key, not past_key_values.layers.0.key
    if _is_cache_layer(owner):
        return _join(path, _CACHE_LEAF_NAMES.get(key, key))
    return _join(path, key)


def _items(obj: Any) -> tuple[str, list[tuple[Any, Any]]] | None:
    """The children of a container, or None for a constant."""
    if isinstance(obj, Mapping):
        return "mapping", list(obj.items())
    if isinstance(obj, (list, tuple)):
        return "sequence", list(enumerate(obj))
    if _is_cache(obj) or _is_cache_layer(obj) or _is_dataclass(obj) or _has_tensors(obj):
        return "attributes", [
            (k, v)
            for k, v in vars(obj).items()
            if _holds_tensors(v) or isinstance(v, (bool, int, float, str, *_SYMBOLIC))
        ]
    return None


def _has_tensors(obj: Any) -> bool:
    """Whether an object of an unknown class has attributes that are tensors, or holders of them."""
    if isinstance(obj, (torch.nn.Module, type)) or callable(obj) or not hasattr(obj, "__dict__"):
        return False
    return any(
        isinstance(item, torch.Tensor)
        for value in vars(obj).values()
        for item in (
            value.values()
            if isinstance(value, dict)
            else value
            if isinstance(value, (list, tuple))
            else [value]
        )
    )


def counts(owner: Any, key: Any, value: Any) -> bool:
    """Whether an attribute is the int in which a layer that holds tokens counts them."""
    return key in _COUNTERS and type(value) is int and getattr(owner, "keys", owner) is not None


def _holds_tensors(value: Any) -> bool:
    """Whether an attribute is taken apart; others are copied with their owner."""
    if isinstance(value, torch.Tensor):
        return True
    items = _items(value)
    return items is not None and any(_holds_tensors(child) for _, child in items[1])


def _is_dataclass(obj: Any) -> bool:
    return dataclasses.is_dataclass(obj) and not isinstance(obj, type)


def _bases(obj: Any) -> set[str]:
    return {base.__name__ for base in type(obj).__mro__}


def _is_cache(obj: Any) -> bool:
    return "Cache" in _bases(obj) or type(obj).__name__.endswith("Cache")


def _is_cache_layer(obj: Any) -> bool:
    return not isinstance(obj, torch.nn.Module) and any(
        base.endswith(("CacheLayerMixin", "CacheLayer")) for base in _bases(obj)
    )


def _refuse_quantized(obj: Any, path: str) -> None:
    if any(base.endswith(("QuantizedLayer", "QuantizedCache")) for base in _bases(obj)):
        raise UnsupportedError(
            f"'{path}' is a {type(obj).__name__}: a cache that quantizes what it holds cannot be "
            "captured. Pass a DynamicCache or a StaticCache"
        )


class _Rebuilding:
    def __init__(
        self, leaves: Iterator[torch.Tensor], number: Callable[[Any], Number] | None
    ) -> None:
        self._leaves = leaves
        self._number = number
        self._built: dict[int, Any] = {}

    def build(self, node: _Node) -> Any:
        if node.kind == "leaf":
            return next(self._leaves)
        if node.kind == "count":
            return lazy_functions.count(next(self._leaves))
        if node.kind == "constant":
            symbolic = self._number is not None and isinstance(node.original, _SYMBOLIC)
            return self._number(node.original) if symbolic and self._number else node.original
        if node.kind == "shared":
            return self._built[node.original]
        children = [(key, self.build(child)) for key, child in node.children]
        result = _BUILDERS[node.kind](node.original, children)
        self._built[id(node.original)] = result
        return result


def _check_constants(captured: _Node, given: _Node, path: str, inside: bool) -> None:
    """`inside`: within a cache, where ints that are no counters repeat sizes of its tensors."""
    if captured.kind != given.kind:
        return
    if captured.kind != "constant":
        owner = captured.original
        inside = inside or _is_cache(owner) or _is_cache_layer(owner)
        children = dict(given.children)
        for key, child in captured.children:
            if key in children:
                _check_constants(child, children[key], _join(path, key), inside)
        return
    kinds = (bool, str) if inside else (bool, str, int, float)
    old, new = captured.original, given.original
    if isinstance(old, kinds) and new is not None and old != new:
        raise InvalidArgumentError(
            f"'{path}' is {new!r}, but was {old!r} when the program was captured, and is part of "
            "it: pass that value, or capture the model again with the new one"
        )


def _build_sequence(original: Any, children: list[tuple[Any, Any]]) -> Any:
    values = [value for _, value in children]
    if hasattr(original, "_fields"):  # a named tuple
        return type(original)(*values)
    return type(original)(values)


def _build_mapping(original: Any, children: list[tuple[Any, Any]]) -> Any:
    if type(original) is dict:
        return dict(children)
    result: Any
    if dataclasses.is_dataclass(original):  # ModelOutput
        fields = {field.name for field in dataclasses.fields(original)}
        make = cast(Any, type(original))
        result = make(**{key: value for key, value in children if key in fields})
    else:
        result = copy.copy(original)
    for key, value in children:
        result[key] = value
    return result


def _build_attributes(original: Any, children: list[tuple[Any, Any]]) -> Any:
    result = copy.copy(original)
    given = {key for key, _ in children}
    for key, value in vars(original).items():
        # What holds no tensors yet, as a new cache, may get some: the copy must not share it.
        mutable = isinstance(value, (list, dict, set)) or _is_cache(value) or _is_cache_layer(value)
        if mutable and key not in given:
            object.__setattr__(result, key, copy.deepcopy(value))
    for key, value in children:
        object.__setattr__(result, key, value)
    return result


_BUILDERS = {
    "sequence": _build_sequence,
    "mapping": _build_mapping,
    "attributes": _build_attributes,
}
