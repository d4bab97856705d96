"""Caches and other containers as inputs and outputs: the captured program against eager."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn
from transformers import (
    DynamicCache,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    JambaConfig,
    JambaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    QuantizedCache,
    Qwen3ForCausalLM,
    StaticCache,
    T5Config,
    T5ForConditionalGeneration,
)
from transformers.modeling_outputs import BaseModelOutput

import models
import portwright
from portwright import tree
from portwright.errors import InvalidArgumentError, UnsupportedError
from portwright.exporters import DynamoExporter, OnnxExporter
from portwright.verify import CAPTURE_TOLERANCE, RUNTIME_TOLERANCE, compare

SIZES: dict[str, Any] = {
    "vocab_size": models.VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 37,
    "max_position_embeddings": 64,
}
Make = Callable[[int, int], dict[str, Any]]  # inputs of a batch and a past length


def decode(model: Any, cache: Callable[[], Any], keyword: str = "past_key_values") -> Make:
    def make(batch: int, past: int) -> dict[str, Any]:
        ids = torch.randint(1, models.VOCABULARY, (batch, past + 1))
        prompt = {"input_ids": ids[:, :-1], keyword: cache()}
        with torch.no_grad():
            filled = model(**prompt, use_cache=True)[keyword]
        return {"input_ids": ids[:, -1:], keyword: filled}

    return make


def qwen3() -> Any:
    return Qwen3ForCausalLM(models.qwen3_config()).eval()


def mistral() -> Any:
    return MistralForCausalLM(MistralConfig(**SIZES, sliding_window=4)).eval()


def gemma3() -> Any:
    layers = ["sliding_attention", "full_attention"]
    config = Gemma3TextConfig(**SIZES, head_dim=8, sliding_window=4, layer_types=layers)
    return Gemma3ForCausalLM(config).eval()


def dynamic_cache(model: Any) -> Make:
    return decode(model, lambda: DynamicCache(config=model.config))


def static_cache(model: Any) -> Make:
    return decode(model, lambda: StaticCache(config=model.config, max_cache_len=16))


def t5() -> tuple[Any, Make]:
    config = T5Config(
        vocab_size=99,
        d_model=32,
        d_kv=8,
        d_ff=37,
        num_layers=2,
        num_heads=4,
        decoder_start_token_id=0,
    )
    model: Any = T5ForConditionalGeneration(config).eval()

    def make(batch: int, past: int) -> dict[str, Any]:
        ids = torch.randint(1, 99, (batch, past))
        with torch.no_grad():
            out = model(input_ids=ids, decoder_input_ids=ids, use_cache=True)
        return {
            "encoder_outputs": BaseModelOutput(last_hidden_state=out.encoder_last_hidden_state),
            "attention_mask": torch.ones(batch, past, dtype=torch.int64),
            "decoder_input_ids": ids[:, :1],
            "past_key_values": out.past_key_values,
        }

    return model, make


def mamba() -> tuple[Any, Make]:
    config = MambaConfig(vocab_size=99, hidden_size=32, num_hidden_layers=2, state_size=4)
    model: Any = MambaForCausalLM(config).eval()
    return model, decode(model, lambda: None, "cache_params")


def jamba() -> tuple[Any, Make]:
    config = JambaConfig(
        **{**SIZES, "intermediate_size": 40},
        num_experts=2,
        num_experts_per_tok=1,
        attn_layer_period=2,
        attn_layer_offset=1,
        expert_layer_period=4,
        mamba_d_state=4,
        use_mamba_kernels=False,
    )
    model: Any = JambaForCausalLM(config).eval()
    return model, dynamic_cache(model)


def pair(make_model: Callable[[], Any], make: Callable[[Any], Make]) -> tuple[Any, Make]:
    model = make_model()
    return model, make(model)


# Batches and pasts, of which the first is the sample; the window is of 4 tokens.
BEFORE_THE_WINDOW = [(2, 2), (3, 1), (2, 3), (2, 4), (3, 9)]
PAST_THE_WINDOW = [(2, 6), (3, 9), (1, 5), (2, 4), (3, 3), (2, 1)]
CACHES: dict[str, tuple[Callable[[], tuple[Any, Make]], list[tuple[int, int]]]] = {
    "dynamic": (lambda: pair(qwen3, dynamic_cache), [(2, 6), (3, 9), (1, 4)]),
    "static": (lambda: pair(qwen3, static_cache), [(2, 6), (3, 9), (1, 4)]),
    "sliding, window not reached": (lambda: pair(mistral, dynamic_cache), BEFORE_THE_WINDOW),
    "sliding, past the window": (lambda: pair(mistral, dynamic_cache), PAST_THE_WINDOW),
    "static sliding, window not reached": (lambda: pair(mistral, static_cache), BEFORE_THE_WINDOW),
    "static sliding, past the window": (lambda: pair(mistral, static_cache), PAST_THE_WINDOW),
    "sliding and full": (lambda: pair(gemma3, dynamic_cache), BEFORE_THE_WINDOW),
    "static sliding and full": (lambda: pair(gemma3, static_cache), PAST_THE_WINDOW),
    "encoder and decoder": (t5, [(2, 6), (3, 9)]),
    "mamba": (mamba, [(2, 6), (3, 9)]),
    "mamba and attention": (jamba, [(2, 6), (3, 9)]),
}


def counts(outputs: Any) -> dict[str, int]:
    """How many tokens sliding caches have seen."""
    leaves, spec = tree.flatten(outputs, "leaf")
    return {name: int(tensor) for name, tensor in leaves if name in spec.counts}


def check(run: Any, model: Any, inputs: dict[str, Any], name: str) -> Any:
    """Outputs and what is written to the inputs in place are eager's."""
    given, expected_inputs = copy.deepcopy(inputs), copy.deepcopy(inputs)
    given_tensors = tree.flatten(given)[0]
    expected_tensors = tree.flatten(expected_inputs)[0]
    with torch.no_grad():
        expected = model(**expected_inputs)
    actual = run(**given)
    result = compare(name, inputs, actual, expected, CAPTURE_TOLERANCE)
    assert result.differences and result.matches, result.problems
    assert type(actual) is type(expected)
    assert counts(actual) == counts(expected)
    for (leaf, tensor), (_, wanted) in zip(given_tensors, expected_tensors, strict=True):
        torch.testing.assert_close(tensor, wanted, msg=f"input {leaf} was written differently")
    return actual, expected


@pytest.mark.parametrize("name", CACHES)
def test_a_cache_as_input_and_output(name: str) -> None:
    torch.manual_seed(0)
    build, sizes = CACHES[name]
    model, make = build()
    inputs = make(*sizes[0])
    exported = DynamoExporter().export(model, copy.deepcopy(inputs), {"dynamic": True})
    assert any("past_key_values" in n or "cache_params" in n for n in exported.captured.input_names)
    for batch, past in sizes:
        check(exported.module(), model, make(batch, past), f"batch {batch}, past {past}")


def test_a_static_cache_is_written_in_place() -> None:
    model, make = pair(qwen3, static_cache)
    text = str(DynamoExporter().export(model, make(2, 6), {"dynamic": True}))
    assert 'output user_input_mutation "past_key_values.0.key"' in text


def test_an_empty_cache_as_input() -> None:
    model = qwen3()
    inputs = {"input_ids": torch.ones(2, 5, dtype=torch.int64), "past_key_values": DynamicCache()}
    run = DynamoExporter().export(model, copy.deepcopy(inputs), {"dynamic": True}).module()
    check(run, model, inputs, "sample")


@pytest.mark.parametrize("make_model", [mistral, gemma3])
def test_a_returned_cache_counts_its_tokens_and_continues(make_model: Any) -> None:
    model = make_model()
    prefill = DynamoExporter().export(
        model, {"input_ids": torch.ones(2, 5, dtype=torch.int64)}, {"dynamic": True}
    )
    for length in (3, 7):
        ids = torch.randint(1, models.VOCABULARY, (2, length))
        actual, expected = check(prefill.module(), model, {"input_ids": ids}, "prefill")
        for ours, eager in zip(
            actual.past_key_values.layers, expected.past_key_values.layers, strict=True
        ):
            assert type(ours.get_seq_length()) is int
            assert ours.get_seq_length() == eager.get_seq_length() == length
        with torch.no_grad():
            ours = model(input_ids=ids[:, :1], past_key_values=actual.past_key_values).logits
            eager = model(input_ids=ids[:, :1], past_key_values=expected.past_key_values).logits
        torch.testing.assert_close(ours, eager)


@pytest.mark.parametrize("make_model", [mistral, gemma3])
@pytest.mark.parametrize("past", [2, 6])
def test_sliding_caches_in_onnx_runtime(make_model: Any, past: int) -> None:
    model, make = pair(make_model, dynamic_cache)
    program = OnnxExporter().export(model, make(2, past), {"dynamic": True})
    for batch, length in [(2, 2), (1, 3), (2, 4), (3, 9)]:
        inputs = make(batch, length)
        with torch.no_grad():
            expected = model(**copy.deepcopy(inputs))
        actual = program(**inputs)
        result = compare("onnx", inputs, actual, expected, RUNTIME_TOLERANCE)
        assert result.differences and result.matches, result.problems
        assert counts(actual) == counts(expected)


@pytest.mark.parametrize(
    ("make_model", "make_cache", "past"),
    [(mistral, dynamic_cache, 2), (gemma3, dynamic_cache, 6), (mistral, static_cache, 2)],
)
def test_sliding_caches_in_files(
    make_model: Any, make_cache: Any, past: int, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model, make = pair(make_model, make_cache)
    path = tmp_path / "decode.pt2"
    DynamoExporter().export(model, make(2, past), {"dynamic": True}).save(path)
    for load in (portwright.load, torch.export.load):
        run = load(path).module()
        for batch, length in [(2, 2), (2, 3), (2, 4), (3, 9)]:
            check(run, model, make(batch, length), f"{load.__module__}, past {length}")


def test_an_empty_cache_does_not_take_tokens() -> None:
    model, make = pair(mistral, dynamic_cache)
    empty = {"input_ids": torch.ones(2, 5, dtype=torch.int64)}
    empty["past_key_values"] = DynamicCache(config=model.config)
    run = DynamoExporter().export(model, empty, {"dynamic": True}).module()
    with pytest.raises(InvalidArgumentError, match=r"unexpected input 'past_key_values.0.key'"):
        run(**make(2, 9))


def test_a_quantized_cache_is_refused() -> None:
    model = qwen3()
    cache = QuantizedCache("fp8", model.config)
    inputs = {"input_ids": torch.ones(2, 5, dtype=torch.int64), "past_key_values": cache}
    with pytest.raises(UnsupportedError, match=r"quantizes .* Pass a DynamicCache"):
        DynamoExporter().export(model, inputs)


@dataclass
class Point:
    x: torch.Tensor
    weight: float
    parts: tuple[torch.Tensor, dict[str, torch.Tensor]]


class Pair(NamedTuple):
    first: torch.Tensor
    second: Any


class Holder:
    """A class that nothing is known about, but that it holds a tensor."""

    def __init__(self, state: torch.Tensor) -> None:
        self.state = state
        self.label = "held"


class Structured(nn.Module):
    def forward(self, point: Point, pair: Pair, items: list[Any], holder: Holder) -> Any:
        tensor, named = point.parts
        held = Holder(holder.state * 2)
        return {
            "point": Point(point.x * point.weight, 2.0, (tensor + 1, {"a": named["a"] - 1})),
            "nested": (pair.first @ pair.second[0], [items[0]["k"], (items[1],)]),
            "pair": Pair(pair.first, held),
            "length": point.x.shape[0],
            "half": point.x.shape[0] / 2,
        }


def structured(rows: int) -> dict[str, Any]:
    x = torch.randn(rows, 4)
    return {
        "point": Point(x, 3.0, (x + 5, {"a": x * 2})),
        "pair": Pair(x, (torch.randn(4, 3), None)),
        "items": [{"k": x[0]}, torch.tensor([rows])],
        "holder": Holder(x + 7),
    }


def test_dataclasses_named_tuples_and_unknown_classes() -> None:
    model = Structured().eval()
    exported = DynamoExporter().export(model, structured(3), {"dynamic": True})
    for rows in (3, 5):
        inputs = structured(rows)
        actual, expected = exported.module()(**inputs), model(**inputs)
        assert tree.flatten(actual)[1].names == tree.flatten(expected)[1].names
        for (_, ours), (_, eager) in zip(
            tree.flatten(actual)[0], tree.flatten(expected)[0], strict=True
        ):
            torch.testing.assert_close(ours, eager, rtol=0, atol=0)
        assert type(actual["point"]) is Point and type(actual["pair"]) is Pair
        assert actual["pair"].second.label == "held"
        assert (actual["length"], actual["half"]) == (rows, rows / 2)


def test_numbers_among_the_inputs_are_part_of_the_program() -> None:
    model = Structured().eval()
    run = DynamoExporter().export(model, structured(3), {"dynamic": True}).module()
    inputs = structured(3)
    inputs["point"].weight = 4.0
    with pytest.raises(InvalidArgumentError, match=r"'point.weight' is 4.0, but was 3.0"):
        run(**inputs)
