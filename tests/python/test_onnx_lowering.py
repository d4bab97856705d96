"""Every row of the lowering table against eager, in ONNX Runtime, at the oldest and newest opset.

A case is one function of tensors. It is captured with all dims dynamic, but those that are named as
fixed, and run at the sample shape and at others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.integrations import moe  # noqa: F401  registers its grouped products

import onnx
from portwright.exporters import OnnxConfig, OnnxExporter
from portwright.verify import verify


class _Module(torch.nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, **inputs: Tensor) -> Any:
        return self.function(*inputs.values())


@dataclass
class Case:
    """One function, its operands, and the dims that may vary (all, unless `fixed` lists them)."""

    name: str
    function: Callable[..., Any]
    inputs: list[Tensor]
    fixed: dict[int, tuple[int, ...]] = field(default_factory=dict)


def _real(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def _positive(*shape: int) -> Tensor:
    return _real(*shape).abs() + 0.1


# Made before any capture: random operators are captured, not folded.
_WEIGHTS = {
    shape: _real(*shape)
    for shape in [(4,), (5,), (6,), (7,), (7, 5), (9, 5), (4, 5, 6), (8, 2, 3, 3)]
}


def _weight(*shape: int) -> Tensor:
    return _WEIGHTS[shape]


def _ints(*shape: int, high: int = 5) -> Tensor:
    return torch.randint(0, high, shape, generator=torch.Generator().manual_seed(sum(shape)))


def _bools(*shape: int) -> Tensor:
    return _real(*shape) > 0


# name: function of one real tensor.
UNARY: dict[str, Callable[[Tensor], Any]] = {
    "abs": torch.abs,
    "atan": torch.atan,
    "ceil": torch.ceil,
    "cos": torch.cos,
    "erf": torch.erf,
    "exp": torch.exp,
    "expm1": torch.expm1,
    "floor": torch.floor,
    "neg": torch.neg,
    "round": torch.round,
    "sign": torch.sign,
    "sin": torch.sin,
    "square": torch.square,
    "tanh": torch.tanh,
    "trunc": torch.trunc,
    "elu": F.elu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "hardsigmoid": F.hardsigmoid,
    "hardswish": F.hardswish,
    "hardtanh": F.hardtanh,
    "leaky_relu": F.leaky_relu,
    "log_sigmoid": F.logsigmoid,
    "mish": F.mish,
    "relu": F.relu,
    "relu6": F.relu6,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "softplus": F.softplus,
    "softplus_beta": lambda x: F.softplus(x, beta=2.0),
    "softsign": F.softsign,
    "softmax": lambda x: F.softmax(x, dim=-1),
    "softmax_middle": lambda x: F.softmax(x, dim=1),
    "log_softmax": lambda x: F.log_softmax(x, dim=-1),
    "isnan": lambda x: torch.isnan(x / x.floor()),
    "isinf": lambda x: torch.isinf(1 / x.floor()),
    "clamp": lambda x: x.clamp(-0.5, 0.5),
    "clamp_min": lambda x: x.clamp(min=0.1),
    "clamp_max": lambda x: x.clamp(max=0.1),
    "add_alpha": lambda x: torch.add(x, x, alpha=3),
    "rsub": lambda x: 1 - x,
    "div_int": lambda x: x / 3,
    "floor_mode": lambda x: torch.div(x, 0.3, rounding_mode="floor"),
    "trunc_mode": lambda x: torch.div(x, 0.3, rounding_mode="trunc"),
    "fmod": lambda x: torch.fmod(x, 0.7),
    "remainder": lambda x: torch.remainder(x, 0.7),
    "pow_scalar": lambda x: x**2,
    "scalar_pow": lambda x: 2**x,
    "to_double": lambda x: x.double() * 0.1,
    "to_int": lambda x: (x * 4).long(),
    "to_bool": lambda x: x.bool(),
    "all": lambda x: (x > -9).all(),
    "all_dim": lambda x: (x > 0).all(-1),
    "any": lambda x: (x > 9).any(),
    "any_dim": lambda x: (x > 1).any(1, keepdim=True),
    "amax": lambda x: x.amax(1),
    "amin": lambda x: x.amin((0, 2), keepdim=True),
    "argmax": lambda x: x.argmax(-1),
    "argmax_all": lambda x: x.argmax(),
    "argmin": lambda x: x.argmin(1, keepdim=True),
    "argsort": lambda x: x.argsort(-1),
    "sort": lambda x: x.sort(-1, descending=True),
    "topk": lambda x: x.topk(2, dim=-1).values,
    "max": lambda x: x.max(),
    "max_dim": lambda x: x.max(1),
    "min": lambda x: x.min(),
    "min_dim": lambda x: x.min(-1, keepdim=True),
    "mean": lambda x: x.mean(),
    "mean_dim": lambda x: x.mean((-1, 0)),
    "sum": lambda x: x.sum(),
    "sum_dim": lambda x: x.sum(1, keepdim=True),
    "sum_bool": lambda x: (x > 0).sum(-1),
    "prod": lambda x: x.prod(),
    "prod_dim": lambda x: x.prod(-1),
    "std": lambda x: x.std(-1),
    "var": lambda x: x.var(-1, unbiased=False),
    "var_all": lambda x: x.var(),
    "vector_norm": lambda x: torch.linalg.vector_norm(x, dim=-1),
    "normalize": lambda x: F.normalize(x, dim=-1),
    "cumsum": lambda x: x.cumsum(-1),
    "flip": lambda x: x.flip(0, 2),
    "roll": lambda x: x.roll((1, -1), (0, 2)),
    "chunk": lambda x: x.chunk(2, dim=1),
    "split": lambda x: x.split(2, dim=1),
    "split_sizes": lambda x: x[:, :3].split([1, 2], dim=1),
    "tensor_split": lambda x: x.tensor_split(2, dim=1),
    "unbind": lambda x: x[:2].unbind(0),
    "select": lambda x: x[:, -1],
    "slice": lambda x: x[1:, :-1, ::2],
    "narrow": lambda x: x.narrow(1, 1, 2),
    "permute": lambda x: x.permute(2, 0, 1),
    "transpose": lambda x: x.transpose(0, -1),
    "reshape": lambda x: x.reshape(x.shape[0], -1),
    "view_product": lambda x: x.view(x.shape[0] * x.shape[1], x.shape[2]),
    "flatten": lambda x: x.flatten(1),
    "unflatten": lambda x: x.unflatten(1, (1, -1)),
    "squeeze": lambda x: x[:, :1].squeeze(1),
    "unsqueeze": lambda x: x.unsqueeze(-2),
    "expand": lambda x: x[:, :1].expand(-1, 5, -1),
    "repeat": lambda x: x.repeat(2, 1, 3),
    "repeat_kv": lambda x: x[:, None].expand(-1, 2, -1, -1).reshape(-1, x.shape[1], x.shape[2]),
    "tril": torch.tril,
    "triu": lambda x: x.triu(1),
    "pad": lambda x: F.pad(x, (1, 2, 0, 1), value=3.0),
    "pad_negative": lambda x: F.pad(x, (-1, 2)),
    "pad_reflect": lambda x: F.pad(x, (1, 1), mode="reflect"),
    "pad_replicate": lambda x: F.pad(x, (2, 1), mode="replicate"),
    "zeros_like": lambda x: torch.zeros_like(x) + x,
    "full_like": lambda x: torch.full_like(x, 2.5) + x,
    "new_ones": lambda x: x.new_ones(x.shape[0], 2) * x.shape[1],
    "new_zeros": lambda x: x.new_zeros(x.shape[1]),
    "new_full": lambda x: x.new_full((x.shape[2], 2), 7.0),
    "arange": lambda x: torch.arange(x.shape[1]) * 2,
    "arange_step": lambda x: torch.arange(1, x.shape[2] * 2, 2),
    "linspace": lambda x: torch.linspace(0, 1, x.shape[1]),
    "eye": lambda x: torch.eye(x.shape[1]) + x.shape[2],
    "eye_of_bools": lambda x: torch.eye(x.shape[1], x.shape[2], dtype=torch.bool),
    "size_arithmetic": lambda x: x * (x.shape[0] // 2 + x.shape[1] % 3) / x.shape[2] ** 0.5,
    "stack": lambda x: torch.stack([x, x + 1], dim=1),
    "cat": lambda x: torch.cat([x, x[:, :1]], dim=1),
    "one_hot": lambda x: F.one_hot((x > 0).long(), 3),
    "masked_fill": lambda x: x.masked_fill(x > 0, -1.0),
    "where_scalar": lambda x: torch.where(x > 0, x, 0.0),
    "glu": lambda x: F.glu(torch.cat([x, x], -1), -1),
    "slice_scatter": lambda x: torch.slice_scatter(x, x[:, :1] * 2, 1, 1, 2),
    "select_scatter": lambda x: torch.select_scatter(x, x[:, 0] * 2, 1, 1),
    "in_place": lambda x: x.clone().add_(1).mul_(2),
    "assign_slice": lambda x: _assigned(x),
    "outer": lambda x: torch.outer(x[0, 0], x[0, :, 0]),
    "einsum": lambda x: torch.einsum("bij,bkj->bik", x, x),
    "asinh": torch.asinh,
    "sinh": torch.sinh,
    "cosh": torch.cosh,
    "nan_to_num": lambda x: torch.nan_to_num(x / x.floor().clamp(-1, 1), nan=2.0, posinf=3.0),
    "nan_to_num_default": lambda x: torch.nan_to_num(1 / x.floor()).clamp(-10, 10),
    "logsumexp": lambda x: x.logsumexp(-1),
    "logsumexp_dims": lambda x: x.logsumexp((0, 2), keepdim=True),
    "tile": lambda x: x.tile(2, 3),
    "tile_leading": lambda x: x.tile(2, 1, 1, 3),
    "unfold": lambda x: x.unfold(2, 3, 2),
    "unfold_middle": lambda x: x.unfold(1, 2, 1),
    "as_strided": lambda x: x.as_strided(
        (x.shape[0], x.shape[1] - 1, 2, x.shape[2]),
        (x.shape[1] * x.shape[2], x.shape[2], x.shape[2], 1),
    ),
    "as_strided_permuted": lambda x: x.permute(2, 0, 1).as_strided(
        (x.shape[0] - 1, 2, 3), (x.shape[1] * x.shape[2], x.shape[2], 1)
    ),
    "repeat_interleave": lambda x: x.repeat_interleave(3, dim=1),
    "repeat_interleave_last": lambda x: x.repeat_interleave(2, dim=-1),
    "repeat_interleave_flat": lambda x: x.repeat_interleave(2),
    "histc": lambda x: torch.histc(x, bins=5, min=-1, max=1),
    "bucketize": lambda x: torch.bucketize(x, x[0, 0].sort().values),
    "bucketize_right": lambda x: torch.bucketize(x[0, 0], x[0, 0].sort().values, right=True),
    "searchsorted": lambda x: torch.searchsorted(x.sort(-1).values, x[..., :2], side="right"),
    "cdist": lambda x: torch.cdist(x, x + 1, compute_mode="donot_use_mm_for_euclid_dist"),
    "cdist_product": lambda x: torch.cdist(
        x, x + 1, compute_mode="use_mm_for_euclid_dist"
    ).square(),
    "cdist_1": lambda x: torch.cdist(x, x + 1, p=1),
    "is_all_true": lambda x: torch.ops.aten._is_all_true((x > 0).any(0)),
    "mask_put": lambda x: x.masked_scatter(x > 0, x.flip(0)),
    "mask_put_broadcast": lambda x: x.masked_scatter(x[..., :1] > 0, x.flip(0)),
    "index_put_mask_scalar": lambda x: _put(x, (x > 0,), x[0, 0, 0]),
    "index_put_mask_values": lambda x: _put(x, (x[..., 0] > 0,), x[0, 0]),
    "index_put_mask_number": lambda x: _put(x, (x > 0.5,), 2.5),
    "index_put_middle": lambda x: _put(x, (slice(None), torch.tensor([1, 0])), x[:, :2] * 2),
    "index_put_apart": lambda x: _put(
        x, (torch.tensor([0, 1]), slice(None), torch.tensor([1, 0])), x[:2, :, 0] * 2
    ),
    "index_put_mask_middle": lambda x: _put(x, (slice(None), x[0, :, 0] > 0), x[:, :1]),
    "polar": lambda x: torch.view_as_real(torch.polar(x, x + 1)),
    "complex_product": lambda x: torch.view_as_real(torch.polar(x, x) * torch.polar(x, -x / 2)),
    "complex_rotation": lambda x: torch.view_as_real(
        torch.view_as_complex(torch.stack([x, x + 1], -1))
        * torch.polar(torch.ones_like(x), x)[:1, -1:].unsqueeze(0)[0]
    ),
    "complex_parts": lambda x: (lambda z: z.real + z.conj().imag * z.abs() + z.angle())(
        torch.complex(x, x - 1)
    ),
    "complex_views": lambda x: torch.view_as_real(
        torch.cat([torch.complex(x, x)[:, None], torch.complex(x, -x)[:, None]], -1)
        .permute(0, 3, 1, 2)
        .reshape(x.shape[0], -1)
        .unsqueeze(-1)
    ),
    "complex_matmul": lambda x: torch.view_as_real(
        torch.complex(x, x + 1) @ torch.complex(x, x - 1).transpose(1, 2)
    ),
    "complex_of_real": lambda x: torch.view_as_real(x.to(torch.complex64) * 2 / 3),
    "fft": lambda x: torch.view_as_real(torch.fft.fft(_uneven(x))),
    "fft_two": lambda x: torch.fft.fft(torch.fft.fft(_uneven(x), dim=-1), dim=-2).real,
    "fft_2d": lambda x: torch.view_as_real(torch.fft.fft2(_uneven(x))),
    "fft_n": lambda x: torch.fft.fftn(_uneven(x), dim=(1, 2), norm="ortho").real,
    "ifft": lambda x: torch.view_as_real(torch.fft.ifft(torch.complex(_uneven(x), x + 1))),
    "rfft": lambda x: torch.view_as_real(torch.fft.rfft(_uneven(x))),
    "rfft_ortho": lambda x: torch.fft.rfft(_uneven(x), dim=1, norm="ortho").abs(),
    "selu": F.selu,
    "norm_3": lambda x: torch.linalg.vector_norm(x, 3, dim=-1),
    "norm_infinite": lambda x: torch.linalg.vector_norm(x, float("inf"), dim=-1),
    "norm_0": lambda x: torch.linalg.vector_norm(x.round(), 0, dim=-1),
    # What has no lowering of its own: PyTorch's decompositions and ours (operator_parts.py).
    "logaddexp": lambda x: torch.logaddexp(x, x * 2),
    "celu": F.celu,
    "softshrink": F.softshrink,
    "hardshrink": F.hardshrink,
    "threshold": lambda x: F.threshold(x, 0.1, 2.0),
    "logit": lambda x: torch.logit(x.sigmoid()),
    "logit_in_place": lambda x: x.sigmoid().logit_(1e-3) * 2,
    "sinc": torch.sinc,
    "isclose": lambda x: torch.isclose(x, x + 1e-9),
    "cosine_similarity": lambda x: F.cosine_similarity(x, x + 1, dim=-1),
    "aminmax": lambda x: torch.aminmax(x, dim=-1),
    "renorm": lambda x: x.renorm(2, 0, 1.0),
    "rot90": lambda x: x.rot90(1, (1, 2)),
    "diag_embed": torch.diag_embed,
    "cross": lambda x: torch.linalg.cross(x[..., :3], x[..., 2:5]),
    "isin": lambda x: torch.isin(x.round(), torch.tensor([1.0, 2.0])),
    "mse_loss": lambda x: F.mse_loss(x, x + 1),
    "smooth_l1_loss": lambda x: F.smooth_l1_loss(x, x * 2),
    "var_mean": lambda x: torch.var_mean(x, -1),
    "std_mean": lambda x: torch.std_mean(x, -1, keepdim=True),
    "median": lambda x: x.median(-1).values,
    "median_all": lambda x: x.median(),
    "kthvalue": lambda x: x.kthvalue(2, 1, keepdim=True).values,
    "quantile": lambda x: x.quantile(0.3, dim=-1),
    "nanmean": lambda x: (x / x.floor().clamp(-1, 1)).clamp(-9, 9).nanmean(-1),
    "cumprod": lambda x: x.cumprod(1),
    "cummax": lambda x: x.round().cummax(-1),
    "cummin": lambda x: x.round().cummin(1),
    "logcumsumexp": lambda x: x.logcumsumexp(-1),
    "diagonal": lambda x: x.diagonal(0, 1, 2),
    "diagonal_offset": lambda x: x.diagonal(-1, 2, 0) + x.diagonal(1, 0, 2).sum(),
    "hypot": lambda x: torch.hypot(x, x + 1),
    "copysign": lambda x: torch.copysign(x, -x.flip(0)),
    "signbit": torch.signbit,
    "erfc": torch.erfc,
    "exp2": torch.exp2,
    "fmax": lambda x: torch.fmax(x, x.flip(0) / x.flip(0).floor().clamp(-1, 1)),
    "addbmm": lambda x: torch.addbmm(x[0] @ x[0].T, x, x.transpose(1, 2), beta=2, alpha=0.5),
    "dist": lambda x: torch.dist(x, x + 1),
    "shifts": lambda x: ((x * 9).long() << 2) >> 1,
    "loop_over_rows": lambda x: _rows_resized(x),
    "index_add": lambda x: x.index_add(1, torch.tensor([0, 1, 0]), x[:, :3], alpha=2),
    "index_copy": lambda x: x.index_copy(0, torch.tensor([1, 0]), x[:2] * 3),
    "index_fill": lambda x: x.index_fill(1, torch.tensor([1]), 3.0),
}


def _rows_resized(x: Tensor) -> Tensor:
    """A loop node with interpolations in its body."""
    found = []
    for row in x:
        image = row[None, None]
        found.append(F.interpolate(image, size=(3, 7), mode="bilinear"))
        found.append(F.interpolate(image, size=(3, 7), mode="bilinear", align_corners=True))
        found.append(F.interpolate(image, size=(3, 7), mode="nearest"))
        found.append(F.interpolate(image, scale_factor=2, mode="nearest")[..., :3, :7])
    return torch.cat(found)


def _uneven(x: Tensor) -> Tensor:
    """Not periodic at any size: a transform without zeros, which have no relative error."""
    return x + torch.linspace(0, 1, x.shape[1])[:, None] + torch.linspace(0, 2, x.shape[2]) ** 2


def _put(x: Tensor, places: tuple[Any, ...], values: Any) -> Tensor:
    y = x.clone()
    y[places] = values
    return y


# name: function of one positive tensor.
POSITIVE: dict[str, Callable[[Tensor], Any]] = {
    "log": torch.log,
    "log2": torch.log2,
    "log10": torch.log10,
    "log1p": torch.log1p,
    "reciprocal": torch.reciprocal,
    "rsqrt": torch.rsqrt,
    "sqrt": torch.sqrt,
    "acos": lambda x: torch.acos(x / 5),
    "asin": lambda x: torch.asin(x / 5),
    "tan": torch.tan,
    "pow_half": lambda x: x**0.5,
}

# name: function of two real tensors of one shape.
BINARY: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "add": torch.add,
    "sub": lambda a, b: torch.sub(a, b, alpha=2),
    "mul": torch.mul,
    "div": torch.div,
    "div_floor": lambda a, b: torch.div(a, b, rounding_mode="floor"),
    "fmod_tensor": torch.fmod,
    "remainder_tensor": torch.remainder,
    "floor_divide": lambda a, b: torch.floor_divide(a, b),
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "max_other": torch.max,
    "min_other": torch.min,
    "pow": lambda a, b: a.abs() ** b,
    "atan2": torch.atan2,
    "eq": torch.eq,
    "ne": torch.ne,
    "lt": torch.lt,
    "le": lambda a, b: a <= b,
    "gt": torch.gt,
    "ge": lambda a, b: a >= b,
    "logical_and": lambda a, b: torch.logical_and(a > 0, b > 0),
    "logical_or": lambda a, b: torch.logical_or(a > 0, b > 0),
    "logical_xor": lambda a, b: torch.logical_xor(a > 0, b > 0),
    "logical_not": lambda a, b: torch.logical_not(a > b),
    "bool_and": lambda a, b: (a > 0) & (b > 0),
    "bool_or": lambda a, b: (a > 0) | (b > 0),
    "bool_not": lambda a, b: ~(a > b),
    "where": lambda a, b: torch.where(a > b, a, b),
    "clamp_tensor": lambda a, b: a.clamp(b, b + 1),
    "lerp": lambda a, b: torch.lerp(a, b, 0.3),
    "lerp_tensor": lambda a, b: torch.lerp(a, b, a),
    "addcmul": lambda a, b: torch.addcmul(a, a, b, value=0.5),
    "addcdiv": lambda a, b: torch.addcdiv(a, a, b, value=0.5),
    "broadcast": lambda a, b: a[:, :1] + b[:1],
    "matmul": lambda a, b: a @ b.transpose(1, 2),
    "bmm": lambda a, b: torch.bmm(a, b.transpose(1, 2)),
    "mm": lambda a, b: torch.mm(a[0], b[0].t()),
    "mv": lambda a, b: torch.mv(a[0], b[0, 0]),
    "dot": lambda a, b: torch.dot(a[0, 0], b[0, 0]),
    "addmm": lambda a, b: torch.addmm(a[0, :, :1], a[0], b[0].t(), beta=2, alpha=0.5),
    "baddbmm": lambda a, b: torch.baddbmm(a[:, :, :1], a, b.transpose(1, 2)),
}

# name: function of two int tensors of one shape, the second without zeros.
INTEGER: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "int_true_div": lambda a, b: a / b,
    "int_floor_div": lambda a, b: (a - 3) // b,
    "int_mod": lambda a, b: (a - 3) % b,
    "int_fmod": lambda a, b: torch.fmod(a - 3, b),
    "bit_and": lambda a, b: a & b,
    "bit_or": lambda a, b: a | b,
    "bit_xor": lambda a, b: a ^ b,
    "bit_not": lambda a, b: ~a + b,
    "int_by_float": lambda a, b: a * 0.5 + b,
    "int_abs": lambda a, b: (a - b).abs(),
    "int_sum": lambda a, b: (a + b).sum(-1),
    "int_mean": lambda a, b: (a + b).float().mean(-1),
    "int_cumsum": lambda a, b: a.cumsum(-1) * b,
    "int_max": lambda a, b: torch.maximum(a, b).max(),
    "int_clamp": lambda a, b: (a * b).clamp(1, 4),
    "mask_to_bias": lambda a, b: (1.0 - a.clamp(0, 1).to(torch.float32)) * -1e4 + b,
}


def _assigned(x: Tensor) -> Tensor:
    y = x.clone()
    y[:, 1:] = 0.5
    y[..., 0] += x[..., 1]
    return y


def _cases() -> list[Case]:
    x, other = _real(3, 4, 5), _real(4, 3, 5)[:3].repeat(1, 2, 1)[:, :4] + 0.2
    cases = [Case(name, f, [x]) for name, f in UNARY.items()]
    cases += [Case(name, f, [_positive(3, 4, 5)]) for name, f in POSITIVE.items()]
    cases += [Case(name, f, [x, other.contiguous()]) for name, f in BINARY.items()]
    cases += [
        Case(name, f, [_ints(3, 4), _ints(4, 3).t().contiguous() + 1])
        for name, f in INTEGER.items()
    ]
    w = {rank: _real(6, 4, *(3,) * rank) for rank in (1, 2, 3)}
    images = {rank: _real(2, 4, *range(9, 9 + rank)) for rank in (1, 2, 3)}
    channels = {0: (1,)}
    for rank in (1, 2, 3):
        for label, options in {
            "": {},
            "_strided": {"stride": 2, "padding": 1},
            "_dilated": {"dilation": 2, "padding": 2},
            "_same": {"padding": "same"},
        }.items():
            cases.append(
                Case(
                    f"conv{rank}d{label}",
                    lambda a, r=rank, o=options: getattr(F, f"conv{r}d")(a, w[r], _weight(6), **o),
                    [images[rank]],
                    channels,
                )
            )
        cases.append(
            Case(
                f"conv_transpose{rank}d",
                lambda a, r=rank: getattr(F, f"conv_transpose{r}d")(
                    a, w[r].transpose(0, 1).contiguous(), stride=2, padding=1, output_padding=1
                ),
                [images[rank]],
                channels,
            )
        )
        cases.append(
            Case(
                f"max_pool{rank}d",
                lambda a, r=rank: getattr(F, f"max_pool{r}d")(a, 3, 2, 1),
                [images[rank]],
                channels,
            )
        )
    two = images[2]
    for name, function in {
        "conv2d_grouped": lambda a: F.conv2d(a, _weight(8, 2, 3, 3), groups=2),
        "max_pool2d_ceil": lambda a: F.max_pool2d(a, 2, 2, ceil_mode=True),
        "avg_pool2d": lambda a: F.avg_pool2d(a, 3, 2, 1),
        "avg_pool2d_exclusive": lambda a: F.avg_pool2d(a, 3, 2, 1, count_include_pad=False),
        "avg_pool1d": lambda a: F.avg_pool1d(a.flatten(2), 3, 2, 1),
        "adaptive_avg_pool2d": lambda a: F.adaptive_avg_pool2d(a, 1),
        "adaptive_avg_pool1d": lambda a: F.adaptive_avg_pool1d(a.flatten(2), 1),
        "batch_norm": lambda a: F.batch_norm(
            a, _weight(4), _weight(4).abs(), _weight(4), _weight(4)
        ),
        "group_norm": lambda a: F.group_norm(a, 2, _weight(4), _weight(4)),
        "instance_norm": lambda a: F.instance_norm(a),
        "prelu": lambda a: F.prelu(a, _weight(4)),
        "upsample_nearest": lambda a: F.interpolate(a, scale_factor=2),
        "upsample_nearest_size": lambda a: F.interpolate(a, size=(7, 21)),
        "upsample_bilinear": lambda a: F.interpolate(a, scale_factor=2.0, mode="bilinear"),
        "upsample_bilinear_corners": lambda a: F.interpolate(
            a, size=(13, 7), mode="bilinear", align_corners=True
        ),
        "upsample_bicubic": lambda a: F.interpolate(a, scale_factor=1.5, mode="bicubic"),
        "upsample_bilinear_smooth": lambda a: F.interpolate(
            a, size=(5, 7), mode="bilinear", antialias=True
        ),
        "upsample_bilinear_smooth_larger": lambda a: F.interpolate(
            a, size=(13, 14), mode="bilinear", antialias=True
        ),
        "upsample_bicubic_smooth": lambda a: F.interpolate(
            a, size=(5, 7), mode="bicubic", antialias=True
        ),
        "pixel_shuffle": lambda a: F.pixel_shuffle(a, 2),
        "local_response_norm": lambda a: F.local_response_norm(a, 3),
        "upsample_nearest_exact": lambda a: F.interpolate(a, size=(7, 13), mode="nearest-exact"),
        "im2col": lambda a: F.unfold(a, 3, dilation=1, padding=1, stride=2),
        "im2col_dilated": lambda a: F.unfold(a, (2, 3), dilation=2),
        "col2im": lambda a: F.fold(
            F.unfold(a, 3, padding=1, stride=2), a.shape[2:], 3, padding=1, stride=2
        ),
        "adaptive_avg_pool2d_uneven": lambda a: F.adaptive_avg_pool2d(a, (4, 3)),
        "adaptive_avg_pool2d_larger": lambda a: F.adaptive_avg_pool2d(a, (12, None)),
        "adaptive_avg_pool1d_uneven": lambda a: F.adaptive_avg_pool1d(a.flatten(2), 7),
        "upsample_nearest1d": lambda a: F.interpolate(a.flatten(2), scale_factor=2),
        "upsample_linear1d": lambda a: F.interpolate(a.flatten(2), scale_factor=2, mode="linear"),
    }.items():
        cases.append(Case(name, function, [two], channels))
    cases.append(
        Case(
            "upsample_nearest3d", lambda a: F.interpolate(a, scale_factor=2), [images[3]], channels
        )
    )
    cases.append(
        Case(
            "upsample_trilinear3d",
            lambda a: F.interpolate(a, scale_factor=2, mode="trilinear"),
            [images[3]],
            channels,
        )
    )
    last = {0: (2,)}
    for name, function in {
        "layer_norm": lambda a: F.layer_norm(a, (5,), _weight(5), _weight(5)),
        "layer_norm_plain": lambda a: F.layer_norm(a, (5,)),
        "rms_norm": lambda a: F.rms_norm(a, (5,), _weight(5)),
        "linear": lambda a: F.linear(a, _weight(7, 5), _weight(7)),
        "linear_2d": lambda a: F.linear(a[0], _weight(7, 5), _weight(7)),
        "linear_no_bias": lambda a: F.linear(a, _weight(7, 5)),
        "linear_1d": lambda a: F.linear(a[0, 0], _weight(7, 5)),
    }.items():
        cases.append(Case(name, function, [x], last))
    rows = _ints(2, 3, high=4)
    cases += [
        Case("embedding", lambda i: F.embedding(i, _weight(9, 5)), [_ints(2, 3)]),
        Case("index_select", lambda a, i: a.index_select(1, i[0]), [x, rows], {0: (0, 1, 2)}),
        Case("index_one", lambda a, i: a[:, i], [x, rows], {0: (0, 1, 2)}),
        Case("index_two", lambda a, i: a[i[:1] % 3, i], [x, rows], {0: (0, 1, 2)}),
        Case("index_apart", lambda a, i: a[i % 3, :, i], [x, rows], {0: (0, 1, 2)}),
        Case("index_bool_where", lambda a: torch.where(a > 0, a, a.mean()), [x]),
        Case(
            "index_put",
            lambda a, i: a.index_put((i[0] % 3,), torch.tensor(2.0)),
            [x, rows],
            {0: (0, 1, 2)},
        ),
        Case("topk_indices", lambda a: a.topk(2).indices, [x], {0: (0, 1, 2)}),
        Case("gather", lambda a, i: a[0].gather(1, i), [x, rows], {0: (0, 1, 2)}),
        Case(
            "scatter",
            lambda a, i: a[0].scatter(1, i, a[1, :2, :3]),
            [x, rows],
            {0: (0, 1, 2), 1: (0, 1)},
        ),
        Case(
            "scatter_value",
            lambda a, i: a[0].scatter(0, i, 1.5),
            [x, rows],
            {0: (0, 1, 2), 1: (0, 1)},
        ),
        Case(
            "scatter_add",
            lambda a, i: a[0].scatter_add(0, i, a[1, :2, :3]),
            [x, rows],
            {0: (0, 1, 2), 1: (0, 1)},
        ),
        *(
            Case(
                f"scatter_reduce_{reduce}{'' if include else '_alone'}",
                lambda a, i, r=reduce, s=include: a[0].scatter_reduce(
                    1, i, a[1, :2, :3], r, include_self=s
                ),
                [x, rows],
                {0: (0, 1, 2), 1: (0, 1)},
            )
            for reduce in ("sum", "prod", "mean", "amax", "amin")
            for include in (True, False)
        ),
        Case(
            "index_put_accumulate",
            lambda a, i: a.index_put((i[0] % 3, i[1] % 4), a[0, 0, :2].sum(), accumulate=True),
            [x, rows],
            {0: (0, 1, 2)},
        ),
        Case(
            "grouped_mm",
            lambda a, o: torch.ops.transformers.grouped_mm_fallback(
                a, _WEIGHTS[(4, 5, 6)], (o * 2).to(torch.int32)
            ),
            [_real(9, 5), torch.tensor([1, 1, 3, 4])],
            {0: (1,), 1: (0,)},
        ),
        Case(
            "embedding_bag",
            lambda i, o: F.embedding_bag(i, _weight(9, 5), o, mode="sum"),
            [_ints(8), torch.tensor([0, 3, 3])],
            {1: (0,)},
        ),
        Case(
            "embedding_bag_mean",
            lambda i: F.embedding_bag(i, _weight(9, 5), mode="mean"),
            [_ints(4, 3)],
        ),
        Case(
            "embedding_bag_weighted",
            lambda i, w: F.embedding_bag(i, _weight(9, 5), mode="sum", per_sample_weights=w),
            [_ints(4, 3), _real(4, 3)],
        ),
        *(
            Case(
                f"grid_sample_{mode}_{padding}{'_corners' if corners else ''}",
                lambda a, g, m=mode, p=padding, c=corners: F.grid_sample(
                    a, g.tanh() * 1.3, m, p, align_corners=c
                ),
                [images[2], _real(2, 5, 6, 2)],
                {0: (1,), 1: (3,)},
            )
            for mode in ("bilinear", "nearest", "bicubic")
            for padding in ("zeros", "border", "reflection")
            for corners in (True, False)
        ),
        Case("sdpa", F.scaled_dot_product_attention, [_real(2, 2, 3, 4)] * 3),
        Case(
            "sdpa_causal",
            lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.3),
            [_real(2, 2, 3, 4)] * 3,
        ),
        Case(
            "sdpa_mask",
            lambda q, m: F.scaled_dot_product_attention(q, q, q, attn_mask=m > -1),
            [_real(2, 2, 3, 4), _positive(2, 1, 3, 3)],
        ),
        Case(
            "sdpa_bias",
            lambda q, m: F.scaled_dot_product_attention(q, q, q, attn_mask=m),
            [_real(2, 2, 3, 4), _real(2, 1, 3, 3)],
        ),
        Case(
            "sdpa_grouped",
            lambda q: F.scaled_dot_product_attention(q, q[:, :1], q[:, :1], enable_gqa=True),
            [_real(2, 2, 3, 4)],
            {0: (1,)},
        ),
    ]
    return cases


CASES = {case.name: case for case in _cases()}


def _export(case: Case, opset: int) -> tuple[Any, torch.nn.Module, dict[str, Tensor]]:
    model = _Module(case.function).eval()
    inputs = {f"x{i}": tensor for i, tensor in enumerate(case.inputs)}
    shapes = {
        f"x{i}": {
            axis: torch.export.Dim.AUTO
            for axis in range(tensor.dim())
            if axis not in case.fixed.get(i, ())
        }
        for i, tensor in enumerate(case.inputs)
    }
    config = OnnxConfig(opset_version=opset, dynamic_shapes=shapes)
    program = OnnxExporter().export(model, inputs, config)
    onnx.checker.check_model(program.model_proto, full_check=True)
    return program, model, inputs


@pytest.mark.parametrize("opset", [18, 23, 28])
@pytest.mark.parametrize("name", CASES)
def test_equals_eager_in_onnx_runtime(name: str, opset: int) -> None:
    check(CASES[name], opset)


def check(case: Case, opset: int) -> None:
    """Sample shape and the others that eager takes."""
    program, model, inputs = _export(case, opset)
    results = verify(program.captured, model, inputs, program)
    assert results
    for result in results:
        assert not result.problems, (result.name, result.problems)
        assert not result.refused, (result.name, result.refused)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x[x > 0],
        lambda x: x[:, x[0] > 0] * 2,
        lambda x: torch.masked_select(x, x[:, :1] > 0),
        lambda x: (x > 0).nonzero(),
        lambda x: torch.where(x > 0)[1],
        lambda x: torch.arange((x > 0).sum().item()) + 1,
        lambda x: x[x[:, 0] > 0, 1:],
        lambda x: x[:, x[0] > 0][0],
        lambda x: (x * 2).round().unique_consecutive(return_inverse=True, return_counts=True),
        lambda x: (x * 2).round().unique(return_inverse=True, return_counts=True),
        lambda x: torch.bincount((x[0] * 2).abs().long(), minlength=2),
        lambda x: x.repeat_interleave((x[:, 0] * 2).abs().long(), dim=0),
        lambda x: torch.repeat_interleave((x[:, 0] * 2).abs().long()),
    ],
)
def test_sizes_from_data_in_onnx_runtime(function: Callable[..., Any]) -> None:
    """Other data gives other sizes; the artifact follows."""
    model = _Module(function).eval()
    program = OnnxExporter().export(model, {"x": _real(4, 6)}, {"dynamic": True})
    onnx.checker.check_model(program.model_proto, full_check=True)
    for rows in (4, 5, 9):
        actual, expected = program(x=_real(rows, 6)), function(_real(rows, 6))
        for ours, eager in zip(_listed(actual), _listed(expected), strict=True):
            assert torch.equal(ours, eager)


def _listed(result: Any) -> list[Tensor]:
    return [result] if isinstance(result, Tensor) else list(result)


def test_random_operators_draw_from_torchs_distributions() -> None:
    """Not torch's numbers: mean and spread, and what a permutation and a draw hold."""

    def draws(x: Tensor) -> tuple[Tensor, ...]:
        return (
            torch.rand_like(x),
            torch.randn(x.shape[0], x.shape[1]),
            torch.randint(2, 5, x.shape),
            torch.bernoulli(torch.full_like(x, 0.25)),
            torch.randperm(x.shape[0]),
            torch.multinomial(x[:4].abs() * (torch.arange(x.shape[1]) != 1), 3),
            torch.multinomial(torch.tensor([1.0, 0.0, 3.0]), 4000, replacement=True),
        )

    program = OnnxExporter().export(_Module(draws).eval(), {"x": _real(90, 50)}, {"dynamic": True})
    onnx.checker.check_model(program.model_proto, full_check=True)
    uniform, normal, whole, coin, order, some, many = program(x=_real(100, 60))
    assert uniform.min() >= 0 and uniform.max() < 1 and abs(uniform.mean() - 0.5) < 0.02
    assert normal.shape == (100, 60) and abs(normal.mean()) < 0.06 and abs(normal.std() - 1) < 0.06
    assert whole.unique().tolist() == [2, 3, 4]
    assert coin.unique().tolist() == [0, 1] and abs(coin.mean() - 0.25) < 0.04
    assert order.sort().values.equal(torch.arange(100)) and not order.equal(torch.arange(100))
    assert all(len(set(row.tolist())) == 3 and 1 not in row for row in some)
    assert many.unique().tolist() == [0, 2] and abs((many == 2).float().mean() - 0.75) < 0.05


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_equals_eager(dtype: torch.dtype) -> None:
    """bfloat16 computes in float32 and rounds; inputs, weights and outputs keep their dtype."""

    class Block(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = torch.nn.LayerNorm(6)
            self.wide = torch.nn.Linear(6, 12)
            self.narrow = torch.nn.Linear(12, 6)

        def forward(self, x: Tensor) -> Any:
            y = self.narrow(F.gelu(self.wide(self.norm(x)))) + x
            total = y.cumsum(1).masked_fill(x > 1, 0.5)
            return y, total, torch.cat([y, total.relu()], -1)[:, :-1].softmax(-1), y > 0

    torch.manual_seed(0)
    model = Block().to(dtype).eval()
    inputs = {"x": _real(2, 3, 6).to(dtype)}
    program = OnnxExporter().export(model, inputs, OnnxConfig(dynamic=True))
    onnx.checker.check_model(program.model_proto, full_check=True)
    weights = {item.name: item.data_type for item in program.model_proto.graph.initializer}
    half = {torch.bfloat16: onnx.TensorProto.BFLOAT16, torch.float16: onnx.TensorProto.FLOAT16}
    assert weights["wide.weight"] == half[dtype]
    for result in verify(program.captured, model, inputs, program):
        assert not result.problems, (result.name, result.problems)
