"""Tiny models of the architectures that transformers.exporters' own tests skip, with inputs.

`build(name)` gives a model of random weights, sample inputs, and inputs of other sizes. No weights
are downloaded; sizes are the smallest at which each model still takes its special path.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from transformers import AutoConfig

VOCABULARY = 200

TEXT: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
SMALL_VISION: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
}
SAM2_VISION: dict[str, Any] = {
    "backbone_config": {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 8,
        "image_size": [128, 128],
        "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 1, 2, 2],
        "window_size_per_stage": [8, 4, 4, 2],
        "global_attention_blocks": [3],
    },
    "backbone_channel_list": [64, 32, 16, 8],
    "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
    "fpn_hidden_size": 32,
}
BLT_PART: dict[str, Any] = {
    "vocab_size": 260,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 8,
}
BLT_LOCAL = {**BLT_PART, "hidden_size_global": 32}

Inputs = dict[str, Any]
Named = dict[str, Inputs]


def _ids(batch: int, length: int) -> torch.Tensor:
    return torch.randint(3, VOCABULARY, (batch, length))


def _text(batch: int, length: int) -> Inputs:
    return {
        "input_ids": _ids(batch, length),
        "attention_mask": torch.ones(batch, length, dtype=torch.int64),
    }


def _ids_only(batch: int, length: int) -> Inputs:
    return {"input_ids": _ids(batch, length)}


def _image(batch: int, height: int, width: int | None = None) -> Inputs:
    return {"pixel_values": torch.randn(batch, 3, height, width or height)}


def _image_and_noise(batch: int, height: int) -> Inputs:
    return {**_image(batch, height), "noise": torch.rand(batch, (height // 16) ** 2)}


def _speech(batch: int, length: int) -> Inputs:
    return {
        "input_features": torch.randn(batch, 8 * length, 16),
        "attention_mask": torch.ones(batch, 8 * length, dtype=torch.int64),
        "decoder_input_ids": _ids(batch, length),
    }


def _masked_video(batch: int, masked: int) -> Inputs:
    places = torch.zeros(batch, 32, dtype=torch.bool)
    for row in places:
        row[torch.randperm(32)[:masked]] = True
    return {"pixel_values": torch.randn(batch, 4, 3, 32, 32), "bool_masked_pos": places}


def _image_text(images: int, length: int) -> Inputs:
    """One prompt with `images` images to edit, each of 4 x 4 patches, and an unfinished one."""
    marked = [torch.tensor([148, *[149] * 16, 150])] * images
    ids = torch.cat([*marked, torch.randint(3, 140, (length,)), torch.tensor([148])])[None]
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "pixel_values": torch.randn(images * 16, 3 * 8 * 8),
        "image_grid_thw": torch.tensor([[1, 4, 4]] * (images + 1)),
    }


@dataclass(frozen=True)
class Skip:
    """One of the peer's skips: how the tiny model and its inputs are made."""

    model_type: str
    config: dict[str, Any]
    inputs: Callable[..., Inputs]
    sample: tuple[int, ...] = (2, 9)
    others: tuple[tuple[int, ...], ...] = ((3, 9), (2, 14), (1, 6))


SKIPS: dict[str, Skip] = {
    "Sam2Model": Skip(
        "sam2",
        {
            "vision_config": {"model_type": "sam2_vision_model", **SAM2_VISION},
            "prompt_encoder_config": {"hidden_size": 32, "image_size": 128, "patch_size": 16},
            "mask_decoder_config": {"hidden_size": 32, "mlp_dim": 48, "num_attention_heads": 4},
        },
        _image,
        (2, 128),
        ((3, 128), (1, 128)),
    ),
    "Sam2VisionModel": Skip(
        "sam2_vision_model", SAM2_VISION, _image, (2, 128), ((3, 128), (2, 160, 192))
    ),
    "HieraForPreTraining": Skip(
        "hiera",
        {
            "embed_dim": 8,
            "image_size": [128, 128],
            "patch_stride": [4, 4],
            "depths": [1, 1, 1],
            "num_heads": [1, 2, 2],
            "num_query_pool": 2,
            "masked_unit_size": [4, 4],
            "masked_unit_attention": [True, True, False],
            "decoder_hidden_size": 16,
            "decoder_depth": 1,
            "decoder_num_heads": 2,
        },
        _image_and_noise,
        (2, 128),
        ((3, 128), (1, 128)),
    ),
    "SeamlessM4TForSpeechToText": Skip(
        "seamless_m4t",
        {
            **TEXT,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 48,
            "decoder_ffn_dim": 48,
            "speech_encoder_layers": 1,
            "speech_encoder_attention_heads": 4,
            "speech_encoder_intermediate_size": 48,
            "feature_projection_input_dim": 16,
            "max_source_positions": 256,
            "decoder_start_token_id": 2,
        },
        _speech,
        (2, 4),
        ((3, 4), (2, 7), (1, 5)),
    ),
    "VideoMAEForPreTraining": Skip(
        "videomae",
        {
            **SMALL_VISION,
            "num_frames": 4,
            "decoder_num_attention_heads": 4,
            "decoder_hidden_size": 16,
            "decoder_num_hidden_layers": 1,
            "decoder_intermediate_size": 24,
        },
        _masked_video,
        (2, 24),
        ((3, 24), (2, 12), (1, 24)),
    ),
    "OpenAIPrivacyFilterModel": Skip(
        "openai_privacy_filter",
        {**TEXT, "head_dim": 8, "num_local_experts": 4, "num_experts_per_tok": 2},
        _text,
    ),
    "GlmImageModel": Skip(
        "glm_image",
        {
            "text_config": {
                **TEXT,
                "vision_vocab_size": VOCABULARY,
                "rope_parameters": {
                    "rope_type": "default",
                    "rope_theta": 10000.0,
                    "mrope_section": [1, 1, 2],
                },
            },
            "vision_config": {
                "depth": 1,
                "hidden_size": 32,
                "num_heads": 4,
                "intermediate_size": 48,
                "image_size": 32,
                "patch_size": 8,
            },
            "vq_config": {"embed_dim": 16, "num_embeddings": 32, "latent_channels": 32},
            "image_token_id": 149,
            "image_start_token_id": 148,
            "image_end_token_id": 150,
        },
        _image_text,
        (1, 5),
        ((1, 9),),
    ),
    "RecurrentGemmaForCausalLM": Skip(
        "recurrent_gemma",
        {**TEXT, "lru_width": 32, "head_dim": 8, "block_types": ["recurrent", "attention"]},
        _text,
    ),
    "ReformerModelWithLMHead": Skip(
        "reformer",
        {
            "vocab_size": VOCABULARY,
            "is_decoder": True,
            "use_cache": False,
            "hidden_size": 32,
            "feed_forward_size": 48,
            "attention_head_size": 8,
            "num_attention_heads": 2,
            "attn_layers": ["local", "lsh"],
            "axial_pos_shape": (8, 8),
            "axial_pos_embds_dim": (8, 24),
            "local_attn_chunk_length": 4,
            "lsh_attn_chunk_length": 4,
            "num_buckets": 4,
            "hash_seed": 0,
        },
        _ids_only,
        (2, 8),
        ((3, 8), (2, 16), (1, 12)),
    ),
    "xLSTMForCausalLM": Skip(
        "xlstm",
        {
            "vocab_size": VOCABULARY,
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "num_heads": 4,
            "qk_dim_factor": 1.0,
        },
        _ids_only,
    ),
    "MiniMaxForCausalLM": Skip(
        "minimax",
        {
            **TEXT,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "layer_types": ["full_attention", "linear_attention"],
        },
        _text,
    ),
    "RwkvForCausalLM": Skip(
        "rwkv",
        {
            "vocab_size": VOCABULARY,
            "hidden_size": 32,
            "attention_hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
        },
        _ids_only,
        (2, 6),
        ((3, 6), (2, 9), (1, 4)),
    ),
    "DeepseekV4ForCausalLM": Skip(
        "deepseek_v4",
        {
            **TEXT,
            "moe_intermediate_size": 16,
            "num_key_value_heads": 1,
            "head_dim": 8,
            "q_lora_rank": 16,
            "o_lora_rank": 16,
            "o_groups": 2,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "index_n_heads": 2,
            "index_head_dim": 8,
            "index_topk": 4,
            "sliding_window": 16,
            "layer_types": ["heavily_compressed_attention", "compressed_sparse_attention"],
            "mlp_layer_types": ["hash_moe", "moe"],
        },
        _text,
    ),
    "BltForCausalLM": Skip(
        "blt",
        {
            "vocab_size": 260,
            "encoder_hash_byte_group_vocab": 64,
            "patcher_config": BLT_PART,
            "encoder_config": BLT_LOCAL,
            "decoder_config": BLT_LOCAL,
            "global_config": BLT_PART,
            "use_cache": False,
        },
        _text,
    ),
}


def build(name: str, skips: dict[str, Skip] = SKIPS) -> tuple[torch.nn.Module, Inputs, Named]:
    """The model in eval mode, its sample inputs, and inputs of other sizes by name."""
    skip = skips[name]
    torch.manual_seed(0)
    config = AutoConfig.for_model(skip.model_type, **skip.config)
    model = getattr(transformers, name)(config).eval()
    others = {", ".join(map(str, sizes)): skip.inputs(*sizes) for sizes in skip.others}
    return model, skip.inputs(*skip.sample), others
