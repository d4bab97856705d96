"""Bools that data or sizes decide, computed with as numbers: `x * (x > 0).any().item()`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from portwright.exporters import DynamoExporter, ExecutorchExporter, OnnxExporter

_ROWS = [1.0, -2.0, 5.0, 4.0]


def _any(x: torch.Tensor) -> Any:
    return (x > 0).any().item()


class _Model(torch.nn.Module):
    def __init__(self, function: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.function = function
        self.register_buffer("number", torch.tensor(3.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(self, x)


_CASES: dict[str, Callable[..., torch.Tensor]] = {
    "times": lambda _, x: x * _any(x) + 1,
    "plus": lambda _, x: _any(x) + x,
    "integers": lambda _, x: x.long() * _any(x),
    "and": lambda _, x: (x > 0) & (x > 1).any().item(),
    "buffer": lambda model, x: model.number * _any(x) + x,
    "filled": lambda _, x: torch.full((2,), _any(x), dtype=torch.float32) + x[:2],
    "masked": lambda _, x: x.masked_fill(x < 0, _any(x)),
    "chosen": lambda _, x: torch.where(x > 0, _any(x), False),
    "size": lambda _, x: x * (x.shape[0] > 3) + 1,
    "size_and_buffer": lambda model, x: model.number * (x.shape[0] > 3) + x,
}


def _by_pt2(model: torch.nn.Module, x: torch.Tensor, path: Path) -> Callable[..., Any]:
    DynamoExporter().export(model, {"x": x}, {"dynamic": True}).save(path / "model.pt2")
    module: Callable[..., Any] = torch.export.load(path / "model.pt2").module()
    return module


def _by_onnx(model: torch.nn.Module, x: torch.Tensor, _: Path) -> Callable[..., Any]:
    return OnnxExporter().export(model, {"x": x}, {"dynamic": True})


def _by_executorch(model: torch.nn.Module, x: torch.Tensor, _: Path) -> Callable[..., Any]:
    pytest.importorskip("executorch", reason="executorch, whose runtime runs it, is absent")
    program: Callable[..., Any] = ExecutorchExporter().export(model, {"x": x}, {"dynamic": True})
    return program


def _by_interpreter(model: torch.nn.Module, x: torch.Tensor, _: Path) -> Callable[..., Any]:
    return DynamoExporter().export(model, {"x": x}, {"dynamic": True}).module()


@pytest.mark.parametrize("export", [_by_interpreter, _by_pt2, _by_onnx, _by_executorch])
@pytest.mark.parametrize("name", _CASES)
def test_follow_data_and_sizes(name: str, export: Any, tmp_path: Path) -> None:
    model = _Model(_CASES[name]).eval()
    sample = torch.tensor(_ROWS)
    program = export(model, sample, tmp_path)
    for x in (sample, -sample, -sample.abs(), sample[:3], -sample[:2].abs()):
        result = program(x=x)
        actual = result[0] if isinstance(result, (list, tuple)) else result
        torch.testing.assert_close(actual, model(x))
