"""Fusions of an ONNX graph: that they are found, and that the graph says what the model does."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers

import generative
import models
from portwright import errors
from portwright.exporters import OnnxConfig, OnnxExporter, ONNXProgram
from portwright.verify import RUNTIME_TOLERANCE, verify
from portwright.verify_generation import verify_generation

RUNTIMES = [None, "cpu", "cuda", "webgpu", "dml"]
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": models.VOCABULARY,
}
Inputs = dict[str, Any]


def _decoder(kind: str, **more: Any) -> torch.nn.Module:
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, **{**SIZES, "pad_token_id": 0, **more})
    return transformers.AutoModelForCausalLM.from_config(config).eval()


def _text(padded: bool) -> Inputs:
    ids = torch.randint(1, models.VOCABULARY, (2, 7))
    mask = torch.ones_like(ids)
    if padded:
        mask[0, :2] = 0
    return {"input_ids": ids, "attention_mask": mask}


def _grown(model: torch.nn.Module) -> Inputs:
    """One token behind five, in a cache that grows."""
    cache = transformers.DynamicCache(config=model.config)
    return _behind(model, cache)


def _fixed(model: torch.nn.Module) -> Inputs:
    """The same in a cache of twelve places."""
    cache = transformers.StaticCache(config=model.config, max_cache_len=12)
    return _behind(model, cache)


def _behind(model: torch.nn.Module, cache: Any) -> Inputs:
    for layer in range(2):
        cache.update(*torch.randn(2, 2, 2, 5, model.config.head_dim), layer)
    return {"input_ids": torch.randint(1, models.VOCABULARY, (2, 1)), "past_key_values": cache}


def _export(model: torch.nn.Module, inputs: Inputs, runtime: str | None) -> ONNXProgram:
    config = OnnxConfig(dynamic=True, ort_fusions=runtime)
    return OnnxExporter().export(model, inputs, config)


def _is_right(program: ONNXProgram, model: torch.nn.Module, inputs: Inputs) -> None:
    found = verify(program.captured, model, inputs, program)
    assert len(found) > 2
    problems = {item.name: item.problems for item in found if item.problems}
    assert not problems


def _count(program: ONNXProgram, kind: str) -> int:
    return dict(program._model.op_counts()).get(kind, 0)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("padded", [False, True])
def test_prompts(runtime: str | None, padded: bool) -> None:
    model, inputs = _decoder("qwen3", head_dim=8), _text(padded)
    program = _export(model, inputs, runtime)
    assert _count(program, "RotaryEmbedding") == 4
    assert _count(program, "Attention") + _count(program, "MultiHeadAttention") == 2
    assert _count(program, "Softmax") == _count(program, "Pow") == 0
    _is_right(program, model, inputs)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("make", [_grown, _fixed])
def test_steps(runtime: str | None, make: Callable[[torch.nn.Module], Inputs]) -> None:
    model = _decoder("qwen3", head_dim=8)
    inputs = make(model)
    program = _export(model, inputs, runtime)
    # CUDA's kernel is for halves, and the standard has no attention over a buffer of fixed size
    fused = runtime in ("cpu", "webgpu", "dml")
    assert _count(program, "GroupQueryAttention") == (2 if fused else 0)
    _is_right(program, model, inputs)


def test_heads_that_the_kernel_refuses_are_left() -> None:
    model = _decoder("qwen3", head_dim=12)
    inputs = _grown(model)
    program = _export(model, inputs, "cpu")
    assert _count(program, "GroupQueryAttention") == 0
    assert _count(program, "Attention") == 2
    _is_right(program, model, inputs)


def test_several_tokens_behind_a_past_are_for_one_sequence() -> None:
    model = _decoder("qwen3", head_dim=8)
    inputs = _grown(model)
    program = _export(model, inputs, "cpu")
    two = {**inputs, "input_ids": torch.ones(2, 2, dtype=torch.int64)}
    with pytest.raises(errors.GuardViolatedError):
        program(**two)
    (extra,) = [
        item["condition"]
        for item in json.loads(dict(program.model.metadata_props)["portwright.export"])[
            "conditions"
        ]
        if "or" in item["condition"]
    ]
    assert "s0 <= 1" in extra


def test_the_fixed_cache_is_one_output() -> None:
    model = _decoder("qwen3", head_dim=8)
    program = _export(model, _fixed(model), "cpu")
    assert "past_key_values.0.key_mutated" not in program.output_names
    assert "present.0.key" in program.output_names
    assert any("same number of tokens" in note for note in program.notes)


ARCHITECTURES = {
    "llama": ({}, {"RotaryEmbedding": 4, "Attention": 2, "RMSNormalization": 5}),
    "gemma": ({"head_dim": 8}, {"RotaryEmbedding": 4, "Attention": 2, "RMSNormalization": 5}),
    "gpt_neox": ({"rotary_pct": 0.5}, {"RotaryEmbedding": 4, "Attention": 2}),
    "phi": ({"partial_rotary_factor": 0.5}, {"RotaryEmbedding": 4, "Attention": 2}),
    "mistral": ({"sliding_window": 4}, {"RotaryEmbedding": 4, "Attention": 2}),
    "gpt2": ({"n_embd": 32, "n_layer": 2, "n_head": 4}, {"Attention": 2, "Gelu": 2}),
}


@pytest.mark.parametrize("runtime", [None, "cpu"])
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_architectures(kind: str, runtime: str | None) -> None:
    more, expected = ARCHITECTURES[kind]
    model, inputs = _decoder(kind, **more), _text(padded=True)
    program = _export(model, inputs, runtime)
    assert {name: _count(program, name) for name in expected} == expected
    _is_right(program, model, inputs)


def test_one_mask_for_queries_of_two_lengths() -> None:
    class Model(torch.nn.Module):
        def forward(self, x: torch.Tensor, y: torch.Tensor, mask: torch.Tensor) -> Any:
            attention = torch.nn.functional.scaled_dot_product_attention
            seen = mask[:, None, None, :]
            return attention(x, x, x, attn_mask=seen), attention(y, x, x, attn_mask=seen)

    x, y = torch.randn(2, 3, 6, 8), torch.randn(2, 3, 4, 8)
    mask = torch.ones(2, 6, dtype=torch.bool)
    mask[0, :2] = False
    inputs = {"x": x, "y": y, "mask": mask}
    program = OnnxExporter().export(Model().eval(), inputs)
    assert _count(program, "Attention") == 2
    for found, expected in zip(program(**inputs), Model()(**inputs), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_rows_of_the_least_number_and_of_infinity() -> None:
    class Model(torch.nn.Module):
        def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.scaled_dot_product_attention(x, x, x, attn_mask=mask)

    least = torch.finfo(torch.float32).min
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., 0, :] = least  # their mean
    mask[..., 1, :] = torch.tensor([least, least, -torch.inf, -torch.inf])  # of the first two
    mask[..., 2, :3] = torch.tensor([least, 0.5, -torch.inf])
    inputs = {"x": torch.randn(2, 3, 4, 8), "mask": mask}
    program = OnnxExporter().export(Model().eval(), inputs)
    assert _count(program, "Attention") == 1
    torch.testing.assert_close(program(**inputs), Model()(**inputs), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["llama", "mistral"])
def test_attention_that_is_written_out(kind: str) -> None:
    model, inputs = _decoder(kind), _text(padded=True)
    model.set_attn_implementation("eager")
    program = _export(model, inputs, None)
    assert _count(program, "Attention") == 2
    _is_right(program, model, inputs)


def test_weights_of_attention_that_are_a_result_are_not_computed_twice() -> None:
    model, inputs = _decoder("llama"), _text(padded=False)
    model.set_attn_implementation("eager")
    program = _export(model, {**inputs, "output_attentions": True}, None)
    assert _count(program, "Attention") == 0
    assert _count(program, "Softmax") == 2
    _is_right(program, model, {**inputs, "output_attentions": True})


def test_older_opsets_have_the_norms_written_out() -> None:
    model, inputs = _decoder("llama"), _text(padded=True)
    program = OnnxExporter().export(model, inputs, OnnxConfig(dynamic=True, opset_version=18))
    assert _count(program, "Attention") == _count(program, "RMSNormalization") == 0
    _is_right(program, model, inputs)


def test_tokens_of_a_fused_model() -> None:
    model, inputs = generative.case("qwen3")
    config = OnnxConfig(dynamic=True, ort_fusions="cpu")
    result = verify_generation(OnnxExporter(), model, inputs, config, tolerance=RUNTIME_TOLERANCE)
    assert result.problem == ""


def test_one_graph_for_prompt_and_steps() -> None:
    model = _decoder("qwen3", head_dim=8)
    inputs = {"input_ids": torch.randint(1, models.VOCABULARY, (2, 5))}
    programs = OnnxExporter().export_for_generation(
        model, inputs, OnnxConfig(dynamic=True, ort_fusions="cpu"), merge_decode=True
    )
    assert list(programs) == ["decode"]
    assert _count(programs["decode"], "GroupQueryAttention") == 2
    result = verify_generation(
        OnnxExporter(),
        model,
        inputs,
        OnnxConfig(dynamic=True, ort_fusions="cpu"),
        merge_decode=True,
        tolerance=RUNTIME_TOLERANCE,
    )
    assert result.problem == ""


def test_logits_of_the_last_token() -> None:
    model, inputs = _decoder("llama"), _text(padded=False)
    config = OnnxConfig(dynamic=True, last_token_logits=True)
    program = OnnxExporter().export(model, copy.deepcopy(inputs), config)
    with torch.no_grad():
        expected = model(**inputs).logits[:, -1:]
    found = program(**inputs, logits_to_keep=1).logits
    assert found.shape == (2, 1, models.VOCABULARY)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)
    case = models.case("bert")
    with pytest.raises(errors.InvalidArgumentError, match="logits_to_keep"):
        OnnxExporter().export(case.model, case.inputs, config)


@pytest.mark.parametrize("provider", ["cuda", "webgpu", "dml"])
def test_other_providers_are_labelled(provider: str) -> None:
    program = _export(_decoder("llama"), _text(padded=False), provider)
    (note,) = [note for note in program.notes if "not executed" in note]
    assert provider in note
    assert "checked against the schemas" in note


def test_wrong_options_are_refused() -> None:
    with pytest.raises(errors.InvalidArgumentError, match="ort_fusions"):
        OnnxConfig(ort_fusions="tpu")
    with pytest.raises(errors.InvalidArgumentError, match="optimize"):
        OnnxConfig(ort_fusions="cpu", optimize=False)
