"""Every operator of the ONNX lowering's tests on ExecuTorch's runtime, against eager: by the
runtime's own kernels, and with XNNPACK's delegate."""

from __future__ import annotations

import pytest
import torch

from portwright.exporters import ExecutorchExporter
from portwright.verify import verify
from test_onnx_lowering import CASES, _Module

pytest.importorskip("executorch", reason="executorch, whose runtime runs .pte files, is absent")


def _export(name: str, backend: str) -> tuple[object, torch.nn.Module, dict[str, torch.Tensor]]:
    case = CASES[name]
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
    sizes = [size for tensor in case.inputs for size in tensor.shape]
    bound = 2 * max(sizes, default=1) + 3  # of what `verify` tries
    config = {"dynamic_shapes": shapes, "backend": backend, "upper_bounds": bound}
    return ExecutorchExporter().export(model, inputs, config), model, inputs


@pytest.mark.parametrize("backend", ["portable", "xnnpack"])
@pytest.mark.parametrize("name", sorted(CASES))
def test_equals_eager_in_executorch(name: str, backend: str) -> None:
    program, model, inputs = _export(name, backend)
    results = verify(program.captured, model, inputs, program)  # type: ignore[attr-defined, arg-type]
    assert results
    for result in results:
        assert not result.problems, (result.name, result.problems)
        assert not result.refused, (result.name, result.refused)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x[x > 0],
        lambda x: torch.masked_select(x, x[:, :1] > 0),
        lambda x: (x > 0).nonzero(),
        lambda x: torch.where(x > 0)[1],
        lambda x: torch.arange((x > 0).sum().item()) + 1,
        lambda x: x[x[:, 0] > 0, 1:],
        lambda x: (x * 2).round().unique_consecutive(return_inverse=True, return_counts=True),
        lambda x: x.repeat_interleave((x[:, 0] * 2).abs().long(), dim=0),
    ],
)
def test_sizes_from_data(function: object) -> None:
    """Other data gives other sizes; the artifact follows."""
    model = _Module(function).eval()  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(1)
    sample = torch.randn(4, 6, generator=generator)
    program = ExecutorchExporter().export(model, {"x": sample}, {"dynamic": True})
    for rows in (4, 5, 8):
        x = torch.randn(rows, 6, generator=generator)
        actual, expected = program(x=x), model(x=x)
        if isinstance(expected, torch.Tensor):
            actual, expected = [actual], [expected]
        for ours, eager in zip(actual, expected, strict=True):
            torch.testing.assert_close(ours, eager)
