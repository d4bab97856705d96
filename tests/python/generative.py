"""Tiny generative models with random weights, one of each kind, and what generate() takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import transformers
from transformers import AutoConfig

import models

VOCABULARY = models.VOCABULARY
IMAGE_TOKEN, AUDIO_TOKEN, START_TOKEN, END_TOKEN = 95, 96, 97, 98

TEXT: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
VISION: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 16,
    "patch_size": 8,
}
Made = tuple[Any, dict[str, Any]]


def _model(class_name: str, model_type: str, **config: Any) -> Any:
    torch.manual_seed(0)
    cls = getattr(transformers, class_name)
    return cls(AutoConfig.for_model(model_type, **config)).eval()


def text(length: int = 7) -> dict[str, torch.Tensor]:
    """Two texts, the first with padding on the left."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(3, 90, (2, length), generator=generator)
    mask = torch.ones(2, length, dtype=torch.int64)
    ids[0, :2], mask[0, :2] = 0, 0
    return {"input_ids": ids, "attention_mask": mask}


def _with_places(token: int, count: int) -> dict[str, torch.Tensor]:
    """Texts with `count` places for what an encoder gives."""
    inputs = text(5 + count)
    inputs["input_ids"][:, 2 : 2 + count] = token
    return inputs


def _text_model(class_name: str, model_type: str, **config: Any) -> Callable[[], Made]:
    return lambda: (_model(class_name, model_type, **TEXT | config), text())


def _t5() -> Made:
    config = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
    config |= {"vocab_size": VOCABULARY, "decoder_start_token_id": 0}
    return _model("T5ForConditionalGeneration", "t5", **config), text()


def _bart() -> Made:
    config = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "vocab_size": VOCABULARY}
    config |= {f"{part}_attention_heads": 4 for part in ("encoder", "decoder")}
    config |= {f"{part}_ffn_dim": 48 for part in ("encoder", "decoder")}
    config |= {"max_position_embeddings": 64, "decoder_start_token_id": 2, "init_std": 0.5}
    return _model("BartForConditionalGeneration", "bart", **config), text()


def _whisper() -> Made:
    config = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "vocab_size": VOCABULARY}
    config |= {f"{part}_attention_heads": 4 for part in ("encoder", "decoder")}
    config |= {f"{part}_ffn_dim": 48 for part in ("encoder", "decoder")}
    config |= {"num_mel_bins": 16, "max_source_positions": 20, "init_std": 0.5}
    config |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 3}
    model = _model("WhisperForConditionalGeneration", "whisper", **config)
    return model, {"input_features": torch.randn(2, 16, 40)}


def _mamba() -> Made:
    config = {"vocab_size": VOCABULARY, "hidden_size": 32, "state_size": 8, "num_hidden_layers": 2}
    return _model("MambaForCausalLM", "mamba", **config, time_step_rank=4), text()


def _bamba() -> Made:
    config = TEXT | {"attn_layer_indices": [1], "mamba_n_heads": 4, "mamba_d_head": 16}
    config |= {"mamba_d_state": 8, "mamba_n_groups": 1, "mamba_chunk_size": 8}
    return _model("BambaForCausalLM", "bamba", **config), text()


def _rwkv() -> Made:
    config = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2}
    config |= {"attention_hidden_size": 32, "intermediate_size": 48, "context_length": 64}
    return _model("RwkvForCausalLM", "rwkv", **config), {"input_ids": text()["input_ids"]}


def _recurrent_gemma() -> Made:
    config = TEXT | {"num_hidden_layers": 3, "lru_width": 32, "attention_window_size": 10}
    return _model("RecurrentGemmaForCausalLM", "recurrent_gemma", **config), text()


def _parakeet() -> Made:
    """A transducer, whose generate() goes on with the cache that it has passed."""
    config = {"vocab_size": VOCABULARY, "decoder_hidden_size": 32, "blank_token_id": 98}
    encoder = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    encoder |= {"intermediate_size": 48, "num_mel_bins": 16, "subsampling_conv_channels": 8}
    model = _model("ParakeetForRNNT", "parakeet_rnnt", **config, encoder_config=encoder)
    model.generation_config.decoder_start_token_id = 98
    return model, {
        "input_features": torch.randn(2, 64, 16),
        "attention_mask": torch.ones(2, 64, dtype=torch.int64),
    }


def _llava() -> Made:
    model = _model(
        "LlavaForConditionalGeneration",
        "llava",
        text_config=TEXT | {"model_type": "llama"},
        vision_config=VISION | {"model_type": "clip_vision_model", "projection_dim": 32},
        image_token_id=IMAGE_TOKEN,
    )
    return model, _with_places(IMAGE_TOKEN, 4) | {"pixel_values": torch.randn(2, 3, 16, 16)}


def _qwen2_vl() -> Made:
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]}
    model = _model(
        "Qwen2VLForConditionalGeneration",
        "qwen2_vl",
        text_config=TEXT | {"rope_parameters": rope},
        vision_config={"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 4}
        | {"mlp_ratio": 2, "patch_size": 4, "in_channels": 3},
        image_token_id=IMAGE_TOKEN,
        vision_start_token_id=START_TOKEN,
        vision_end_token_id=END_TOKEN,
    )
    inputs = _with_places(IMAGE_TOKEN, 4)
    inputs["input_ids"][:, 1] = START_TOKEN
    inputs["input_ids"][:, 6] = END_TOKEN
    inputs["mm_token_type_ids"] = (inputs["input_ids"] == IMAGE_TOKEN).int()
    return model, inputs | {
        "pixel_values": torch.randn(2 * 16, 3 * 2 * 4 * 4),
        "image_grid_thw": torch.tensor([[1, 4, 4], [1, 4, 4]]),
    }


def _qwen2_audio() -> Made:
    model = _model(
        "Qwen2AudioForConditionalGeneration",
        "qwen2_audio",
        text_config=TEXT | {"model_type": "qwen2"},
        audio_config={"model_type": "qwen2_audio_encoder", "d_model": 32, "encoder_layers": 2}
        | {"encoder_attention_heads": 4, "encoder_ffn_dim": 48, "num_mel_bins": 16}
        | {"max_source_positions": 20},
        audio_token_index=AUDIO_TOKEN,
    )
    return model, _with_places(AUDIO_TOKEN, 10) | {
        "input_features": torch.randn(2, 16, 40),
        "feature_attention_mask": torch.ones(2, 40, dtype=torch.int64),
    }


def _blip2() -> Made:
    qformer = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2}
    qformer |= {"num_attention_heads": 4, "intermediate_size": 48, "encoder_hidden_size": 32}
    words = {"model_type": "opt", "ffn_dim": 48, "word_embed_proj_dim": 32}
    model = _model(
        "Blip2ForConditionalGeneration",
        "blip-2",
        vision_config=VISION,
        qformer_config=qformer,
        text_config=TEXT | words,
        num_query_tokens=4,
        image_token_index=IMAGE_TOKEN,
    )
    return model, _with_places(IMAGE_TOKEN, 4) | {"pixel_values": torch.randn(2, 3, 16, 16)}


CASES: dict[str, Callable[[], Made]] = {
    "qwen3": _text_model("Qwen3ForCausalLM", "qwen3"),
    "gpt2": lambda: (models.gpt2().model, text()),
    "mistral": _text_model("MistralForCausalLM", "mistral", sliding_window=10),
    "mixtral": _text_model("MixtralForCausalLM", "mixtral", num_local_experts=4),
    "t5": _t5,
    "bart": _bart,
    "whisper": _whisper,
    "mamba": _mamba,
    "bamba": _bamba,
    "rwkv": _rwkv,
    "recurrent_gemma": _recurrent_gemma,
    "parakeet": _parakeet,
    "llava": _llava,
    "qwen2_vl": _qwen2_vl,
    "qwen2_audio": _qwen2_audio,
    "blip2": _blip2,
}


def case(name: str) -> Made:
    """The model and generate's arguments, the same each time."""
    torch.manual_seed(0)
    return CASES[name]()
