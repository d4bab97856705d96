"""Generative models in components: their tokens, and what decomposition leaves behind."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from transformers import GenerationConfig

import generative
import state_of
from portwright import tree
from portwright.errors import InvalidArgumentError, UnsupportedError
from portwright.exporters import DynamoConfig, DynamoExporter, OnnxExporter
from portwright.exporters.utils import (
    decompose_for_generation,
    decompose_multimodal,
    decompose_prefill_decode,
    is_multimodal,
)
from portwright.verify import CAPTURE_TOLERANCE, compare
from portwright.verify_generation import verify_generation

DYNAMIC = {"dynamic": True}
COMPONENTS = {
    "qwen3": ["prefill", "decode"],
    "gpt2": ["prefill", "decode"],
    "mixtral": ["prefill", "decode"],
    "t5": ["encoder", "prefill", "decode"],
    "bart": ["encoder", "prefill", "decode"],
    "whisper": ["encoder", "prefill", "decode"],
    "mamba": ["prefill", "decode"],
    "bamba": ["prefill", "decode"],
    "rwkv": ["prefill", "decode"],
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
