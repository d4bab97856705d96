"""Tiny models with random weights and their inputs: the six architectures of the main job.

Each case gives a model, sample inputs, and every other input that eager accepts, by the rules of
the project's proof: each axis varied alone, batch 1 with another length, padding on both sides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import (
    BertConfig,
    BertModel,
    DynamicCache,
    GPT2Config,
    GPT2LMHeadModel,
    Qwen3Config,
    Qwen3ForCausalLM,
    ViTConfig,
    ViTModel,
    WhisperConfig,
)
from transformers.models.whisper.modeling_whisper import WhisperEncoder

VOCABULARY = 99


@dataclass
class Case:
    """A model with sample inputs and variants: `make(**sizes)` builds inputs of other sizes."""

    model: torch.nn.Module
    inputs: dict[str, Any]
    variants: dict[str, dict[str, Any]]
    dynamic_axes: list[str] = field(default_factory=list)


def _ids(batch: int, length: int) -> torch.Tensor:
    return torch.randint(1, VOCABULARY, (batch, length))


def _text(batch: int, length: int) -> dict[str, Any]:
    return {
        "input_ids": _ids(batch, length),
        "attention_mask": torch.ones(batch, length, dtype=torch.int64),
    }


def _padded(batch: int, length: int) -> dict[str, Any]:
    inputs = _text(batch, length)
    inputs["attention_mask"][0, :2] = 0
    inputs["attention_mask"][1, -2:] = 0
    return inputs


def _text_variants() -> dict[str, dict[str, Any]]:
    return {
        "batch 3": _text(3, 7),
        "length 12": _text(2, 12),
        "batch 1, length 5": _text(1, 5),
        "padding left and right": _padded(2, 7),
    }


def bert() -> Case:
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=37,
        max_position_embeddings=64,
    )
    return Case(BertModel(config).eval(), _text(2, 7), _text_variants())


def qwen3_config() -> Qwen3Config:
    return Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        intermediate_size=37,
        max_position_embeddings=64,
    )


def qwen3() -> Case:
    return Case(Qwen3ForCausalLM(qwen3_config()).eval(), _text(2, 7), _text_variants())


def gpt2() -> Case:
    config = GPT2Config(
        vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=64, n_inner=37
    )
    return Case(GPT2LMHeadModel(config).eval(), _text(2, 7), _text_variants())


def _decode(model: torch.nn.Module, batch: int, past: int, padded: bool = False) -> dict[str, Any]:
    prompt = _text(batch, past)
    with torch.no_grad():
        cache = model(**prompt, use_cache=True, past_key_values=DynamicCache()).past_key_values
    mask = torch.ones(batch, past + 1, dtype=torch.int64)
    if padded:
        mask[0, :2] = 0
        mask[1, past - 2 : past] = 0
    return {"input_ids": _ids(batch, 1), "attention_mask": mask, "past_key_values": cache}


def _decode_case(case: Case) -> Case:
    model = case.model
    return Case(
        model,
        _decode(model, 2, 7),
        {
            "batch 3": _decode(model, 3, 7),
            "past 11": _decode(model, 2, 11),
            "batch 1, past 4": _decode(model, 1, 4),
            "padding left and right": _decode(model, 2, 7, padded=True),
        },
    )


def vit() -> Case:
    config = ViTConfig(
        image_size=32,
        patch_size=8,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=37,
    )

    def image(batch: int, height: int, width: int) -> dict[str, Any]:
        return {
            "pixel_values": torch.randn(batch, 3, height, width),
            "interpolate_pos_encoding": True,
        }

    return Case(
        ViTModel(config).eval(),
        image(2, 32, 40),
        {
            "batch 3": image(3, 32, 40),
            "height 48": image(2, 48, 40),
            "width 24": image(2, 32, 24),
            "batch 1, 40 x 56": image(1, 40, 56),
        },
    )


def whisper_encoder() -> Case:
    config = WhisperConfig(
        vocab_size=VOCABULARY,
        d_model=32,
        encoder_layers=2,
        encoder_attention_heads=4,
        encoder_ffn_dim=37,
        decoder_layers=1,
        decoder_attention_heads=4,
        decoder_ffn_dim=37,
        num_mel_bins=16,
        max_source_positions=20,
    )

    def features(batch: int) -> dict[str, Any]:
        return {"input_features": torch.randn(batch, 16, 40)}

    return Case(
        WhisperEncoder(config).eval(),
        features(2),
        {"batch 3": features(3), "batch 1": features(1)},
    )


CASES: dict[str, Callable[[], Case]] = {
    "bert": bert,
    "qwen3": qwen3,
    "qwen3_decode": lambda: _decode_case(qwen3()),
    "gpt2": gpt2,
    "gpt2_decode": lambda: _decode_case(gpt2()),
    "vit": vit,
    "whisper_encoder": whisper_encoder,
}


def case(name: str) -> Case:
    """The case of that name, the same weights and inputs each time."""
    torch.manual_seed(0)
    return CASES[name]()
