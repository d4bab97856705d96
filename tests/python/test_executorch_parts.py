"""Operators that ExecuTorch's runtime has no kernel for, in all their forms, on the runtime against
eager at several sizes: pools and convolutions over three dims, reductions by index, grouped
products."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from portwright.exporters import ExecutorchExporter
from portwright.verify import verify
from test_onnx_lowering import _Module

pytest.importorskip("executorch", reason="executorch, whose runtime runs .pte files, is absent")

_RANDOM = torch.Generator().manual_seed(2)


def _real(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=_RANDOM)


def _steps(*shape: int) -> torch.Tensor:
    """With equal elements."""
    return (_real(*shape) * 2).round() / 2


def _ints(*shape: int) -> torch.Tensor:
    return torch.randint(-9, 9, shape, generator=_RANDOM)


def _check(
    function: Callable[..., Any],
    inputs: list[torch.Tensor],
    moving: list[tuple[int, ...]],
    backend: str,
) -> None:
    """At the sample's sizes and at others of the dims that move, by input."""
    model = _Module(function).eval()
    named = {f"x{i}": tensor for i, tensor in enumerate(inputs)}
    dynamic = {
        name: dict.fromkeys(axes, torch.export.Dim.AUTO)
        for name, axes in zip(named, moving, strict=False)
    }
    config = {"dynamic_shapes": dynamic, "backend": backend, "upper_bounds": 40}
    program = ExecutorchExporter().export(model, named, config)
    results = verify(program.captured, model, named, program)
    assert len(results) > 1 or not any(moving)
    for result in results:
        assert not result.problems, (result.name, result.problems)
        assert not result.refused, (result.name, result.refused)


_WEIGHT = _real(4, 3, 3, 2, 2)
_VOLUMES: dict[str, Callable[..., Any]] = {
    "max": lambda x: F.max_pool3d(x, 2),
    "max_places": lambda x: F.max_pool3d(x, 3, 2, 1, return_indices=True),
    "max_ceil": lambda x: F.max_pool3d(
        x, (3, 2, 1), (2, 3, 1), (1, 0, 0), ceil_mode=True, return_indices=True
    ),
    "max_apart": lambda x: F.max_pool3d(x, 2, 1, dilation=(1, 2, 1)),
    "average": lambda x: F.avg_pool3d(x, 2),
    "average_padded": lambda x: F.avg_pool3d(x, 3, 2, 1),
    "average_inside": lambda x: F.avg_pool3d(x, 3, (2, 1, 2), 1, count_include_pad=False),
    "average_ceil": lambda x: F.avg_pool3d(x, 2, (2, 3, 2), (1, 0, 0), ceil_mode=True),
    "average_divisor": lambda x: F.avg_pool3d(x, (1, 2, 3), 1, divisor_override=5),
    "adaptive": lambda x: F.adaptive_avg_pool3d(x, (2, 3, 2)),
    "adaptive_one": lambda x: F.adaptive_avg_pool3d(x, 1),
    "adaptive_kept": lambda x: F.adaptive_avg_pool3d(x, (None, 2, 2)),
    "transposed": lambda x: F.conv_transpose3d(x, _WEIGHT),
    "transposed_strided": lambda x: F.conv_transpose3d(
        x, _WEIGHT, _WEIGHT[0, :, 0, 0, 0], (2, 1, 3), (1, 0, 1), (1, 0, 2)
    ),
    "transposed_grouped": lambda x: F.conv_transpose3d(x, _WEIGHT, groups=2, dilation=(2, 1, 1)),
    "convolution": lambda x: torch.ops.aten.convolution(
        x, _WEIGHT, None, [1, 2, 1], [1, 0, 1], [1, 1, 1], False, [0, 0, 0], 1
    ),
}


@pytest.mark.parametrize("backend", ["portable", "xnnpack"])
@pytest.mark.parametrize("name", _VOLUMES)
def test_volumes(name: str, backend: str) -> None:
    channels = 3 if name == "convolution" else 4
    _check(_VOLUMES[name], [_steps(2, channels, 5, 6, 7)], [(0, 2, 3, 4)], backend)


@pytest.mark.parametrize("name", ["max_places", "average_ceil", "transposed_strided"])
def test_volumes_without_a_batch(name: str) -> None:
    _check(_VOLUMES[name], [_steps(4, 5, 6, 7)], [(1, 3)], "portable")


_INDEXED = {
    "as_large": ((5, 6), (5, 6), (5, 6), [(0, 1)] * 3),
    "smaller": ((5, 6), (3, 4), (4, 6), [(), (0,), ()]),
    "longer": ((4, 3), (9, 3), (9, 3), [(1,), (0, 1), (0, 1)]),
    "three_dims": ((3, 4, 5), (2, 4, 5), (2, 4, 5), [(2,), (0, 2), (0, 2)]),
    "one_dim": ((4,), (7,), (7,), [(0,), (0,), (0,)]),
    "one_number": ((), (), (), [(), (), ()]),
}


@pytest.mark.parametrize("numbers", [_real, _ints])
@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("reduce", ["sum", "prod", "mean", "amax", "amin"])
@pytest.mark.parametrize("name", _INDEXED)
def test_reductions_by_index(name: str, reduce: str, alone: bool, numbers: Any) -> None:
    shape, of_index, of_source, moving = _INDEXED[name]
    rows = shape[0] if shape else 1
    index = torch.randint(0, rows, of_index, generator=_RANDOM)

    def function(x: torch.Tensor, index: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        index = index % x.shape[0] if x.dim() else index
        return x.scatter_reduce(0, index, source, reduce, include_self=not alone)

    inputs = [numbers(*shape), index, numbers(*of_source)]
    _check(function, inputs, moving, "portable")


def test_a_reduction_along_the_last_dim() -> None:
    index = torch.randint(0, 6, (5, 3), generator=_RANDOM)
    _check(
        lambda x, i, s: x.scatter_reduce(-1, i, s, "amax"),
        [_real(5, 6), index, _real(5, 3)],
        [(0,), (0, 1), (0, 1)],
        "portable",
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("a", "b", "ends", "moving"),
    [
        ((9, 16), (4, 16, 8), [2, 2, 6, 9], ()),
        ((16, 16), (16, 24), [2, 8, 8, 16], ()),
        ((3, 8, 16), (16, 24), [8, 8, 24], (1,)),
        ((3, 8, 16), (3, 16, 8), None, (1,)),
    ],
)
def test_grouped_products(
    a: tuple[int, ...],
    b: tuple[int, ...],
    ends: list[int] | None,
    moving: tuple[int, ...],
    dtype: torch.dtype,
) -> None:
    inputs = [_real(*a).to(dtype), _real(*b).to(dtype)]
    if ends is not None:
        inputs.append(torch.tensor(ends, dtype=torch.int32))
    _check(lambda a, b, *ends: torch._grouped_mm(a, b, *ends), inputs, [moving], "portable")


def test_groups_of_other_sizes() -> None:
    """Where groups end is data."""
    weights = _real(4, 16, 8)
    model = _Module(lambda a, ends: torch._grouped_mm(a, weights, ends)).eval()
    ends = torch.tensor([2, 2, 6, 9], dtype=torch.int32)
    program = ExecutorchExporter().export(
        model, {"a": _real(9, 16), "ends": ends}, {"backend": "portable", "dynamic": True}
    )
    for others in ([0, 3, 3, 9], [9, 9, 9, 9], [1, 2, 3, 9]):
        inputs = {"a": _real(9, 16), "ends": torch.tensor(others, dtype=torch.int32)}
        torch.testing.assert_close(program(**inputs), model(**inputs))
