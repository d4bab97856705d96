"""Layers whose result types have rules of their own: right types, every size dynamic."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from portwright.capture import capture


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize(
    ("layer", "options"),
    [(nn.LSTM, {}), (nn.LSTM, {"proj_size": 2}), (nn.GRU, {}), (nn.RNN, {"nonlinearity": "relu"})],
)
def test_recurrent_layers(
    layer: type[nn.RNNBase], options: dict[str, object], batch_first: bool, bidirectional: bool
) -> None:
    model = layer(3, 4, 2, batch_first=batch_first, bidirectional=bidirectional, **options).eval()
    program = capture(model, {"input": torch.randn(2, 5, 3)}, dynamic=True)
    for shape in ((2, 5, 3), (4, 7, 3)):
        x = torch.randn(shape)
        with torch.no_grad():
            expected = model(x)
        torch.testing.assert_close(program.run({"input": x}), expected)
    types = [line for line in program.program.text().splitlines() if ".input(" in line]
    assert len(types) == 1 and ("strides" in types[0]) == batch_first


@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_grid_sample(mode: str) -> None:
    class Samples(nn.Module):
        def forward(self, x: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
            return nn.functional.grid_sample(x, grid, mode=mode, align_corners=False)

    model = Samples().eval()
    inputs = {"x": torch.randn(2, 3, 6, 5), "grid": torch.rand(2, 4, 7, 2) * 2 - 1}
    program = capture(model, inputs, dynamic=True)
    other = {"x": torch.randn(3, 4, 8, 9), "grid": torch.rand(3, 5, 2, 2) * 2 - 1}
    for given in (inputs, other):
        torch.testing.assert_close(program.run(given), model(**given))


@pytest.mark.parametrize(
    "pool", [nn.AvgPool1d(2), nn.AvgPool1d(3, 2, 1), nn.MaxPool1d(2), nn.LPPool1d(2, 2)]
)
def test_what_depends_on_a_size_that_small_steps_do_not_move(pool: nn.Module) -> None:
    class Pools(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return pool(x[:, None, : x.shape[1] // 320])

    program = capture(Pools().eval(), {"x": torch.randn(2, 1600)}, dynamic=True)
    for shape in ((2, 1600), (3, 2400), (1, 6000), (2, 960)):
        x = torch.randn(shape)
        torch.testing.assert_close(program.run({"x": x}), Pools()(x))


@pytest.mark.parametrize(("kernel", "length"), [(2, 400), (64, 6400), (3, 1000)])
def test_sizes_that_move_little_near_the_sample(kernel: int, length: int) -> None:
    """The result's size moves by one or not at all there, as many an expression does."""
    pool = nn.AvgPool1d(kernel)

    class Pools(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return pool(x[:, None, : x.shape[1] // 10 - 1])

    program = capture(Pools().eval(), {"x": torch.randn(2, length)}, dynamic=True)
    for shape in ((2, length), (3, length + 10), (1, 2 * length), (5, 5 * length + 7)):
        x = torch.randn(shape)
        torch.testing.assert_close(program.run({"x": x}), Pools()(x))
