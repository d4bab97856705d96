"""Lowerings of systems, inverses and transforms, pools with places, histograms and bags."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from portwright.exporters import OnnxExporter
from test_onnx_lowering import Case, check


def _random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def _definite(a: Tensor) -> Tensor:
    return a @ a.mT + 0.5 * torch.eye(a.shape[-1])


MATRICES: dict[str, Callable[..., Any]] = {
    "inverse": lambda a: torch.linalg.inv(a),
    "inverse_of_one": lambda a: torch.linalg.inv(a[0]),
    "determinant": lambda a: torch.linalg.det(a),
    "determinant_of_singular": lambda a: torch.linalg.det(torch.cat([a[:, :1], a[:, :-1]], 1)),
    "sign_and_log": lambda a: torch.linalg.slogdet(a),
    "logdet": lambda a: torch.logdet(_definite(a)),
    "solve": lambda a: torch.linalg.solve(a, a[..., :2]),
    "solve_vector": lambda a: torch.linalg.solve(a[0], a[0, 0]),
    "solve_batch_of_vectors": lambda a: torch.linalg.solve(a, a[..., 0]),
    "solve_from_right": lambda a: torch.linalg.solve(a, a[:, :2], left=False),
    "solve_spread": lambda a: torch.linalg.solve(a[0], a),
    "cholesky": lambda a: torch.linalg.cholesky(_definite(a)),
    "cholesky_upper": lambda a: torch.linalg.cholesky(_definite(a), upper=True),
    "lower_triangle": lambda a: torch.linalg.solve_triangular(
        a.tril() + 3 * torch.eye(a.shape[-1]), a, upper=False
    ),
    "upper_triangle": lambda a: torch.linalg.solve_triangular(
        a + 3 * torch.eye(a.shape[-1]), a[..., :2], upper=True
    ),
    "unit_triangle": lambda a: torch.linalg.solve_triangular(
        a / 4, a, upper=False, unitriangular=True
    ),
    "triangle_from_right": lambda a: torch.linalg.solve_triangular(
        a + 3 * torch.eye(a.shape[-1]), a[:, :2], upper=True, left=False
    ),
}
SIGNALS: dict[str, Callable[..., Any]] = {
    "irfft": lambda x: torch.fft.irfft(torch.fft.rfft(x)),
    "irfft_odd": lambda x: torch.fft.irfft(torch.fft.rfft(x), n=x.shape[-1]),
    "irfft_ortho": lambda x: torch.fft.irfft(torch.fft.rfft(x), norm="ortho"),
    "irfft_cut": lambda x: torch.fft.irfft(torch.fft.rfft(x), n=6),
    "irfft2": lambda x: torch.fft.irfft2(torch.fft.rfft2(x)),
    "irfft_of_a_first_dim": lambda x: torch.fft.irfft(torch.fft.rfft(x, dim=1), dim=1),
    "hfft": lambda x: torch.fft.hfft(torch.fft.rfft(x)),
    "filtered": lambda x: torch.fft.irfft(
        torch.fft.rfft(x) * torch.fft.rfft(x.flip(-1)), norm="forward"
    ),
}
IMAGES: dict[str, Callable[..., Any]] = {
    "max_pool2d": lambda x: F.max_pool2d(x, 2, return_indices=True),
    "max_pool2d_padded": lambda x: F.max_pool2d(x, 3, 2, 1, return_indices=True),
    "max_pool2d_dilated": lambda x: F.max_pool2d(x, 2, 1, 0, 2, return_indices=True),
    "max_pool2d_unbatched": lambda x: F.max_pool2d(x[0], 2, return_indices=True),
    "max_unpool": lambda x: F.max_pool2d(x, 2, return_indices=True)[1] // x.shape[-1],
    "adaptive": lambda x: F.adaptive_max_pool2d(x, (3, 2), return_indices=True),
    "adaptive_larger": lambda x: F.adaptive_max_pool2d(x, (9, 3)),
    "adaptive_one": lambda x: F.adaptive_max_pool2d(x, 1, return_indices=True),
    "adaptive_1d": lambda x: F.adaptive_max_pool1d(x[0], 3, return_indices=True),
    "adaptive_3d": lambda x: F.adaptive_max_pool3d(x, (2, 3, 2)),
}
COUNTS: dict[str, Callable[..., Any]] = {
    "histc": lambda x: torch.histc(x, 5),
    "histc_of_equal": lambda x: torch.histc(x * 0 + 2.0, 4),
    "bincount": lambda x: torch.bincount((x[0] * 2).abs().long(), x[1], 3),
    "bincount_of_ints": lambda x: torch.bincount((x[0] * 2).abs().long(), torch.arange(x.shape[1])),
}
_TABLE = _random(7, 5)
_BAGS: dict[str, dict[str, Any]] = {
    f"{mode}_{name}": {"mode": mode, **options}
    for mode in ("sum", "mean", "max")
    for name, options in {
        "plain": {},
        "padded": {"padding_idx": 2},
        "last": {"include_last_offset": True},
    }.items()
}
BAGS: dict[str, Callable[..., Any]] = {
    name: lambda i, o, options=options: F.embedding_bag(i, _TABLE, o, **options)
    for name, options in _BAGS.items()
}


@pytest.mark.parametrize("opset", [18, 28])
@pytest.mark.parametrize("name", MATRICES)
def test_matrices(name: str, opset: int) -> None:
    # Other sizes repeat rows, and the logarithm of a singular matrix is that of rounding.
    fixed = (1, 2) if "log" in name else ()
    check(Case(name, MATRICES[name], [_random(3, 4, 4)], {0: fixed}), opset)


@pytest.mark.parametrize("name", ["inverse", "solve", "cholesky", "determinant"])
def test_matrices_of_other_sizes(name: str) -> None:
    """Stacks of stacks, float64, and sizes that vary."""
    check(Case(name, MATRICES[name], [_random(2, 3, 5, 5).double()], {0: (2, 3)}), 23)
    square = Case(name, lambda a, n: MATRICES[name](a[:, : n.shape[0], : n.shape[0]]), [])
    square.inputs = [_random(2, 9, 9), torch.zeros(3)]
    square.fixed = {0: (1, 2)}
    check(square, 23)


def test_larger_matrices_keep_their_precision() -> None:
    a, b = _random(40, 40), _random(40, 3)

    class Solve(torch.nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> Any:
            return torch.linalg.solve(a, b), torch.linalg.inv(a)

    program = OnnxExporter().export(Solve().eval(), {"a": a, "b": b}, {"dynamic": True})
    solution, inverse = program(a=a, b=b)
    exact = torch.linalg.solve(a.double(), b.double())
    assert (solution - exact).abs().max() < 1e-4 * exact.abs().max()
    assert (inverse @ a - torch.eye(40)).abs().max() < 1e-3


@pytest.mark.parametrize("opset", [18, 28])
@pytest.mark.parametrize("name", SIGNALS)
def test_inverse_transforms(name: str, opset: int) -> None:
    check(Case(name, SIGNALS[name], [_random(2, 6, 10)]), opset)


@pytest.mark.parametrize("opset", [18, 28])
@pytest.mark.parametrize("name", IMAGES)
def test_pools(name: str, opset: int) -> None:
    check(Case(name, IMAGES[name], [_random(2, 3, 8, 6)]), opset)


@pytest.mark.parametrize("opset", [18, 28])
@pytest.mark.parametrize("name", COUNTS)
def test_counts(name: str, opset: int) -> None:
    check(Case(name, COUNTS[name], [_random(3, 6)]), opset)


@pytest.mark.parametrize("opset", [18, 28])
@pytest.mark.parametrize("name", BAGS)
def test_bags(name: str, opset: int) -> None:
    """One bag is empty, one has nothing but padding."""
    indices = torch.tensor([0, 1, 2, 2, 2, 3, 6, 2])
    offsets = torch.tensor([0, 3, 3, 5, 8] if "last" in name else [0, 3, 3, 5])
    check(Case(name, BAGS[name], [indices, offsets], {0: (0,), 1: (0,)}), opset)
