"""Containers as torch's pytrees, so that a .pt2 program takes and gives the model's own.

transformers registers its ModelOutputs itself. Caches and other classes that hold tensors are
registered here, by reflection and under the type names and contexts that transformers' exporters
use for them: a process that has either library's registration reads the file.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils import _pytree as pytree

from portwright import _core, tree
from portwright.errors import UnsupportedError
from portwright.pytree_context import Context, flatten, flatten_with_keys, type_name, unflatten

# A tensor's position, or the name and value of a leaf that is no tensor. A symbolic size is named
# `SIZE` and has its expression for a value.
Leaf = int | tuple[str, bool | int | float | str | None]
SIZE = "size of the program"
_COUNT = 1 << 60  # no cache counts so far


@dataclass(frozen=True)
class PytreeSpec:
    """A structure as torch writes it down, and what its leaves are."""

    text: str
    leaves: list[Leaf]
    names: list[str]  # of the top level's entries


def describe(structure: tree.TreeSpec, *, arguments: bool) -> PytreeSpec:
    """The pytree of a structure whose tensors are in our own order.

    Args:
        structure: what `tree.flatten` took apart.
        arguments: it is a dict of keyword arguments; the spec is of `(args, kwargs)`.

    Raises:
        UnsupportedError: a leaf that the .pt2 format cannot hold; names it.
    """
    markers = [
        torch.tensor(_COUNT + index) if name in structure.counts else torch.empty(0)
        for index, name in enumerate(structure.names)
    ]
    obj = structure.unflatten(markers)
    register(obj)
    positions = {id(marker): index for index, marker in enumerate(markers)}
    pairs, spec = pytree.tree_flatten_with_path(((), obj) if arguments else obj)
    leaves = [_leaf(path, value, positions) for path, value in pairs]
    lost = set(range(len(markers))) - set(leaves)
    if lost:
        raise UnsupportedError(
            f"{', '.join(structure.names[index] for index in sorted(lost))}: other code has "
            "registered the class that holds this as a pytree in which it is no leaf. Import "
            "portwright before"
        )
    return PytreeSpec(pytree.treespec_dumps(spec), leaves, list(obj) if arguments else [])


def _leaf(path: pytree.KeyPath, value: Any, positions: dict[int, int]) -> Leaf:
    if isinstance(value, torch.Tensor):
        if id(value) in positions:
            return positions[id(value)]
        count = int(value)  # of a cache; the ints of `markers` are told by their values
        return count - _COUNT if count >= _COUNT else ("count", count)
    if isinstance(value, torch.SymInt):
        return SIZE, _core.sym_str(value.node)
    if value is None or type(value) in (bool, int, float, str):
        return pytree.keystr(path).strip("[]'\"01") or "constant", value
    raise UnsupportedError(
        f"{pytree.keystr(path)} is a {type(value).__name__}: a .pt2 program takes and gives "
        "tensors, numbers, strings and None. Leave it out"
    )


def register(obj: Any) -> None:
    """Registers the class of every container in `obj` that torch does not know."""
    cls = type(obj)
    if cls in pytree.SUPPORTED_NODES:
        for child in pytree.SUPPORTED_NODES[cls].flatten_fn(obj)[0]:
            register(child)
    elif pytree.is_namedtuple_class(cls):
        with contextlib.suppress(ValueError):  # registered before
            pytree._register_namedtuple(cls, serialized_type_name=type_name(cls))
        for child in obj:
            register(child)
    elif tree.is_container(obj):
        register_class(cls)


def register_class(cls: type) -> None:
    """Registers a class whose objects are flattened by their attributes; again is no error."""
    if cls in pytree.SUPPORTED_NODES:
        return
    pytree.register_pytree_node(
        cls,
        flatten,
        unflatten,
        serialized_type_name=type_name(cls),
        to_dumpable_context=dict,
        from_dumpable_context=Context,
        flatten_with_keys_fn=flatten_with_keys,
    )


def register_cache_pytrees_for_model(model: torch.nn.Module) -> None:
    """Registers every cache that `model` may take or give as a pytree of torch; again is no error.

    These are the Cache classes of transformers, and classes of the modules that define the model
    whose name ends in "Cache". Exports register what they meet by themselves; this is for code
    that hands caches to torch.export or torch.utils._pytree directly.
    """
    from transformers.cache_utils import Cache

    open_classes: list[type] = [Cache]
    while open_classes:
        cls = open_classes.pop()
        register_class(cls)
        open_classes += cls.__subclasses__()
    for name in {type(module).__module__ for module in model.modules()}:
        for value in list(vars(sys.modules[name]).values()):
            own = isinstance(value, type) and value.__module__ == name
            if own and value.__name__.endswith("Cache"):
                register_class(value)


class _Types(dict[str, type]):
    """torch's table of serialised types, which looks for those of transformers when asked.

    A file that is read by a process that has not imported the model's classes yet is read all the
    same. Only transformers is imported: a file must not choose what code runs.
    """

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or _import_type(str(name))


def _import_type(name: str) -> bool:
    """Imports "transformers.cache_utils:DynamicCache" or "transformers.modeling_outputs.X"."""
    module, separator, cls = name.rpartition(":" if ":" in name else ".")
    if not separator or not module.startswith("transformers."):
        return False
    try:
        found = getattr(importlib.import_module(module), cls, None)
    except ImportError:
        return False
    if separator == ":" and isinstance(found, type):
        register_class(found)
    return name in dict.keys(pytree.SERIALIZED_TYPE_TO_PYTHON_TYPE)


if not isinstance(pytree.SERIALIZED_TYPE_TO_PYTHON_TYPE, _Types):
    pytree.SERIALIZED_TYPE_TO_PYTHON_TYPE = _Types(pytree.SERIALIZED_TYPE_TO_PYTHON_TYPE)
