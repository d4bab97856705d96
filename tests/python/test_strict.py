"""strict=True: torch.export's strict trace, taken into the same kind of program."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

import models
from portwright import DynamoConfig, DynamoExporter, OnnxConfig, OnnxExporter, errors
from portwright.verify import CAPTURE_TOLERANCE, compare


@pytest.mark.parametrize("name", ["bert", "qwen3"])
def test_a_strict_program_equals_eager_at_every_shape(name: str, tmp_path: Path) -> None:
    case = models.case(name)
    case.model.config.use_cache = False  # Dynamo cannot return a cache
    config = DynamoConfig(dynamic=True, strict=True)
    program = DynamoExporter().export(case.model, case.inputs, config)
    assert program.captured.input_names == list(case.inputs)
    program.save(tmp_path / "model.pt2")
    loaded = torch.export.load(tmp_path / "model.pt2").module()
    for run in (program.module(), loaded):
        for label, inputs in {"sample": case.inputs, **case.variants}.items():
            with torch.no_grad():
                expected = case.model(**copy.deepcopy(inputs))
            outputs = run(**copy.deepcopy(inputs))
            result = compare(label, inputs, outputs, expected, CAPTURE_TOLERANCE)
            assert result.differences
            assert result.matches, result.problems


class Writes(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        self.calls.add_(1)
        y = x.clone()
        y[0].add_(1)  # through a view: torch makes it functional
        return y * scale + self.calls


def writes(batch: int) -> dict[str, Any]:
    return {"x": torch.randn(batch, 2), "scale": torch.randn(2)}


def test_explicit_dims_and_writes() -> None:
    model = Writes().train()
    shapes = {"x": {0: torch.export.Dim("batch", min=2, max=8)}}
    config = DynamoConfig(strict=True, dynamic_shapes=shapes)
    with pytest.warns(UserWarning, match="eval mode"):
        program = DynamoExporter().export(copy.deepcopy(model), writes(3), config)
    assert model.training
    inputs = writes(5)
    torch.testing.assert_close(program.module()(**inputs), model(**inputs))
    with pytest.raises(errors.GuardViolatedError):
        program.module()(**writes(9))


class Fixed(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.ones(3, 2)


def test_a_broken_promise_is_a_guard_error() -> None:
    shapes = {"x": {0: torch.export.Dim("batch", min=2, max=8)}}
    config = DynamoConfig(strict=True, dynamic_shapes=shapes)
    with pytest.raises(errors.GuardViolatedError, match="batch"):
        DynamoExporter().export(Fixed(), {"x": torch.randn(3, 2)}, config)


class Decides(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2 if x.sum() > 0 else x


def test_what_dynamo_cannot_trace_names_strict() -> None:
    with pytest.raises(errors.UnsupportedError, match="strict=False"):
        DynamoExporter().export(Decides(), {"x": torch.ones(3)}, DynamoConfig(strict=True))


def test_a_cache_among_the_outputs_names_strict() -> None:
    case = models.case("qwen3")
    with pytest.raises(errors.UnsupportedError, match="strict=False"):
        DynamoExporter().export(case.model, case.inputs, DynamoConfig(strict=True))


def test_onnx_takes_a_strict_program() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU()).eval()
    config = OnnxConfig(dynamic=True, strict=True)
    program = OnnxExporter().export(model, {"input": torch.randn(3, 4)}, config)
    x = torch.randn(5, 4)
    torch.testing.assert_close(program(input=x), model(x), rtol=1e-4, atol=1e-5)
