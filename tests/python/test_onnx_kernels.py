"""What ONNX Runtime's CPU provider cannot run is said before the file is written."""

from __future__ import annotations

import pytest
import torch

import models
from portwright.exporters import OnnxConfig, OnnxExporter, ONNXProgram


class Layers(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv1d(3, 4, 3)
        self.linear = torch.nn.Linear(4, 4)
        self.norm = torch.nn.LayerNorm(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.gelu(self.norm(self.linear(self.conv(x).transpose(1, 2))))


def _export(dtype: torch.dtype, **config: bool) -> tuple[ONNXProgram, torch.Tensor]:
    x = torch.randn(1, 3, 8, dtype=dtype)
    return OnnxExporter().export(Layers().eval().to(dtype), {"x": x}, OnnxConfig(**config)), x


def _missing(program: ONNXProgram) -> list[str]:
    return [note for note in program.notes if "has no kernel" in note]


def test_a_double_convolution_is_said_and_cannot_run() -> None:
    program, x = _export(torch.float64)
    note, gelu = _missing(program)
    assert "Conv of double" in note
    assert "Erf of double" in gelu  # of the function that Gelu is
    assert "test_onnx_kernels.py:" in note
    with pytest.raises(Exception, match="Could not find an implementation for Conv"):
        program(x=x)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_halves_run(dtype: torch.dtype) -> None:
    program, x = _export(dtype)
    assert _missing(program) == []
    assert program(x=x).dtype == dtype


def test_bfloat16_as_it_is_cannot_run() -> None:
    program, x = _export(torch.bfloat16, bfloat16_in_float32=False)
    assert any("MatMul of bfloat16" in note for note in _missing(program))
    with pytest.raises(Exception, match="Could not find an implementation"):
        program(x=x)


@pytest.mark.parametrize("name", ["bert", "gpt2", "qwen3", "vit", "whisper_encoder"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_what_is_not_said_runs(name: str, dtype: torch.dtype) -> None:
    case = models.case(name)
    inputs = {
        key: value.to(dtype) if torch.is_tensor(value) and value.is_floating_point() else value
        for key, value in case.inputs.items()
    }
    program = OnnxExporter().export(case.model.to(dtype), inputs)
    if _missing(program) == []:
        program(**inputs)
    else:
        with pytest.raises(Exception, match="Could not find an implementation"):
            program(**inputs)
