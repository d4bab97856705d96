"""Functions of torch that take only Python's numbers where a traced model may have symbols.

Each gives what torch's own gives, up to rounding; with real numbers torch's own runs.
"""

from __future__ import annotations

from typing import Any

import torch

from portwright import _core

_linspace = torch.linspace
_take_along_dim = torch.take_along_dim
_tril_indices = torch.tril_indices
_triu_indices = torch.triu_indices


def linspace(start: Any, end: Any, steps: Any = None, **options: Any) -> torch.Tensor:
    """`torch.linspace` with a symbolic number of steps; shape (steps,).

    From both ends to the middle, as torch's kernel (ATen/native/cpu/RangeFactoriesKernel.cpp).
    """
    if not isinstance(steps, torch.SymInt) or isinstance(start, torch.Tensor):
        return _linspace(start, end, steps, **options)  # type: ignore[no-any-return]
    dtype = options.get("dtype") or torch.get_default_dtype()
    device = options.get("device")
    kind = dtype if dtype.is_floating_point else torch.float64
    first = torch.full((), start, dtype=kind, device=device)
    last = torch.full((), end, dtype=kind, device=device)
    count: Any = steps
    step = (last - first) / torch.full((), count - 1, dtype=kind, device=device).clamp(min=1)
    place = torch.arange(count, device=device)
    rising = first + step * place
    falling = last - step * (count - 1 - place)
    return torch.where(place < steps // 2, rising, falling).to(dtype)


def tril_indices(row: Any, col: Any, offset: int = 0, **options: Any) -> torch.Tensor:
    """`torch.tril_indices` of a symbolic square or rectangle; shape (2, count)."""
    return _indices(_tril_indices, torch.le, row, col, offset, options)


def triu_indices(row: Any, col: Any, offset: int = 0, **options: Any) -> torch.Tensor:
    """`torch.triu_indices` of a symbolic square or rectangle; shape (2, count)."""
    return _indices(_triu_indices, torch.ge, row, col, offset, options)


def _indices(
    original: Any, inside: Any, row: Any, col: Any, offset: int, options: dict[str, Any]
) -> torch.Tensor:
    if not isinstance(row, torch.SymInt) and not isinstance(col, torch.SymInt):
        return original(row, col, offset, **options)  # type: ignore[no-any-return]
    device = options.get("device")
    rows = torch.arange(row, device=device)[:, None]
    columns = torch.arange(col, device=device)[None, :]
    found: torch.Tensor = inside(columns - rows, offset).nonzero().T
    return found.to(options.get("dtype") or torch.int64)


def take_along_dim(
    input: torch.Tensor, indices: torch.Tensor, dim: int | None = None, **options: Any
) -> torch.Tensor:
    """`torch.take_along_dim` of symbolic sizes, which torch's own reads as numbers."""
    traced = _core.is_traced(input) or _core.is_traced(indices)
    if dim is None or not traced or options or input.dim() != indices.dim():
        return _take_along_dim(input, indices, dim, **options)  # type: ignore[call-overload,no-any-return]
    ends = input.narrow(dim, 0, 1), indices.narrow(dim, 0, 1)
    shape = list(torch.broadcast_tensors(*ends)[0].shape)  # type: ignore[no-untyped-call]
    shape[dim] = -1
    return input.expand(shape).gather(dim, indices.expand(shape) % input.shape[dim])


def _with_builtin_dtype(original: Any) -> Any:
    """A factory whose `dtype=int` may be the `int` that model code sees while it is traced."""

    def factory(*args: Any, **options: Any) -> torch.Tensor:
        if "dtype" in options:
            options["dtype"] = getattr(options["dtype"], "_builtin", options["dtype"])
        return original(*args, **options)  # type: ignore[no-any-return]

    return factory


_WITH_SYMBOLS: dict[str, Any] = {
    "linspace": linspace,
    "take_along_dim": take_along_dim,
    "tril_indices": tril_indices,
    "triu_indices": triu_indices,
}
FUNCTIONS = _WITH_SYMBOLS | {
    name: _with_builtin_dtype(getattr(torch, name))
    for name in ("arange", "empty", "full", "ones", "randint", "zeros")
}
