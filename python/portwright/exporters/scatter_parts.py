"""Reductions by index, made of comparisons with each place, and products of groups of rows."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


def _least(dtype: torch.dtype) -> float:
    return -math.inf if dtype.is_floating_point else torch.iinfo(dtype).min


def _most(dtype: torch.dtype) -> float:
    return math.inf if dtype.is_floating_point else torch.iinfo(dtype).max


# What changes nothing, and the reduction of the last dim.
_BY_PLACE: dict[str, Any] = {
    "amax": (_least, lambda x: x.amax(-1)),
    "amin": (_most, lambda x: x.amin(-1)),
    "prod": (lambda _: 1, lambda x: x.prod(-1, dtype=x.dtype)),
}


def scatter_reduce(
    x: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    if x.dim() == 0:
        flat = scatter_reduce(
            x.reshape(1),
            0,
            index.reshape(1),
            src.reshape(1),
            reduce,
            include_self=include_self,
        )
        return flat.reshape(())
    src = src[tuple(slice(size) for size in index.shape)]
    if reduce in _BY_PLACE:
        return _reduced_by_place(x, dim, index, src, reduce, include_self)
    total = (x if include_self else x.scatter(dim, index, 0)).scatter_add(dim, index, src)
    if reduce == "sum":
        return total
    counted = torch.ones_like(x) if include_self else torch.zeros_like(x)
    count = counted.scatter_add(dim, index, torch.ones_like(src)).clamp(min=1)
    return torch.div(total, count, rounding_mode=None if x.is_floating_point() else "floor")


def _reduced_by_place(
    x: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, include_self: bool
) -> Tensor:
    """[..., place, element]: the elements that go to each place, and what changes nothing."""
    neutral, reduced = _BY_PLACE[reduce]
    dim = dim % x.dim()
    index, src = index.movedim(dim, -1), src.movedim(dim, -1)
    others = [other for other in range(x.dim()) if other != dim]
    before = x
    for other in others:  # where the index has fewer rows than x, the others stay
        before = before.narrow(other, 0, index.shape[other - (other > dim)])
    hit = index.unsqueeze(-2) == torch.arange(x.shape[dim])[:, None]
    nothing = torch.full((), neutral(x.dtype), dtype=x.dtype)
    shown = torch.where(hit, src.unsqueeze(-2), nothing)
    own = before.movedim(dim, -1).unsqueeze(-1)
    first = own if include_self else nothing.expand_as(own)
    found = reduced(torch.cat([first, shown], -1))
    if not include_self:
        found = torch.where(hit.any(-1), found, own.squeeze(-1))
    return _put_first(x, found.movedim(-1, dim), others)


def _put_first(x: Tensor, part: Tensor, dims: list[int]) -> Tensor:
    """x with its first rows along these dims replaced."""
    if not dims:
        return part
    dim, *others = dims
    length = part.shape[dim]
    return x.slice_scatter(_put_first(x.narrow(dim, 0, length), part, others), dim, 0, length)


def _members(count: Any, ends: Tensor) -> Tensor:
    """[group, row]: the rows from the end of the group before on."""
    row = torch.arange(count)
    starts = torch.nn.functional.pad(ends[:-1], (1, 0))
    inside: Tensor = (row >= starts[:, None]) & (row < ends[:, None])
    return inside


def grouped_mm(
    a: Tensor,
    b: Tensor,
    ends: Tensor | None = None,
    bias: Tensor | None = None,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    """Every group's product with all rows, of which its own are taken: nothing grows with the
    number of rows times the size of a matrix. Rows of no group are zero."""
    if ends is None:
        result = a @ b
    elif a.dim() == 2 and b.dim() == 2:  # groups of what is summed over
        inside = _members(a.shape[1], ends)
        of_a = torch.where(inside[:, None, :], a, torch.zeros_like(a))
        result = of_a @ torch.where(inside[:, :, None], b, torch.zeros_like(b))
    else:
        rows = a.dim() == 2
        products = a @ b
        inside = _members(products.shape[-2 if rows else -1], ends)
        inside = inside[:, :, None] if rows else inside[:, None, :]
        result = torch.where(inside, products, torch.zeros_like(products)).sum(0)
    if bias is not None:
        result = result + bias
    return result if out_dtype is None else result.to(out_dtype)


PARTS: dict[str, Any] = {
    "aten.scatter_reduce.two": scatter_reduce,
    "aten._grouped_mm.default": grouped_mm,
    "transformers.grouped_mm_fallback.default": grouped_mm,
}
