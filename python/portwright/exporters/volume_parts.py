"""Pools and transposed convolutions over three dims, made of those over two.

A window over [D, H, W] is one over [H, W] in each slice and then one over D: in images of D rows,
which are slices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor

Sizes = list[Any]


def _triple(sizes: Sizes) -> Sizes:
    return list(sizes) * 3 if len(sizes) == 1 else list(sizes)


def _by_slice_then_depth(
    x: Tensor, slices: Callable[[Tensor], Tensor], depth: Callable[[Tensor], Tensor]
) -> Tensor:
    """`slices` pools images [N, D, H, W], `depth` images [N, D, H * W], whose width stays."""
    outer, (rows, *_) = x.shape[:-3], x.shape[-3:]
    planes = slices(x.reshape(-1, rows, *x.shape[-2:]))
    height, width = planes.shape[-2:]
    pooled = depth(planes.flatten(-2))
    return pooled.reshape(*outer, pooled.shape[-2], height, width)


def max_pool3d_with_indices(
    x: Tensor,
    kernel_size: Sizes,
    stride: Sizes = (),  # type: ignore[assignment]
    padding: Sizes = (0,),  # type: ignore[assignment]
    dilation: Sizes = (1,),  # type: ignore[assignment]
    ceil_mode: bool = False,
) -> tuple[Tensor, Tensor]:
    """Of equal elements the first is the largest, in a slice and then in depth."""
    kernel, pad, step = _triple(kernel_size), _triple(padding), _triple(dilation)
    stride = _triple(stride or kernel)
    places: Tensor = x

    def slices(images: Tensor) -> Tensor:
        nonlocal places
        found, places = F.max_pool2d_with_indices(
            images, kernel[1:], stride[1:], pad[1:], step[1:], ceil_mode
        )
        return found

    def depth(images: Tensor) -> Tensor:
        nonlocal places
        found, rows = F.max_pool2d_with_indices(
            images, (kernel[0], 1), (stride[0], 1), (pad[0], 0), (step[0], 1), ceil_mode
        )
        rows = rows // images.shape[-1]
        inside = places.flatten(-2).gather(-2, rows)
        places = rows * (x.shape[-2] * x.shape[-1]) + inside
        return found

    pooled = _by_slice_then_depth(x, slices, depth)
    return pooled, places.reshape(pooled.shape)


def avg_pool3d(
    x: Tensor,
    kernel_size: Sizes,
    stride: Sizes = (),  # type: ignore[assignment]
    padding: Sizes = (0,),  # type: ignore[assignment]
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """How many elements a window has is a product of what it has along each dim."""
    kernel, pad = _triple(kernel_size), _triple(padding)
    stride = _triple(stride or kernel)
    count = count_include_pad
    one = None if divisor_override is None else 1

    def slices(images: Tensor) -> Tensor:
        return F.avg_pool2d(images, kernel[1:], stride[1:], pad[1:], ceil_mode, count, one)

    def depth(images: Tensor) -> Tensor:
        window = (kernel[0], 1), (stride[0], 1), (pad[0], 0)
        return F.avg_pool2d(images, *window, ceil_mode, count, divisor_override)

    return _by_slice_then_depth(x, slices, depth)


def adaptive_avg_pool3d(x: Tensor, output_size: Sizes) -> Tensor:
    def slices(images: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(images, tuple(output_size[1:]))

    def depth(images: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(images, (output_size[0], images.shape[-1]))

    return _by_slice_then_depth(x, slices, depth)


def conv_transpose3d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = (1,),  # type: ignore[assignment]
    padding: Sizes = (0,),  # type: ignore[assignment]
    output_padding: Sizes = (0,),  # type: ignore[assignment]
    groups: int = 1,
    dilation: Sizes = (1,),  # type: ignore[assignment]
) -> Tensor:
    """A sum over the kernel's slices: each turns all slices of x into ones of the result, `stride`
    apart, from the slice's own place on."""
    stride, padding, behind, dilation = map(_triple, (stride, padding, output_padding, dilation))
    batched = x if x.dim() == 5 else x.unsqueeze(0)
    batch, channels, depth = batched.shape[:3]
    images = batched.transpose(1, 2).reshape(batch * depth, channels, *batched.shape[3:])
    last = (weight.shape[2] - 1) * dilation[0]
    total: Any = 0
    for k in range(weight.shape[2]):
        part = F.conv_transpose2d(
            images,
            weight[:, :, k],
            None,
            stride[1:],
            padding[1:],
            behind[1:],
            groups,
            dilation[1:],
        )
        part = part.reshape(batch, depth, 1, *part.shape[1:])
        apart = F.pad(part, (0, 0, 0, 0, 0, 0, 0, stride[0] - 1)).flatten(1, 2)
        apart = apart.narrow(1, 0, (depth - 1) * stride[0] + 1)
        before = k * dilation[0]
        total = total + F.pad(apart, (0, 0, 0, 0, 0, 0, before, last - before + behind[0]))
    length = (depth - 1) * stride[0] + 1 + last + behind[0] - 2 * padding[0]
    result: Tensor = total.narrow(1, padding[0], length).transpose(1, 2)
    if bias is not None:
        result = result + bias.reshape(-1, 1, 1, 1)
    return result if x.dim() == 5 else result.squeeze(0)


PARTS: dict[str, Any] = {
    "aten.max_pool3d.default": lambda *operands: max_pool3d_with_indices(*operands)[0],
    "aten.max_pool3d_with_indices.default": max_pool3d_with_indices,
    "aten.avg_pool3d.default": avg_pool3d,
    "aten.adaptive_avg_pool3d.default": adaptive_avg_pool3d,
    "aten._adaptive_avg_pool3d.default": adaptive_avg_pool3d,
    "aten.conv_transpose3d.input": conv_transpose3d,
}
