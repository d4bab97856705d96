"""`tensor[..., i, ...]` where i is a symbol, which torch's indexing would read as a number."""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_getitem: Any = torch.Tensor.__getitem__
_setitem: Any = torch.Tensor.__setitem__


class SymbolicIndexing(TorchFunctionMode):
    """Within it, indexing takes symbols. It sees every call of torch, so it is for loops only."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is _getitem:
            return getitem(*args)
        if func is _setitem:
            return setitem(*args)
        return func(*args, **(kwargs or {}))


def getitem(tensor: torch.Tensor, index: Any) -> Any:
    """`Tensor.__getitem__`; a symbol selects along its dim."""
    steps = _steps(tensor, index)
    return _getitem(tensor, index) if steps is None else _view(tensor, steps)


def setitem(tensor: torch.Tensor, index: Any, value: Any) -> None:
    """`Tensor.__setitem__`; a symbol selects along its dim."""
    steps = _steps(tensor, index)
    if steps is None:
        _setitem(tensor, index, value)
        return
    target = _view(tensor, steps)
    if not isinstance(value, torch.Tensor):
        target.fill_(value)
        return
    while value.dim() > target.dim():
        value = value.squeeze(0)
    target.copy_(value)


def _steps(tensor: torch.Tensor, index: Any) -> list[Any] | None:
    """Basic indexing with symbols, one item for each dim and new dim; None for anything else."""
    items = index if isinstance(index, tuple) else (index,)
    if not any(isinstance(item, torch.SymInt) for item in items):
        return None
    basic = (int, torch.SymInt, slice, type(None), type(Ellipsis))
    if not all(isinstance(item, basic) and not isinstance(item, bool) for item in items):
        return None
    dims = sum(item is not None and item is not Ellipsis for item in items)
    steps: list[Any] = []
    for item in items:
        steps += [slice(None)] * (tensor.dim() - dims) if item is Ellipsis else [item]
    return steps


def _view(tensor: torch.Tensor, steps: list[Any]) -> torch.Tensor:
    dim = 0
    for item in steps:
        if item is None:
            tensor = tensor.unsqueeze(dim)
        elif isinstance(item, slice):
            if item != slice(None):
                tensor = _getitem(tensor, (*[slice(None)] * dim, item))
        else:
            tensor = tensor.select(dim, item)
            continue
        dim += 1
    return tensor
