"""Fourier transforms as products with matrices of cosines and sines, for formats without them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


def _turns(count: Any, size: Any) -> tuple[Tensor, Tensor]:
    """Cosines and sines [size, count] of the angles 2 pi j k / size."""
    product = torch.arange(size)[:, None] * torch.arange(count)
    angle = (product % size).float() * (2 * math.pi / torch.full((), size, dtype=torch.float32))
    return angle.cos(), angle.sin()


def _turned(real: Tensor, imaginary: Tensor, dim: int, forward: bool) -> tuple[Tensor, Tensor]:
    size = real.shape[dim]
    cos, sin = (part.to(real.dtype) for part in _turns(size, size))
    sin = -sin if forward else sin
    a, b = real.movedim(dim, -1), imaginary.movedim(dim, -1)
    return (a @ cos - b @ sin).movedim(-1, dim), (a @ sin + b @ cos).movedim(-1, dim)


def _scaled(x: Tensor, sizes: list[Any], normalization: int) -> Tensor:
    """By nothing (0), the root of the number of elements (1), or their number (2)."""
    if normalization == 0:
        return x
    count: Any = 1
    for size in sizes:
        count = count * size
    number = torch.full((), count, dtype=torch.float32).to(x.dtype)
    return x / (number.sqrt() if normalization == 1 else number)


def _joined(real: Tensor, imaginary: Tensor) -> Tensor:
    return torch.view_as_complex(torch.stack((real, imaginary), -1))


def complex_to_complex(x: Tensor, dim: list[int], normalization: int, forward: bool) -> Tensor:
    real, imaginary = torch.view_as_real(x).unbind(-1)
    sizes = [x.shape[d] for d in dim]
    for d in dim:
        real, imaginary = _turned(real, imaginary, d - x.dim() if d >= 0 else d, forward)
    return _joined(_scaled(real, sizes, normalization), _scaled(imaginary, sizes, normalization))


def real_to_complex(x: Tensor, dim: list[int], normalization: int, onesided: bool) -> Tensor:
    last = dim[-1]
    size = x.shape[last]
    count = size // 2 + 1 if onesided else size
    cos, sin = (part.to(x.dtype) for part in _turns(count, size))
    moved = x.movedim(last, -1)
    real, imaginary = (moved @ cos).movedim(-1, last), -(moved @ sin).movedim(-1, last)
    for d in dim[:-1]:
        real, imaginary = _turned(real, imaginary, d, True)
    sizes = [x.shape[d] for d in dim]
    return _joined(_scaled(real, sizes, normalization), _scaled(imaginary, sizes, normalization))


def complex_to_real(x: Tensor, dim: list[int], normalization: int, last_dim_size: Any) -> Tensor:
    real, imaginary = torch.view_as_real(x).unbind(-1)
    for d in dim[:-1]:
        real, imaginary = _turned(real, imaginary, d, False)
    last = dim[-1]
    count = real.shape[last]
    cos, sin = (part.to(real.dtype).T for part in _turns(count, last_dim_size))
    # Each of the frequencies between the first and the middle stands for two.
    index = torch.arange(count)
    alone = (index == 0) | (index * 2 == last_dim_size)
    weight = torch.where(alone, 1.0, 2.0).to(real.dtype)
    a, b = real.movedim(last, -1) * weight, imaginary.movedim(last, -1) * weight
    result = (a @ cos - b @ sin).movedim(-1, last)
    sizes = [x.shape[d] for d in dim[:-1]] + [last_dim_size]
    return _scaled(result, sizes, normalization)


PARTS: dict[str, Any] = {
    "aten._fft_c2c.default": complex_to_complex,
    "aten._fft_r2c.default": real_to_complex,
    "aten._fft_c2r.default": complex_to_real,
}
