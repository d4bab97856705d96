"""Python's numbers and torch's functions of numbers, on sizes: nothing is fixed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from portwright.capture import capture


def _int_of_sizes(x: torch.Tensor) -> torch.Tensor:
    half = int(x.shape[0] / 2)
    return torch.zeros(int(x.shape[1]), half) + float(x.shape[0])


def _least_and_largest(x: torch.Tensor) -> torch.Tensor:
    return torch.zeros(min(x.shape[0], x.shape[1]), max([x.shape[0], x.shape[1], 4])) + x.sum()


def _types_are_themselves(x: torch.Tensor) -> torch.Tensor:
    assert isinstance(3, int) and not isinstance(3.0, int) and issubclass(bool, int)
    assert int("7") == 7 and int("11", base=2) == 3 and float("1.5") == 1.5
    assert int.from_bytes(b"\x01", "big") == 1 and list("ab") == ["a", "b"]
    return x + torch.ones(2, dtype=int).sum() + torch.tensor([3], dtype=int)


def _linspace(x: torch.Tensor) -> torch.Tensor:
    return torch.linspace(-1.5, x.shape[0] - 1, x.shape[1]) + torch.linspace(0, 1, 1)


def _triangles(x: torch.Tensor) -> torch.Tensor:
    rows, columns = x.shape
    return torch.cat(
        [
            torch.tril_indices(rows, columns, -1),
            torch.triu_indices(rows, columns, 1),
            torch.triu_indices(rows, 3),
        ],
        dim=1,
    )


def _along_a_dim(x: torch.Tensor) -> torch.Tensor:
    order = torch.argsort(x, dim=1, descending=True)
    first = torch.take_along_dim(x, order[:, :2], dim=1)
    row = torch.take_along_dim(x, order[:1], dim=-1)  # broadcast over rows
    return torch.cat([first, row, torch.take_along_dim(x[:1], order - x.shape[1], 1)], 1)


def _chunks_of_four(x: torch.Tensor) -> torch.Tensor:
    parts = [x[:, i : min(i + 4, x.shape[1])] * i for i in range(0, x.shape[1], 4)]
    return torch.cat(parts, dim=1)


@pytest.mark.parametrize(
    "function",
    [_int_of_sizes, _least_and_largest, _types_are_themselves, _linspace, _triangles, _along_a_dim],
)
def test_nothing_is_fixed(function: Callable[[torch.Tensor], Any]) -> None:
    check(function, [(5, 7), (6, 3), (2, 8), (9, 2)])


def test_an_unrolled_range_fixes_its_length_and_not_its_bounds() -> None:
    check(_chunks_of_four, [(2, 7), (3, 5), (2, 8), (4, 6)])


def check(function: Callable[[torch.Tensor], Any], shapes: list[tuple[int, int]]) -> None:
    class Wrapped(nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            return function(x)

    program = capture(Wrapped(), {"x": torch.randn(shapes[0])}, dynamic=True, loops=False)
    for shape in shapes:
        x = torch.randn(shape)
        torch.testing.assert_close(program.run({"x": x}), function(x), rtol=1e-6, atol=1e-6)


def test_the_rest_of_a_size_by_a_fraction() -> None:
    class Rests(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            whole = x.shape[0] % 0.5 == 0  # of every size: nothing to check when it runs
            return x * (x.shape[0] % 1.5) if whole else x

    program = capture(Rests(), {"x": torch.randn(4)}, dynamic=True)
    assert program.program.guards() == []
    for size in (4, 5, 6, 1):
        x = torch.randn(size)
        torch.testing.assert_close(program.run({"x": x}), Rests()(x))
