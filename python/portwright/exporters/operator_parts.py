"""Operators that a format and PyTorch's decompositions do not have, made of others.

Functions of the schema's operands, by operator name; the tracer runs them in the operators' place.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def _up_to_each(x: Tensor, dim: int, fill: float) -> Tensor:
    """[..., i, j]: element j of the dim for j <= i, else `fill`. The dim comes last."""
    last = x.movedim(dim, -1)
    index = torch.arange(last.shape[-1])
    shown = index[:, None] >= index
    return torch.where(shown, last.unsqueeze(-2), torch.full((), fill, dtype=x.dtype))


def _lowest(x: Tensor) -> float:
    return -math.inf if x.is_floating_point() else torch.iinfo(x.dtype).min


def cumprod(x: Tensor, dim: int, *, dtype: torch.dtype | None = None) -> Tensor:
    x = x.to(dtype) if dtype else x.long() if not x.is_floating_point() else x
    return _up_to_each(x, dim, 1).prod(-1).movedim(-1, dim)


def logcumsumexp(x: Tensor, dim: int) -> Tensor:
    return _up_to_each(x, dim, -math.inf).logsumexp(-1).movedim(-1, dim)


def cummax(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """The index is the last of equal elements, as torch has it."""
    shown = _up_to_each(x, dim, _lowest(x))
    values = shown.amax(-1)
    index = torch.arange(x.shape[dim])
    at = torch.where((shown == values.unsqueeze(-1)) & (index[:, None] >= index), index, 0).amax(-1)
    return values.movedim(-1, dim), at.movedim(-1, dim)


def cummin(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    values, at = cummax(-x, dim)
    return -values, at


def kthvalue(x: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    values, indices = (part.narrow(dim, k - 1, 1) for part in x.sort(stable=True, dim=dim))
    return (values, indices) if keepdim else (values.squeeze(dim), indices.squeeze(dim))


def median_dim(x: Tensor, dim: int, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    return kthvalue(x, (x.shape[dim] + 1) // 2, dim, keepdim)


def median(x: Tensor) -> Tensor:
    return median_dim(x.reshape(-1), 0)[0]


def var_mean(
    x: Tensor, dim: Any = None, *, correction: Any = None, keepdim: bool = False
) -> tuple[Tensor, Tensor]:
    dims = dim if dim is not None else list(range(x.dim()))
    variance = x.var(dims, correction=1 if correction is None else correction, keepdim=keepdim)
    return variance, x.mean(dims, keepdim=keepdim)


def diagonal(x: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    last = x.movedim((dim1, dim2), (-2, -1))
    row, column = max(-offset, 0), max(offset, 0)
    rows, columns = last.shape[-2] - row, last.shape[-1] - column
    length = torch.sym_min(rows, columns)  # type: ignore[no-untyped-call]
    index = torch.arange(length)
    return last[..., index + row, index + column]


def _window_mask(size: Any, count: Any) -> Tensor:
    """[count, size]: which elements the windows of an adaptive pool cover, as torch has them."""
    window, element = torch.arange(count)[:, None], torch.arange(size)
    start, end = window * size // count, ((window + 1) * size + count - 1) // count
    inside: Tensor = (element >= start) & (element < end)
    return inside


def adaptive_max_pool(x: Tensor, output_size: list[Any]) -> tuple[Tensor, Tensor]:
    """Maxima along each of the last dims in turn, and their places in the flat planes."""
    places = torch.zeros_like(x, dtype=torch.int64)
    stride: Any = 1
    for back, count in enumerate(reversed(output_size), 1):
        size = x.shape[-back]
        last, places = x.movedim(-back, -1).unsqueeze(-2), places.movedim(-back, -1)
        shown = torch.where(_window_mask(size, count), last, _lowest(x))
        values, found = shown.max(-1)
        places = found * stride + places.gather(-1, found)
        x, places = values.movedim(-1, -back), places.movedim(-1, -back)
        stride = stride * size
    return x, places


def copysign(x: Tensor, sign: Any) -> Tensor:
    sign = sign if isinstance(sign, Tensor) else torch.full_like(x, sign)
    return torch.where(signbit(sign), -x.abs(), x.abs())


def signbit(x: Tensor) -> Tensor:
    return (x < 0) | ((x == 0) & (x.reciprocal() < 0)) if x.is_floating_point() else x < 0


def fmax(x: Tensor, y: Tensor) -> Tensor:
    return torch.where(x.isnan(), y, torch.where(y.isnan(), x, torch.maximum(x, y)))


def fmin(x: Tensor, y: Tensor) -> Tensor:
    return torch.where(x.isnan(), y, torch.where(y.isnan(), x, torch.minimum(x, y)))


def addbmm(x: Tensor, a: Tensor, b: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    return torch.mul(x, beta) + torch.bmm(a, b).sum(0).mul(alpha)


def trilinear(
    a: Tensor,
    b: Tensor,
    c: Tensor,
    expand1: list[int],
    expand2: list[int],
    expand3: list[int],
    sumdim: list[int],
    unroll_dim: int = 1,
) -> Tensor:
    operands = []
    for tensor, dims in ((a, expand1), (b, expand2), (c, expand3)):
        for dim in dims:
            tensor = tensor.unsqueeze(dim)
        operands.append(tensor)
    return (operands[0] * operands[1] * operands[2]).sum(sumdim)


def shifted_left(x: Tensor, bits: Any) -> Tensor:
    return torch.mul(x, torch.full_like(x, 2).pow(bits))


def shifted_right(x: Tensor, bits: Any) -> Tensor:
    return torch.div(x, torch.full_like(x, 2) ** bits, rounding_mode="floor")


def histc(x: Tensor, bins: int = 100, min: Any = 0, max: Any = 0) -> Tensor:
    flat = x.reshape(-1)
    low, high = (flat.amin(), flat.amax()) if min == max else (min, max)
    place = ((flat - low) / (high - low) * bins).floor().clamp(max=bins - 1)
    counted = (flat >= low) & (flat <= high)
    return ((place[:, None] == torch.arange(bins)) & counted[:, None]).sum(0).to(x.dtype)


def _cubic(x: Tensor) -> Tensor:
    """Keys' kernel with a = -0.5, as torch resizes with antialiasing."""
    near = ((1.5 * x - 2.5) * x) * x + 1
    far = (((-0.5 * x + 2.5) * x) - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


def _triangle(x: Tensor) -> Tensor:
    return (1 - x).clamp(min=0)


def _resizing_weights(
    kernel: Callable[[Tensor], Tensor],
    radius: int,
    source: Any,
    size: Any,
    given: float | None,
    align_corners: bool,
) -> Tensor:
    """[size, source]: what each element of a resized dim takes of those before.

    Source: aten/src/ATen/native/cpu/UpSampleKernel.cpp, _compute_indices_weights_aa.
    """
    number = functools.partial(torch.full, (), dtype=torch.float32)
    if align_corners:
        scale = number(source - 1) / number(size - 1)
    else:
        scale = number(source) / number(size) if given is None else number(1 / given)
    wide = scale.clamp(min=1)
    center = scale * (torch.arange(size, dtype=torch.float32)[:, None] + 0.5)
    index = torch.arange(source, dtype=torch.float32)
    first = (center - radius * wide + 0.5).trunc().clamp(min=0)
    last = (center + radius * wide + 0.5).trunc()
    weights = kernel(((index - center + 0.5) / wide).abs())
    weights = torch.where((index >= first) & (index < last), weights, torch.zeros_like(weights))
    return weights / weights.sum(-1, keepdim=True)


def _resized_with_antialias(kernel: Callable[[Tensor], Tensor], radius: int) -> Callable[..., Any]:
    weights = functools.partial(_resizing_weights, kernel, radius)

    def resize(
        x: Tensor,
        output_size: list[Any],
        align_corners: bool,
        scales_h: float | None = None,
        scales_w: float | None = None,
    ) -> Tensor:
        rows = weights(x.shape[-2], output_size[0], scales_h, align_corners)
        columns = weights(x.shape[-1], output_size[1], scales_w, align_corners)
        return rows.to(x.dtype) @ (x @ columns.to(x.dtype).transpose(0, 1))

    return resize


def embedding_bag(
    weight: Tensor,
    indices: Tensor,
    offsets: Tensor,
    scale_grad_by_freq: bool = False,
    mode: int = 0,
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int = -1,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sums (mode 0) or means (1) of the rows of each bag; the other results are torch's, too."""
    if mode not in (0, 1):
        raise NotImplementedError("embedding_bag of maxima")
    starts = offsets[:-1] if include_last_offset else offsets
    bag = (torch.arange(indices.shape[0])[:, None] >= starts).sum(-1) - 1
    member = (bag == torch.arange(starts.shape[0])[:, None]) & (indices != padding_idx)
    share = member.to(weight.dtype)
    size = member.sum(-1)
    if per_sample_weights is not None:
        share = share * per_sample_weights
    if mode == 1:
        share = share / size.clamp(min=1).to(weight.dtype)[:, None]
    return share @ weight[indices], bag, size, offsets


PARTS: dict[str, Any] = {
    "aten._embedding_bag.default": embedding_bag,
    "aten._embedding_bag_forward_only.default": embedding_bag,
    "aten.histc.default": histc,
    "aten._upsample_bicubic2d_aa.default": _resized_with_antialias(_cubic, 2),
    "aten._upsample_bilinear2d_aa.default": _resized_with_antialias(_triangle, 1),
    "aten.cumprod.default": cumprod,
    "aten.logcumsumexp.default": logcumsumexp,
    "aten.cummax.default": cummax,
    "aten.cummin.default": cummin,
    "aten.kthvalue.default": kthvalue,
    "aten.median.dim": median_dim,
    "aten.median.default": median,
    "aten.var_mean.correction": var_mean,
    "aten.diagonal.default": diagonal,
    "aten.adaptive_max_pool2d.default": adaptive_max_pool,
    "aten.adaptive_max_pool3d.default": adaptive_max_pool,
    "aten.copysign.Tensor": copysign,
    "aten.copysign.Scalar": copysign,
    "aten.signbit.default": signbit,
    "aten.fmax.default": fmax,
    "aten.fmin.default": fmin,
    "aten.addbmm.default": addbmm,
    "aten._trilinear.default": trilinear,
    "aten.__lshift__.Scalar": shifted_left,
    "aten.__lshift__.Tensor": shifted_left,
    "aten.bitwise_left_shift.Tensor": shifted_left,
    "aten.bitwise_left_shift.Tensor_Scalar": shifted_left,
    "aten.__rshift__.Scalar": shifted_right,
    "aten.__rshift__.Tensor": shifted_right,
    "aten.bitwise_right_shift.Tensor": shifted_right,
    "aten.bitwise_right_shift.Tensor_Scalar": shifted_right,
    "aten.hypot.default": lambda x, y: (x * x + y * y).sqrt(),
    "aten.erfc.default": lambda x: 1 - x.erf(),
    "aten.exp2.default": lambda x: (x * math.log(2)).exp(),
    "aten.ldexp.Tensor": lambda x, y: x * (torch.full_like(x, 2) ** y),
    "aten.dist.default": lambda x, y, p=2: torch.linalg.vector_norm(x - y, p),
}
