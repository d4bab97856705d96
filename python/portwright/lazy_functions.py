"""Functions of Python and of torch as model code sees them while it is traced: with lazy lists."""

from __future__ import annotations

import functools
from typing import Any

import torch

from portwright import _core
from portwright.lazy_lists import (
    LazyList,
    Lists,
    Numbers,
    Piece,
    Pieces,
    Range,
    Repeated,
    Rows,
    Zipped,
    split_real,
)
from portwright.loops import CONSTANTS, Appended, NeedsUnrolling
from portwright.seen_types import Float, Int, SeenType


def read(obj: Any) -> Any:
    """A lazy list as a real one, for what leaves the model; anything else as it is."""
    if isinstance(obj, Piece):
        raise NeedsUnrolling(obj._way)
    if isinstance(obj, Appended):
        raise NeedsUnrolling
    return obj.real() if isinstance(obj, LazyList) else obj


_times: Any = torch.SymInt.__rmul__
_cat = torch.cat
_stack = torch.stack
_tensor = torch.tensor
_as_tensor = torch.as_tensor
_pad_sequence = torch.nn.utils.rnn.pad_sequence


def tolist(tensor: torch.Tensor) -> Any:
    """`Tensor.tolist` of a traced tensor."""
    if tensor.dim() == 0:
        return tensor.item()
    if tensor.dim() == 1 and isinstance(tensor.shape[0], torch.SymInt):
        return Numbers(tensor)
    if isinstance(tensor.shape[0], torch.SymInt):
        return Lists(tensor)
    return [item.tolist() for item in tensor.unbind(0)]


def count(tensor: torch.Tensor) -> Any:
    """`Tensor.item` of a number that is not negative."""
    if not _core.is_traced(tensor):
        return tensor.item()
    number: Any = torch.SymInt
    return number(_core.read_item(tensor, is_count=True))


def split(tensor: torch.Tensor, split_size: Any, dim: int = 0) -> Any:
    """`Tensor.split`, which keeps a symbolic number of pieces unread."""
    if isinstance(split_size, Numbers):
        if _core.is_traced(tensor):
            return Pieces(tensor, split_size, dim)
        split_size = split_size.real()
    return split_real(tensor, split_size, dim)


def cat(tensors: Any, dim: int = 0, **kwargs: Any) -> torch.Tensor:
    """`torch.cat`, which joins lazy lists without reading them."""
    dim = kwargs.pop("axis", dim)
    joined = _joined(tensors, dim)
    if joined is not None:
        return joined
    if isinstance(tensors, LazyList):
        tensors = tensors.real()
    elif isinstance(tensors, (list, tuple)) and any(isinstance(item, Piece) for item in tensors):
        only = tensors[0]
        alone = len(tensors) == 1 and isinstance(only, Piece)
        if not alone or dim % only._tensor.dim() != only._dim:
            raise NeedsUnrolling(getattr(only, "_way", None))
        return only._tensor  # type: ignore[no-any-return]
    return _cat(tensors, dim, **kwargs)


def _joined(tensors: Any, dim: int) -> torch.Tensor | None:
    if isinstance(tensors, Pieces) and dim % tensors.tensor.dim() == tensors.dim:
        return tensors.tensor
    if isinstance(tensors, Rows) and tensors.tensor.dim() > 1:
        dim = dim % (tensors.tensor.dim() - 1)
        return tensors.tensor.movedim(0, dim).flatten(dim, dim + 1)
    return None


def stack(tensors: Any, dim: int = 0, **kwargs: Any) -> torch.Tensor:
    """`torch.stack`, which puts unread rows back together."""
    if isinstance(tensors, Rows):
        return tensors.tensor.movedim(0, dim)
    if isinstance(tensors, LazyList):
        tensors = tensors.real()
    return _stack(tensors, dim, **kwargs)


def pad_sequence(
    sequences: Any,
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> torch.Tensor:
    """`torch.nn.utils.rnn.pad_sequence`, which gathers unread pieces."""
    if isinstance(sequences, Rows):
        return sequences.tensor if batch_first else sequences.tensor.transpose(0, 1)
    if not isinstance(sequences, Pieces) or sequences.dim != 0 or padding_side != "right":
        if isinstance(sequences, LazyList):
            sequences = sequences.real()
        return _pad_sequence(sequences, batch_first, padding_value, padding_side)
    lengths = sequences.lengths.tensor
    places = torch.arange(lengths.max().item(), device=lengths.device)
    inside = places < lengths[:, None]
    index = torch.where(inside, (lengths.cumsum(0) - lengths)[:, None] + places, 0)
    padded = sequences.tensor[index]
    inside = inside.reshape(*inside.shape, *[1] * (sequences.tensor.dim() - 1))
    padded = torch.where(inside, padded, torch.full((), padding_value, dtype=padded.dtype))
    return padded if batch_first else padded.transpose(0, 1)


def tensor(data: Any, *, dtype: Any = None, device: Any = None, **kwargs: Any) -> torch.Tensor:
    """`torch.tensor` and `torch.as_tensor`, whose numbers may be symbols or traced tensors."""
    dtype = getattr(dtype, "_builtin", dtype)
    if isinstance(data, Range) and not data.head:
        return torch.arange(data.start, data.stop, data.step, dtype=dtype, device=device)
    if isinstance(data, Repeated):
        return torch.full((data.times,), data.value, dtype=dtype, device=device)
    if isinstance(data, (Numbers, Lists)):
        return data.tensor.to(dtype=dtype or data.tensor.dtype, device=device, copy=True)
    if not _has_symbols(data):
        return _tensor(data, dtype=dtype, device=device, **kwargs)
    result = _assembled(data, device)
    return result if dtype is None else result.to(dtype)


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> torch.Tensor:
    """`torch.as_tensor`, whose numbers may be symbols or traced tensors."""
    if isinstance(data, LazyList) or _has_symbols(data):
        return tensor(data, dtype=dtype, device=device)
    return _as_tensor(data, dtype=getattr(dtype, "_builtin", dtype), device=device)


def _has_symbols(data: Any) -> bool:
    if isinstance(data, (list, tuple)):
        return any(_has_symbols(item) for item in data)
    if isinstance(data, (torch.SymInt, torch.SymFloat, torch.SymBool)):
        return True
    return isinstance(data, torch.Tensor) and data.dim() == 0 and _core.is_traced(data)


def _assembled(data: Any, device: Any) -> torch.Tensor:
    if isinstance(data, (list, tuple)):
        parts = [_assembled(item, device) for item in data]
        dtype = parts[0].dtype
        for part in parts[1:]:
            dtype = torch.promote_types(dtype, part.dtype)
        return _stack([part.to(dtype) for part in parts])
    if isinstance(data, torch.Tensor):
        return data if device is None else data.to(device)
    kinds = {torch.SymInt: torch.int64, torch.SymFloat: torch.get_default_dtype()}
    kind = kinds.get(type(data), torch.bool if isinstance(data, torch.SymBool) else None)
    return torch.full((), data, dtype=kind or _tensor(data).dtype, device=device)


def length(obj: Any) -> Any:
    """`len`, which may be a symbol."""
    if isinstance(obj, torch.Tensor) and obj.dim() and _core.is_traced(obj):
        return obj.shape[0]
    if isinstance(obj, LazyList):
        return obj.size
    if isinstance(obj, (list, tuple)) and obj and isinstance(obj[0], (Piece, Appended)):
        raise NeedsUnrolling(getattr(obj[0], "_way", None))
    return len(obj)


def times(number: Any, other: Any) -> Any:
    """`SymInt.__rmul__`: `[constant] * number` is a lazy list."""
    if type(other) is list and len(other) == 1 and isinstance(other[0], CONSTANTS):
        return Repeated(other[0], number)
    return _times(number, other)


def _reduction(builtin: Any, name: str, pair: Any = None) -> Any:
    """`sum`, `min` or `max`; `pair` says how two symbols are reduced without comparing them."""

    def reduce(*args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and not kwargs and isinstance(args[0], Numbers):
            return getattr(args[0].tensor, name)().item()
        values = args[0] if len(args) == 1 and isinstance(args[0], (list, tuple)) else args
        if pair is not None and not kwargs and _are_numbers(values):
            return functools.reduce(pair, values)
        return builtin(*args, **kwargs)

    return reduce


def _are_numbers(values: Any) -> bool:
    """Whether there are at least two numbers, symbols among them."""
    symbols = (torch.SymInt, torch.SymFloat)
    return (
        len(values) > 1
        and any(isinstance(value, symbols) for value in values)
        and all(isinstance(value, (int, float, *symbols)) for value in values)
    )


def progression(*bounds: Any) -> Any:
    """`range`, whose bounds may be symbols."""
    if not any(isinstance(bound, torch.SymInt) for bound in bounds):
        return range(*bounds)
    start, stop, step = (0, *bounds, 1) if len(bounds) == 1 else (*bounds, 1)[:3]
    return Range(start, stop, int(step))


def _as_lazy(obj: Any) -> Any:
    """What a loop over `obj` would go through lazily, or None."""
    if isinstance(obj, LazyList):
        return obj
    if isinstance(obj, torch.Tensor) and _core.is_traced(obj) and has_symbolic_rows(obj):
        return Rows(obj)
    return None


def _unread(lists: list[Any]) -> list[Any]:
    return [item.real() if isinstance(item, LazyList) else item for item in lists]


def zipped(*lists: Any, strict: bool = False) -> Any:
    """`zip`, of lazy lists a lazy list."""
    lazy = [_as_lazy(items) for items in lists]
    if lists and all(items is not None for items in lazy):
        return Zipped(lazy)
    return zip(*_unread(list(lists)), strict=strict)


def enumerated(items: Any, start: int = 0) -> Any:
    """`enumerate`, of a lazy list a lazy list."""
    lazy = _as_lazy(items)
    if lazy is None:
        return enumerate(items, start)
    return Zipped([Range(start, start + lazy.size, 1), lazy])


class _List(metaclass=SeenType):
    """`list`, but for lists of symbolic length."""

    _builtin = list
    _lists = (LazyList,)

    @staticmethod
    def _made(*items: Any) -> Any:
        lazy = _as_lazy(items[0]) if items else None
        return list(*items) if lazy is None else lazy


def has_symbolic_rows(tensor: torch.Tensor) -> bool:
    """Whether a loop over the tensor has a symbolic number of rounds."""
    return tensor.dim() > 0 and isinstance(tensor.shape[0], torch.SymInt)


# Builtins that model code sees in a form that leaves symbolic lists unread.
BUILTINS = {
    "enumerate": enumerated,
    "float": Float,
    "int": Int,
    "len": length,
    "list": _List,
    "max": _reduction(max, "max", torch.sym_max),
    "min": _reduction(min, "min", torch.sym_min),
    "range": progression,
    "sum": _reduction(sum, "sum"),
    "zip": zipped,
}

# Functions of torch that take such lists.
TORCH_FUNCTIONS = {
    "as_tensor": as_tensor,
    "cat": cat,
    "concat": cat,
    "concatenate": cat,
    "stack": stack,
    "tensor": tensor,
}
