"""Objects that hold tensors, taken apart into tensors and a JSON value, and put together again.

The JSON is the one that transformers' exporters write into the tree specs of their programs, so
that files are read by either. One thing is ours: the int in which a sliding layer counts tokens is
a tensor of the program, because a program that holds past the window must be told.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import types
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch._subclasses.fake_tensor import is_fake
from torch.utils import _pytree as pytree

from portwright.errors import CorruptFileError, UnsupportedError
from portwright.tree import counts


class Context(dict[str, Any]):
    """What remains of an object without its tensors, as JSON.

    Compares by structure: the numbers in it (how many tokens a cache has seen) change from call to
    call, and are no reason for a program to refuse its input.
    """

    def __eq__(self, other: object) -> bool:
        return isinstance(other, dict) and _structure(self) == _structure(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None  # type: ignore[assignment]


def _structure(context: Any) -> Any:
    if isinstance(context, dict):
        return {key: _structure(value) for key, value in context.items()}
    if isinstance(context, list):
        return [_structure(value) for value in context]
    return None if isinstance(context, (bool, int, float)) else context


def type_name(cls: type) -> str:
    """The name that a class has in files."""
    return f"{cls.__module__}:{cls.__qualname__}"


def flatten(obj: Any) -> tuple[list[Any], Context]:
    """The tensors (and symbolic sizes) of an object, and all else of it.

    Raises:
        UnsupportedError: a part that has no JSON form.
    """
    tensors: list[Any] = []
    return tensors, Context(_take_apart(obj, tensors))


def flatten_with_keys(obj: Any) -> tuple[list[tuple[Any, Any]], Context]:
    """As `flatten`, with the tensors' positions as keys."""
    tensors, context = flatten(obj)
    return [(pytree.SequenceKey(i), tensor) for i, tensor in enumerate(tensors)], context


def unflatten(tensors: Iterable[Any], context: dict[str, Any]) -> Any:
    """The object again, with these tensors.

    Raises:
        CorruptFileError: a context that `flatten` does not make.
    """
    return _put_together(context, list(tensors))


def _take_apart(value: Any, tensors: list[Any]) -> Any:
    """A JSON value for `value`, whose tensors are appended to `tensors`."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, torch.Tensor):
        tensors.append(value)
        return {"_t": "tensor", "i": len(tensors) - 1}
    if isinstance(value, torch.SymInt):
        tensors.append(value)
        return {"_t": "sym", "i": len(tensors) - 1}
    if isinstance(value, torch.Size):
        return {"_t": "size", "v": list(value)}
    for tag, cls, word, text in _NAMED:
        if isinstance(value, cls):
            return {"_t": tag, word: text(value)}
    if type(value) is list:
        return [_take_apart(item, tensors) for item in value]
    if isinstance(value, dict):
        return _mapping(value, tensors)
    if isinstance(value, (tuple, list, set, frozenset)):
        items = [_take_apart(item, tensors) for item in value]
        return {"_t": "seq", "p": type_name(type(value)), "v": items}
    if not hasattr(value, "__dict__"):
        raise UnsupportedError(
            f"a {type(value).__name__} among the model's inputs or outputs has no attributes "
            "that a .pt2 file could hold. Leave it out"
        )
    state: dict[str, Any] = {}
    for name, item in vars(value).items():
        if counts(value, name, item):
            tensors.append(torch.tensor(item))
            state[name] = {"_t": "count", "i": len(tensors) - 1}
        elif not _is_code(item):
            state[name] = _take_apart(item, tensors)
    return {"_t": "obj", "p": type_name(type(value)), "s": state}


def _mapping(value: dict[Any, Any], tensors: list[Any]) -> Any:
    if type(value) is dict and not all(type(key) is str for key in value):
        # As pairs: JSON's keys are strings.
        pairs = [[key, _take_apart(item, tensors)] for key, item in value.items()]
        return {"_t": "items", "v": pairs}
    items = {key: _take_apart(item, tensors) for key, item in value.items()}
    if type(value) is dict:
        return items
    return {"_t": "map", "p": type_name(type(value)), "v": items}


def _is_code(value: Any) -> bool:
    return isinstance(value, (types.MethodType, types.FunctionType, torch.nn.Module))


def _put_together(context: Any, tensors: list[Any]) -> Any:
    if isinstance(context, list):
        return [_put_together(item, tensors) for item in context]
    if not isinstance(context, dict):
        return context
    if "_t" not in context:
        return {key: _put_together(item, tensors) for key, item in context.items()}
    build = _BUILDERS.get(context["_t"])
    if build is None:
        raise CorruptFileError(f"a tree spec has the unknown tag '{context['_t']}'")
    return build(context, tensors)


def _class(path: str, base: type = object) -> Any:
    """The class of this name; a file must not choose what else is imported or called."""
    module, _, name = path.partition(":")
    if module.startswith("transformers."):
        importlib.import_module(module)
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, type) or not issubclass(found, base):
        raise CorruptFileError(
            f"a tree spec names '{path}', which is no {base.__name__} class of an imported module"
        )
    return found


def _build_sequence(context: dict[str, Any], tensors: list[Any]) -> Any:
    for base in (tuple, list, set, frozenset):
        with contextlib.suppress(CorruptFileError):
            cls = _class(context["p"], base)
            items = [_put_together(item, tensors) for item in context["v"]]
            return cls(*items) if hasattr(cls, "_fields") else cls(items)
    raise CorruptFileError(f"a tree spec takes '{context['p']}' for a sequence")


def _build_mapping(context: dict[str, Any], tensors: list[Any]) -> Any:
    items = {key: _put_together(item, tensors) for key, item in context["v"].items()}
    return _class(context["p"], dict)(items)


def _build_object(context: dict[str, Any], tensors: list[Any]) -> Any:
    result = object.__new__(_class(context["p"]))
    for name, item in context["s"].items():
        result.__dict__[name] = _put_together(item, tensors)
    return result


def _count(leaf: Any) -> Any:
    """The int of a leaf; what only stands for a leaf, while torch looks at a structure, stays."""
    known = isinstance(leaf, torch.Tensor) and leaf.dim() == 0 and not is_fake(leaf)
    return int(leaf) if known else leaf


def _torch_constant(name: str, cls: type) -> Any:
    value = getattr(torch, name, None)
    if not isinstance(value, cls):
        raise CorruptFileError(f"a tree spec names 'torch.{name}', which is no {cls.__name__}")
    return value


def _torch_name(value: Any) -> str:
    return str(value).removeprefix("torch.")


# Tag, class, key of the text, text.
_NAMED: list[tuple[str, type, str, Callable[[Any], str]]] = [
    ("device", torch.device, "s", str),
    ("dtype", torch.dtype, "n", _torch_name),
    ("layout", torch.layout, "n", _torch_name),
    ("type", type, "p", type_name),
]

_BUILDERS: dict[str, Callable[[dict[str, Any], list[Any]], Any]] = {
    "tensor": lambda context, tensors: tensors[context["i"]],
    "sym": lambda context, tensors: tensors[context["i"]],
    "count": lambda context, tensors: _count(tensors[context["i"]]),
    "size": lambda context, _: torch.Size(context["v"]),
    "device": lambda context, _: torch.device(context["s"]),
    "dtype": lambda context, _: _torch_constant(context["n"], torch.dtype),
    "layout": lambda context, _: _torch_constant(context["n"], torch.layout),
    "type": lambda context, _: _class(context["p"]),
    "items": lambda context, tensors: {
        key: _put_together(item, tensors) for key, item in context["v"]
    },
    "map": _build_mapping,
    "seq": _build_sequence,
    "obj": _build_object,
}
