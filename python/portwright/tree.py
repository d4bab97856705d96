"""Containers of tensors, taken apart into named leaves and put together again.

Works by reflection on what models take and return: lists, tuples, named tuples, dicts,
`ModelOutput`, dataclasses and `transformers` caches of any class. The original is never changed:
`TreeSpec.unflatten` builds fresh containers that share everything but tensors.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch

from portwright import lazy_lists
from portwright.errors import InvalidArgumentError

Leaf = tuple[str, torch.Tensor]

# Attribute names that leaf names replace: optimum, transformers.js and onnxruntime-genai read
# caches as past_key_values.N.key and .value.
_CACHE_LEAF_NAMES = {"keys": "key", "values": "value"}


@dataclass(frozen=True)
class _Node:
    """One container: how to rebuild it, and its children by key."""

    kind: str  # "leaf", "constant", "sequence", "mapping", "attributes", "shared"
    original: Any = None
    children: tuple[tuple[Any, _Node], ...] = ()


class TreeSpec:
    """The structure of a nested container, without its tensors."""

    def __init__(self, root: _Node, names: list[str]) -> None:
        self._root = root
        self.names = names

    def unflatten(self, leaves: Sequence[torch.Tensor]) -> Any:
        """The container with these tensors in place of the original's, in the leaves' order.

        Raises:
            InvalidArgumentError: another number of tensors than leaves.
        """
        if len(leaves) != len(self.names):
            raise InvalidArgumentError(
                f"the structure has {len(self.names)} tensors, {len(leaves)} were given"
            )
        return _rebuild(self._root, iter(leaves), {})

    def describe(self) -> str:
        """The leaves' names, for messages."""
        return ", ".join(self.names) if self.names else "no tensors"


def flatten(obj: Any) -> tuple[list[Leaf], TreeSpec]:
    """The tensors of a nested container, with names, and its structure.

    Args:
        obj: tensors in lists, tuples, dicts, ModelOutputs, dataclasses and caches. Numbers,
            strings and None are part of the structure.

    Returns:
        `(leaves, spec)`: `(name, tensor)` in order, names joined with dots
        (`"past_key_values.0.key"`), and what puts them together again.
    """
    leaves: list[Leaf] = []
    root = _take_apart(obj, "", leaves, {})
    return leaves, TreeSpec(root, [name for name, _ in leaves])


def match(spec: TreeSpec, inputs: Mapping[str, Any]) -> list[torch.Tensor]:
    """The tensors of `inputs` in the order of `spec`.

    Raises:
        InvalidArgumentError: an input is missing or unexpected.
    """
    given = dict(flatten(dict(inputs))[0])
    missing = [name for name in spec.names if name not in given]
    if missing:
        raise InvalidArgumentError(
            f"missing input {_quoted(missing)}: the program takes {spec.describe()}"
        )
    unexpected = [name for name in given if name not in set(spec.names)]
    if unexpected:
        raise InvalidArgumentError(
            f"unexpected input {_quoted(unexpected)}: the program takes {spec.describe()}"
        )
    return [given[name] for name in spec.names]


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


def _take_apart(obj: Any, path: str, leaves: list[Leaf], seen: dict[int, Any]) -> _Node:
    if isinstance(obj, torch.Tensor):
        leaves.append((path, obj))
        return _Node("leaf")
    obj = lazy_lists.read(obj)
    items = _items(obj)
    if items is None:
        return _Node("constant", obj)
    if id(obj) in seen:  # the same container twice: rebuilt as the same container twice
        return _Node("shared", id(obj))
    seen[id(obj)] = obj
    kind, pairs = items
    children = tuple(
        (key, _take_apart(value, _leaf_path(obj, path, key), leaves, seen)) for key, value in pairs
    )
    return _Node(kind, obj, children)


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
    if _is_cache(obj) or _is_cache_layer(obj) or _is_dataclass(obj):
        return "attributes", [(k, v) for k, v in vars(obj).items() if _holds_tensors(v)]
    return None


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
    return any(name.endswith("CacheLayerMixin") for name in _bases(obj)) or (
        type(obj).__name__.endswith(("CacheLayer", "AttentionLayer"))
        and hasattr(obj, "keys")
        and not isinstance(obj, torch.nn.Module)
    )


def _rebuild(node: _Node, leaves: Iterator[torch.Tensor], built: dict[int, Any]) -> Any:
    if node.kind == "leaf":
        return next(leaves)
    if node.kind == "constant":
        return node.original
    if node.kind == "shared":
        return built[node.original]
    children = [(key, _rebuild(child, leaves, built)) for key, child in node.children]
    result = _BUILDERS[node.kind](node.original, children)
    built[id(node.original)] = result
    return result


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
    for key, value in vars(original).items():
        if isinstance(value, (list, dict, set)):  # the copy must not share mutable state
            object.__setattr__(result, key, copy.copy(value))
    for key, value in children:
        object.__setattr__(result, key, value)
    return result


_BUILDERS = {
    "sequence": _build_sequence,
    "mapping": _build_mapping,
    "attributes": _build_attributes,
}
