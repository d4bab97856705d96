"""Layers whose result types have rules of their own: right types, every size dynamic."""

from __future__ import annotations

from typing import Any

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


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("kind", ["Avg", "Max"])
@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 2},
        {"kernel_size": 3, "stride": 2, "padding": 1},
        {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True},
        {"kernel_size": 2, "stride": 5, "ceil_mode": True},
        {"kernel_size": 40, "ceil_mode": True},
        {"kernel_size": 2, "dilation": 3, "stride": 1},
    ],
)
def test_pools_of_any_size(dims: int, kind: str, options: dict[str, Any]) -> None:
    if "dilation" in options and kind == "Avg":
        options = {**options, "stride": 4}
        del options["dilation"]
    if (
        dims == 3 and options["kernel_size"] == 40
    ):  # of three dims none may be larger than the input
        options = {**options, "kernel_size": 10}
    pool = getattr(nn, f"{kind}Pool{dims}d")(**options)

    def inputs(size: int, batch: int) -> dict[str, torch.Tensor]:
        return {"input": torch.randn(batch, 3, *range(size, size + dims))}

    program = capture(pool, inputs(11, 2), dynamic=True)
    for size, batch in ((11, 2), (12, 3), (13, 1), (14, 2), (45 if dims == 3 else 95, 2)):
        given = inputs(size, batch)
        torch.testing.assert_close(program.run(given), pool(**given))


def test_tiles_and_strides_that_are_sizes() -> None:
    class Tiles(nn.Module):
        def forward(self, x: torch.Tensor, y: torch.Tensor) -> Any:
            blocks = y.shape[0]
            rows = x.reshape(-1, 4).tile(3 * blocks, 1)
            return rows, x.tile(2), rows[blocks - 1 : rows.shape[0] : blocks]

    program = capture(Tiles(), {"x": torch.randn(8), "y": torch.randn(3)}, dynamic=True)
    for size, blocks in ((8, 3), (4, 2), (40, 7)):
        given = {"x": torch.randn(size), "y": torch.randn(blocks)}
        for found, expected in zip(program.run(given), Tiles()(**given), strict=True):
            torch.testing.assert_close(found, expected)
