"""dtypes keep their types, experts and attention implementations are captured or refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import MixtralConfig, MixtralForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM

from portwright.capture import capture
from portwright.errors import UnsupportedError
from portwright.exporters import DynamoExporter
from portwright.verify import CAPTURE_TOLERANCE, compare

TINY = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}


def tiny_moe(kind: str) -> nn.Module:
    torch.manual_seed(0)
    if kind == "mixtral":
        return MixtralForCausalLM(MixtralConfig(**TINY, num_local_experts=4)).eval()
    config = Qwen3MoeConfig(
        **TINY, head_dim=8, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16
    )
    return Qwen3MoeForCausalLM(config).eval()


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("experts", ["eager", "batched_mm", "grouped_mm"])
@pytest.mark.parametrize("kind", ["mixtral", "qwen3_moe"])
def test_experts_and_attention_equal_eager(kind: str, experts: str, attention: str) -> None:
    model = tiny_moe(kind)
    model.set_experts_implementation(experts)
    model.set_attn_implementation(attention)
    run = DynamoExporter().export(model, ids(2, 7), {"dynamic": True}).module()
    for rows, length in ((2, 7), (3, 7), (2, 11), (1, 5)):
        given = ids(rows, length)
        with torch.no_grad():
            expected = model(**given)
        result = compare("run", given, run(**given), expected, CAPTURE_TOLERANCE)
        assert result.differences and not result.problems, (rows, length, result.problems)


def ids(rows: int, length: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(rows * 100 + length)
    return {"input_ids": torch.randint(0, 64, (rows, length), generator=generator)}


@pytest.mark.parametrize("name", ["flash_attention_2", "flex_attention"])
def test_attention_that_cannot_be_captured_is_refused_with_the_fix(name: str) -> None:
    model = tiny_moe("mixtral")
    model.config._attn_implementation_internal = name
    with pytest.raises(UnsupportedError, match=rf"{name}.*set_attn_implementation\(\"sdpa\"\)"):
        DynamoExporter().export(model, ids(2, 7), {"dynamic": True})


class Mixes(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (
            x * 2,
            x + torch.ones((), dtype=torch.float32),
            x.mean(-1) if x.is_floating_point() or x.is_complex() else x.sum(-1),
            x.cumsum(0),
            (x != 0).to(x.dtype),
            x @ x.transpose(0, 1),
        )


@pytest.mark.parametrize(
    "dtype",
    [
        torch.bfloat16,
        torch.float16,
        torch.float64,
        torch.complex64,
        torch.complex128,
        torch.int8,
        torch.uint8,
        torch.int16,
        torch.int32,
    ],
)
def test_types_of_results_are_those_of_eager(dtype: torch.dtype) -> None:
    model = Mixes().eval()
    program = capture(model, {"x": (torch.arange(12).reshape(3, 4) % 5).to(dtype)}, dynamic=True)
    for shape in ((3, 4), (5, 2)):
        x = (torch.arange(shape[0] * shape[1]).reshape(shape) % 5).to(dtype)
        for mine, eager in zip(program.run({"x": x}), model(x), strict=True):
            assert mine.dtype == eager.dtype
            assert torch.equal(mine, eager)
