"""Generative models in components: their tokens, and what decomposition leaves behind."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from transformers import DynamicCache, GenerationConfig, masking_utils

import generative
import models
import state_of
from portwright import tree
from portwright.errors import InvalidArgumentError, UnsupportedError
from portwright.exporters import DynamoConfig, DynamoExporter, OnnxExporter, kept_state
from portwright.exporters.utils import (
    decompose_for_generation,
    decompose_multimodal,
    decompose_prefill_decode,
    is_multimodal,
)
from portwright.verify import CAPTURE_TOLERANCE, RUNTIME_TOLERANCE, compare
from portwright.verify_generation import verify_generation

DYNAMIC = {"dynamic": True}
FLAGS = ("use_cache", "return_dict")
RECURRENT = "rg_lru.recurrent_states"
COMPONENTS = {
    "qwen3": ["prefill", "decode"],
    "gpt2": ["prefill", "decode"],
    "mistral": ["prefill", "decode"],
    "mixtral": ["prefill", "decode"],
    "t5": ["encoder", "prefill", "decode"],
    "bart": ["encoder", "prefill", "decode"],
    "whisper": ["encoder", "prefill", "decode"],
    "mamba": ["prefill", "decode"],
    "bamba": ["prefill", "decode"],
    "rwkv": ["prefill", "decode"],
    "recurrent_gemma": ["prefill", "decode"],
    "parakeet": ["encoder", "prefill", "decode"],
    "llava": ["image_encoder", "multi_modal_projector", "language_model", "lm_head", "decode"],
    "qwen2_vl": ["image_encoder", "language_model", "lm_head", "decode"],
    "qwen2_audio": [
        "audio_encoder",
        "multi_modal_projector",
        "language_model",
        "lm_head",
        "decode",
    ],
    "blip2": ["image_encoder", "prefill", "decode"],
}


@pytest.mark.parametrize("name", generative.CASES)
def test_tokens_equal_eager(name: str) -> None:
    model, inputs = generative.case(name)
    result = verify_generation(DynamoExporter(), model, inputs, DYNAMIC)
    assert result.problem == ""
    assert result.components == COMPONENTS[name]


@pytest.mark.parametrize("exporter", [DynamoExporter, OnnxExporter])
@pytest.mark.parametrize("length", [3, 8, 12])
def test_a_window_that_fills(exporter: Any, length: int) -> None:
    """Captured with room for many tokens, at the last one, and past it; 12 tokens follow."""
    model, _ = generative.case("mistral")
    result = verify_generation(
        exporter(), model, generative.text(length), DYNAMIC, tolerance=RUNTIME_TOLERANCE
    )
    assert result.problem == ""


@pytest.mark.parametrize("length", [3, 12])
def test_a_window_of_fixed_size_that_fills(length: int) -> None:
    model, _ = generative.case("mistral")
    config = copy.deepcopy(model.generation_config)
    config.cache_implementation, config.max_cache_len = "static", 32
    given = generative.text(length)
    result = verify_generation(DynamoExporter(), model, given, DYNAMIC, generation_config=config)
    assert result.problem == ""


@pytest.mark.parametrize("option", ["multi_token_decode", "merge_decode"])
@pytest.mark.parametrize("exporter", [DynamoExporter, OnnxExporter])
@pytest.mark.parametrize("name", ["qwen3", "mistral"])
def test_decodes_of_several_tokens(name: str, exporter: Any, option: str) -> None:
    given: dict[str, Any] = {option: True}
    model, inputs = generative.case(name)
    result = verify_generation(
        exporter(), model, inputs, DYNAMIC, tolerance=RUNTIME_TOLERANCE, **given
    )
    assert result.problem == ""
    assert result.components == ["prefill", "decode"][option == "merge_decode" :]


@pytest.mark.parametrize("option", ["multi_token_decode", "merge_decode"])
def test_decodes_of_several_tokens_with_windows_of_fixed_size(option: str) -> None:
    model, inputs = generative.case("mistral")
    config = copy.deepcopy(model.generation_config)
    config.cache_implementation, config.max_cache_len = "static", 32
    options: dict[str, Any] = {option: True, "generation_config": config}
    result = verify_generation(DynamoExporter(), model, inputs, DYNAMIC, **options)
    assert result.problem == ""


def test_state_that_modules_keep_is_an_input_and_an_output() -> None:
    model, inputs = generative.case("recurrent_gemma")
    before = state_of.of_run(model, inputs)
    module, given = decompose_for_generation(model, inputs)["decode"]
    assert state_of.difference(before, state_of.of_run(model, inputs)) == []
    kept = [f"model.layers.{layer}.temporal_block" for layer in (0, 1)]
    names = {f"{block}.{name}" for block in kept for name in ("conv1d_state", RECURRENT)}
    assert set(given["kept_state"]) == names
    program = DynamoExporter().export(module, given, DYNAMIC)
    assert {f"kept_state.{name}" for name in names} <= set(program.captured.output_names)
    with torch.no_grad():
        expected = module(**copy.deepcopy(given))
    other = copy.deepcopy(given)
    for tensor in other["kept_state"].values():
        tensor += 1
    run = program.module()
    plain = {key: value for key, value in given.items() if key not in FLAGS}
    torch.testing.assert_close(run(**copy.deepcopy(plain))["logits"], expected["logits"])
    plain["kept_state"] = other["kept_state"]
    changed = run(**plain)["logits"]
    assert not torch.allclose(changed, expected["logits"])
    with pytest.raises(UnsupportedError, match="conv1d_state"):
        decompose_prefill_decode(model, inputs, multi_token_decode=True)


class Counter(torch.nn.Module):
    """Keeps a tensor that it writes to, one that it sets anew in a list, and one that is not
    read."""

    def __init__(self) -> None:
        super().__init__()
        self.total = torch.zeros(2)
        self.last: list[torch.Tensor] = []
        self.unread: Any = None

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        self.total += x
        previous = self.last[0] if self.last else torch.zeros(2)
        self.last = [x]
        self.unread = x + 1
        return {"y": self.total * 2 + previous}


def test_kept_state_is_found_by_what_is_read_and_written() -> None:
    model, x = Counter(), torch.tensor([1.0, 2.0])
    with kept_state.observed(model) as calls:
        model(x)
    assert calls[0].written == {"total", "last", "unread"} and calls[0].read == {}
    with kept_state.observed(model, calls[0].written) as calls:
        model(x)
    assert calls[0].read.keys() == {"total", "last"}
    torch.testing.assert_close(calls[0].read["total"], x)  # as it was when it was read
    module = kept_state.WithKeptState(model, ["total", "last"], [])
    result = module(x=x, kept_state={"total": torch.ones(2), "last": [torch.ones(2)]})
    torch.testing.assert_close(result["y"], 2 * (x + 1) + 1)
    torch.testing.assert_close(result["kept_state"], {"total": x + 1, "last": [x]})


def test_empty_caches_stay_empty_when_a_capture_starts_again() -> None:
    model, _ = generative.case("qwen3")
    cache = DynamicCache(config=model.config)
    leaves, spec = tree.flatten({"cache": cache})
    copied = spec.unflatten([tensor for _, tensor in leaves])["cache"]
    copied.update(torch.ones(1, 2, 3, 8), torch.ones(1, 2, 3, 8), 0)
    assert copied.layers[0].keys is not None and cache.layers[0].keys is None


@pytest.mark.parametrize("name", ["llava", "qwen2_vl", "qwen2_audio"])
def test_parts_of_multimodal_models_equal_eager(name: str) -> None:
    model, inputs = generative.case(name)
    for part, (module, given) in decompose_for_generation(model, inputs).items():
        program = DynamoExporter().export(module, given, DYNAMIC).module()
        with torch.no_grad():
            expected = module(**copy.deepcopy(given))
        plain = {k: v for k, v in given.items() if k not in ("use_cache", "return_dict")}
        result = compare(part, plain, program(**plain), expected, CAPTURE_TOLERANCE)
        assert result.problems == [] and result.differences, part


def test_exports_leave_empty_caches_empty() -> None:
    model, inputs = generative.case("qwen3")
    module, given = decompose_prefill_decode(model, inputs)["prefill"]
    DynamoExporter().export(module, given, DYNAMIC)
    assert given["past_key_values"].get_seq_length() == 0
    assert tree.flatten(given["past_key_values"])[0] == []


@pytest.mark.parametrize("name", ["qwen3", "t5", "bamba", "llava"])
def test_static_caches(name: str) -> None:
    model, inputs = generative.case(name)
    config = copy.deepcopy(model.generation_config)
    config.cache_implementation, config.max_cache_len = "static", 32
    result = verify_generation(DynamoExporter(), model, inputs, DYNAMIC, generation_config=config)
    assert result.problem == ""


@pytest.mark.parametrize("name", ["qwen3", "t5", "mamba"])
def test_tokens_in_onnx_runtime(name: str) -> None:
    model, inputs = generative.case(name)
    result = verify_generation(OnnxExporter(), model, inputs, DYNAMIC, tolerance=RUNTIME_TOLERANCE)
    assert result.problem == ""


@pytest.mark.parametrize("name", ["qwen3", "t5", "mamba", "llava", "blip2"])
def test_model_and_inputs_are_left_as_they_were(name: str) -> None:
    model, inputs = generative.case(name)
    model.train()
    before, given = state_of.of_run(model, inputs), copy.deepcopy(inputs)
    settings = model.generation_config.to_dict()
    decompose_for_generation(model, inputs)
    assert state_of.difference(before, state_of.of_run(model, inputs)) == []
    with pytest.raises(RuntimeError, match="generate"):
        decompose_for_generation(model, {**inputs, "no_such_argument": torch.ones(2)})
    assert state_of.difference(before, state_of.of_run(model, inputs)) == []
    assert model.generation_config.to_dict() == settings
    assert all(torch.equal(inputs[key], value) for key, value in given.items())


def test_recorded_caches_are_of_their_step() -> None:
    model, inputs = generative.case("qwen3")
    stages = decompose_prefill_decode(model, inputs)
    assert list(stages) == ["prefill", "decode"]
    prefill, decode = (given for _, given in stages.values())
    assert prefill["past_key_values"].get_seq_length() == 0
    past = decode["past_key_values"].get_seq_length()
    assert decode["attention_mask"].shape == (2, past + decode["input_ids"].shape[1])
    for module, given in stages.values():
        assert "logits_to_keep" not in given
        with torch.no_grad():
            assert module(**given).logits.shape[:2] == given["input_ids"].shape


def test_multimodal_models_are_known() -> None:
    assert is_multimodal(generative.case("llava")[0])
    assert is_multimodal(generative.case("qwen2_audio")[0])
    for name in ("qwen3", "t5", "whisper"):
        assert not is_multimodal(generative.case(name)[0])
    assert not is_multimodal(torch.nn.Linear(2, 2))


def test_decompose_multimodal_runs_forward_once() -> None:
    model, inputs = generative.case("llava")
    parts = decompose_multimodal(model, inputs)
    assert list(parts) == COMPONENTS["llava"][:-1]
    assert parts["language_model"][0] is model.get_decoder()
    assert "inputs_embeds" in parts["language_model"][1]
    with pytest.raises(ValueError, match="no multimodal parts"):
        decompose_multimodal(*generative.case("qwen3"))
    with pytest.raises(RuntimeError, match="forward failed"):
        decompose_multimodal(model, {"pixel_values": inputs["pixel_values"]})


def test_models_that_cannot_be_decomposed_say_why() -> None:
    bert = models.bert()
    with pytest.raises(InvalidArgumentError, match="cannot generate"):
        decompose_prefill_decode(bert.model, bert.inputs)
    model, inputs = generative.case("rwkv")
    with pytest.raises(UnsupportedError, match="several tokens"):
        decompose_prefill_decode(model, inputs, multi_token_decode=True)
    model, inputs = generative.case("t5")
    with pytest.raises(UnsupportedError, match="empty past"):
        decompose_for_generation(model, inputs, merge_decode=True)


def test_export_for_generation() -> None:
    model, inputs = generative.case("llava")
    exporter = DynamoExporter()
    exported = exporter.export_for_generation(model, inputs, config=DynamoConfig(dynamic=True))
    assert list(exported) == COMPONENTS["llava"]
    assert all(isinstance(item, torch.export.ExportedProgram) for item in exported.values())
    static = DynamoConfig()
    configs = dict.fromkeys(COMPONENTS["llava"], DYNAMIC) | {"lm_head": static}
    exported = exporter.export_for_generation(model, inputs, configs)
    symbols = {name: item.program.symbols() for name, item in exported.items()}
    assert not symbols["lm_head"] and symbols["decode"]
    del configs["decode"]
    with pytest.raises(InvalidArgumentError, match="decode"):
        exporter.export_for_generation(model, inputs, configs)


def test_export_for_generation_to_files(tmp_path: Any) -> None:
    model, inputs = generative.case("qwen3")
    exporter = OnnxExporter()
    with pytest.raises(InvalidArgumentError, match="output_path"):
        exporter.export_for_generation(model, inputs, {"output_path": tmp_path / "model.onnx"})
    paths = {name: tmp_path / f"{name}.onnx" for name in COMPONENTS["qwen3"]}
    exporter.export_for_generation(
        model,
        inputs,
        {name: {"dynamic": True, "output_path": path} for name, path in paths.items()},
    )
    assert all(path.exists() for path in paths.values())


def test_failures_name_the_component() -> None:
    model, inputs = generative.case("qwen3")
    config = {"prefill": DYNAMIC, "decode": {"dynamic_shapes": {"nothing": {}}}}
    with pytest.raises(InvalidArgumentError) as failure:
        DynamoExporter().export_for_generation(model, inputs, config)
    assert any("decode" in note for note in failure.value.__notes__)


def test_generation_config_is_passed_and_kept() -> None:
    model, inputs = generative.case("qwen3")
    config = GenerationConfig(cache_implementation="static", max_cache_len=24, max_new_tokens=5)
    decode = decompose_for_generation(model, inputs, config)["decode"][1]
    assert decode["past_key_values"].layers[0].keys.shape[-2] == 24
    assert config.max_new_tokens == 5


class Lengthens(torch.nn.Module):
    """Ids of blocks and a mask for a cache that holds 4 tokens and has dropped `count`."""

    def forward(self, ids: torch.Tensor, count: torch.Tensor) -> dict[str, torch.Tensor]:
        dropped = count.item()
        padded = masking_utils.maybe_pad_block_sequence_ids(ids, None, 4, dropped)
        return {"ids": padded, "mask": masking_utils.prepare_padding_mask(ids > 0, 4, dropped)}


@pytest.mark.parametrize("sample", [(7, 1), (5, 3)])
def test_masks_are_lengthened_whether_tokens_were_dropped_or_not(sample: tuple[int, int]) -> None:
    def inputs(length: int, dropped: int) -> dict[str, torch.Tensor]:
        return {"ids": torch.ones(2, length, dtype=torch.int64), "count": torch.tensor(dropped)}

    program = DynamoExporter().export(Lengthens(), inputs(*sample), DYNAMIC)
    assert program.program.guards() == []
    for length, dropped in [(7, 1), (5, 3), (5, 1), (4, 0), (3, 0)]:
        given = inputs(length, dropped)
        torch.testing.assert_close(program.module()(**given), Lengthens()(**given))
