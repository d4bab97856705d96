"""What XNNPACK's delegate computes in float16, against eager in float32 and in float16."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from portwright.errors import InvalidArgumentError
from portwright.exporters import ExecutorchConfig, exporter_executorch
from portwright.exporters.executorch_program import ExecutorchProgram
from test_xnnpack import (
    ATTENTION_DIMS,
    ATTENTION_SIZES,
    MASK_DIMS,
    SIZES,
    Applied,
    Attention,
    attention_inputs,
    bool_mask,
    dims_of,
    exported,
    float_mask,
    inputs_of,
    kernels_of,
)
from xnnpack_cases import CASES, Case

pytest.importorskip("executorch", reason="executorch, whose runtime runs .pte files, is absent")

HALF = 2**-11  # of the last place of numbers near 1: what one rounding can take


def cast(inputs: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    return {name: x.to(dtype) if x.is_floating_point() else x for name, x in inputs.items()}


def error_of(found: Tensor, exact: Tensor) -> float:
    """The largest one, in parts of the largest element."""
    return ((found.float() - exact).abs().max() / exact.abs().max().clamp(min=1e-6)).item()


def check(program: ExecutorchProgram, model: nn.Module, inputs: dict[str, Tensor]) -> None:
    """Not further from the exact result than eager's float16 and two roundings."""
    inputs = cast(inputs, torch.float16)
    found = program(**inputs)
    assert found.dtype == torch.float16
    with torch.no_grad():
        eager = model(**inputs)
        exact = copy.deepcopy(model).float()(**cast(inputs, torch.float32))
    assert error_of(found, exact) <= error_of(eager, exact) + 2 * HALF


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_operators(case: Case) -> None:
    model = Applied(case.function, copy.deepcopy(case.module))
    inputs = inputs_of(case, SIZES[0])
    program = exported(model, inputs, dtype="float16", dynamic_shapes=dims_of(case))
    assert (program.call_counts["delegate"], kernels_of(program)) == (1, {})
    for sizes in SIZES:
        check(program, model, inputs_of(case, sizes))


def least_mask(batch: int, queries: int, keys: int) -> Tensor:
    """The least number where a key is hidden; each query sees the last one."""
    hidden = ~bool_mask(batch, queries, keys)
    hidden[..., -1] = False
    return torch.zeros(hidden.shape).masked_fill(hidden, torch.finfo(torch.float16).min)


@pytest.mark.parametrize("heads", [2, 6])
@pytest.mark.parametrize("mask", [None, bool_mask, float_mask, least_mask])
def test_attention(heads: int, mask: Any) -> None:
    model = Attention(enable_gqa=heads > 2)

    def inputs(batch: int, queries: int, keys: int) -> dict[str, Tensor]:
        found = attention_inputs(batch, heads, queries, keys)
        return found if mask is None else {**found, "mask": mask(batch, queries, keys)}

    dims = ATTENTION_DIMS if mask is None else {**ATTENTION_DIMS, "mask": MASK_DIMS}
    program = exported(model, inputs(*ATTENTION_SIZES[0]), dtype=torch.float16, dynamic_shapes=dims)
    assert "aten::bmm.out" not in program.call_counts
    for sizes in ATTENTION_SIZES:
        check(program, model, inputs(*sizes))


class Doubled(nn.Module):
    """Masks that are finite one by one and infinite in sum, in float16."""

    def forward(self, q: Tensor, mask: Tensor) -> Tensor:
        least = torch.zeros_like(mask, dtype=q.dtype)
        least = least.masked_fill(mask, torch.finfo(torch.float16).min)
        return nn.functional.scaled_dot_product_attention(q, q, q, least + least)


def test_masks_whose_sum_is_infinite() -> None:
    q = attention_inputs(2, 2, 5, 5)["q"].half()
    mask = torch.zeros(2, 1, 5, 5, dtype=torch.bool)
    mask[:, :, 0] = mask[:, :, :, 2] = True
    program = exported(Doubled(), {"q": q, "mask": mask}, dtype="float16")
    with torch.no_grad():
        expected = Doubled()(q, mask)
    torch.testing.assert_close(program(q=q, mask=mask), expected, atol=2e-3, rtol=2e-3)


class Small(nn.Module):
    """Numbers that float16 rounds to zero or to infinity."""

    def forward(self, x: Tensor) -> Tensor:
        y = torch.softmax(x / 1e-9, -1) * 2
        return torch.softmax(y * 1e5, -1) + y


def test_numbers_that_float16_does_not_hold() -> None:
    x = torch.zeros(2, 4)
    program = exported(Small(), {"x": x}, dtype="float16")
    kernels = kernels_of(program)
    assert {"aten::div.out", "aten::mul.out"} <= {name.replace("Scalar_", "") for name in kernels}
    torch.testing.assert_close(program(x=x.half()), Small()(x.half()))


def test_a_language_model_of_half_the_size() -> None:
    import transformers

    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
    config = transformers.Qwen3Config(**sizes, **heads, vocab_size=300)
    model = transformers.Qwen3ForCausalLM(config).eval()
    ids = torch.randint(1, 300, (2, 7))
    wide = exported(model, {"input_ids": ids}, dynamic=True)
    program = exported(model, {"input_ids": ids}, dynamic=True, dtype="float16")
    assert len(program.buffer) < 0.6 * len(wide.buffer)
    assert program.call_counts["delegate"] == wide.call_counts["delegate"]
    for shape in ((2, 7), (1, 1), (3, 12)):
        ids = torch.randint(1, 300, shape)
        with torch.no_grad():
            eager = model(input_ids=ids).logits
            exact = copy.deepcopy(model).float()(input_ids=ids).logits
        found = program(input_ids=ids)["logits"]
        assert error_of(found, exact) <= error_of(eager, exact) + 2 * HALF


def test_dtypes_of_the_config() -> None:
    assert ExecutorchConfig(dtype=torch.float16).to_dict()["dtype"] == "float16"
    with pytest.raises(InvalidArgumentError, match="float32, float16, bfloat16"):
        ExecutorchConfig(dtype="int8")


def test_a_preparation_without_a_dtype(monkeypatch: pytest.MonkeyPatch) -> None:
    def prepare_for_own(model: Any, inputs: Any) -> Any:
        return model, inputs, [exporter_executorch.NativePartitioner(None)]

    monkeypatch.setitem(exporter_executorch._BACKEND_PREPARE, "own", prepare_for_own)
    with pytest.raises(InvalidArgumentError, match="prepare_for_own"):
        exported(nn.Linear(2, 2), {"input": torch.ones(1, 2)}, backend="own", dtype="float16")


def test_portable_kernels_in_float16() -> None:
    model, x = nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.LayerNorm(8)).eval(), torch.randn(3, 8)
    program = exported(model, {"input": x}, backend="portable", dtype="float16")
    torch.testing.assert_close(program(input=x.half()), model(x.half()), atol=2e-3, rtol=2e-3)


def test_a_program_keeps_its_weights_when_the_model_is_cast() -> None:
    model, x = nn.Linear(4, 3), torch.randn(2, 4)
    with torch.no_grad():
        expected = model(x)
    programs = [exported(model, {"input": x}, backend=name) for name in ("xnnpack", "portable")]
    captured = programs[0].captured
    model.half()
    for program in programs:
        torch.testing.assert_close(program(input=x), expected)
    torch.testing.assert_close(captured.run({"input": x}), expected)
