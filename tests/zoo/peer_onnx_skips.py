"""Tiny models of what transformers.exporters' own tests skip for ONNX alone, with inputs.

TIES: the models whose top-k is over equal scores when their weights are random; see `build`.
SLOW: those whose lowering takes it over ten minutes. UNOPTIMIZED: those for which it must switch
its optimizer off. BROKEN: those that it cannot lower. LayoutLMv2 is not among them: it needs
detectron2.
"""

from __future__ import annotations

from typing import Any

import peer_skips
import torch
from peer_skips import SMALL_VISION, TEXT, VOCABULARY, Inputs, Named, Skip, _ids, _image, _text

HGNET: dict[str, Any] = {
    "model_type": "hgnet_v2",
    "embedding_size": 16,
    "depths": [1, 1, 1, 1],
    "hidden_sizes": [16, 16, 32, 64],
    "stem_channels": [3, 8, 8],
    "stage_in_channels": [8, 16, 16, 32],
    "stage_mid_channels": [8, 8, 8, 16],
    "stage_out_channels": [16, 16, 32, 64],
    "stage_num_blocks": [1, 1, 1, 1],
    "stage_numb_of_layers": [1, 1, 1, 1],
    "out_indices": [2, 3, 4],
}
RESNET: dict[str, Any] = {
    "model_type": "rt_detr_resnet",
    "embedding_size": 16,
    "hidden_sizes": [16, 16, 32, 64],
    "depths": [1, 1, 1, 1],
    "out_indices": [2, 3, 4],
}
DETECTOR: dict[str, Any] = {
    "freeze_backbone_batch_norms": False,
    "encoder_hidden_dim": 32,
    "encoder_in_channels": [16, 32, 64],
    "encoder_ffn_dim": 48,
    "encoder_attention_heads": 4,
    "d_model": 32,
    "num_queries": 8,
    "decoder_in_channels": [32, 32, 32],
    "decoder_ffn_dim": 48,
    "decoder_layers": 2,
    "decoder_attention_heads": 4,
}
SWIN: dict[str, Any] = {
    "image_size": 64,
    "patch_size": 4,
    "embed_dim": 16,
    "depths": [1, 2, 1, 1],
    "num_heads": [2, 2, 2, 2],
    "window_size": 2,
}
GROUNDING: dict[str, Any] = {
    "backbone_config": {"model_type": "swin", **SWIN, "out_indices": [2, 3, 4]},
    "text_config": {
        "model_type": "bert",
        **{key: TEXT[key] for key in TEXT if key not in ("num_key_value_heads", "bos_token_id")},
        "max_position_embeddings": 64,
    },
    "num_queries": 4,
    "encoder_layers": 1,
    "encoder_ffn_dim": 48,
    "encoder_attention_heads": 4,
    "decoder_layers": 2,
    "decoder_ffn_dim": 48,
    "decoder_attention_heads": 4,
    "d_model": 32,
}
BIG_BIRD: dict[str, Any] = {
    **{key: TEXT[key] for key in TEXT if key != "num_key_value_heads"},
    "max_position_embeddings": 256,
    "block_size": 4,
    "num_random_blocks": 2,
}
READING_ORDER: dict[str, Any] = {
    "hidden_size": 32,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "coordinate_size": 6,
    "shape_size": 4,
    "num_classes": 2,
    "global_pointer_head_size": 8,
}
FOUR_LAYERS = {**SMALL_VISION, "num_hidden_layers": 4}
DEPTH: dict[str, Any] = {
    "neck_hidden_sizes": [8, 8, 16, 16],
    "fusion_hidden_size": 16,
    "reassemble_factors": [4, 2, 1, 0.5],
}
ANY_IMAGE = ((3, 64), (2, 96, 64), (1, 64))


# 128, so that the norms of the coarsest features are over more than one element.
def _image_and_question(batch: int, length: int, size: int = 128) -> Inputs:
    return {**_text(batch, length), **_image(batch, size)}


def _table(batch: int, length: int) -> Inputs:
    columns = [torch.randint(0, high, (batch, length)) for high in (2, 4, 4, 2, 4, 4, 4)]
    return {**_text(batch, length), "token_type_ids": torch.stack(columns, -1)}


def _prompted(batch: int, width: int) -> Inputs:
    names = ("pixel_values", "prompt_pixel_values", "prompt_masks")
    return {name: torch.randn(batch, 3, width // 2, width) for name in names}


def _two_texts(batch: int, length: int) -> Inputs:
    return {**_text(batch, length), "decoder_input_ids": _ids(batch, length // 2 + 1)}


def _video_prompt(batch: int, length: int) -> Inputs:
    """One video of 2 frames of 4 x 4 patches, pooled to 2 x 2, in each prompt."""
    video = torch.full((batch, 8), VOCABULARY - 1)
    ids = torch.cat([_ids(batch, length) % 150 + 3, video], 1)
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "pixel_values_videos": torch.randn(batch, 2, 3, 32, 32),
    }


TIES = {
    "DFineForObjectDetection": Skip(
        "d_fine", {**DETECTOR, "backbone_config": HGNET}, _image, (2, 64), ANY_IMAGE
    ),
    "Deimv2ForObjectDetection": Skip(
        "deimv2", {**DETECTOR, "backbone_config": HGNET}, _image, (2, 64), ANY_IMAGE
    ),
    "RTDetrForObjectDetection": Skip(
        "rt_detr", {**DETECTOR, "backbone_config": RESNET}, _image, (2, 64), ANY_IMAGE
    ),
    "RTDetrV2ForObjectDetection": Skip(
        "rt_detr_v2", {**DETECTOR, "backbone_config": RESNET}, _image, (2, 64), ANY_IMAGE
    ),
    "MMGroundingDinoForObjectDetection": Skip(
        "mm-grounding-dino",
        GROUNDING,
        _image_and_question,
        (2, 9),
        ((3, 9), (2, 12), (2, 9, 160)),
    ),
    "PPDocLayoutV2ForObjectDetection": Skip(
        "pp_doclayout_v2",
        {
            **DETECTOR,
            "backbone_config": HGNET,
            "class_thresholds": [0.5, 0.4],
            "class_order": [0, 1],
            "reading_order_config": READING_ORDER,
        },
        _image,
        (2, 64),
        ANY_IMAGE,
    ),
    "PPDocLayoutV3ForObjectDetection": Skip(
        "pp_doclayout_v3",
        {
            **DETECTOR,
            "backbone_config": {**HGNET, "out_indices": [1, 2, 3, 4]},
            "mask_feature_channels": [32, 32],
            "x4_feat_dim": 16,
        },
        _image,
        (2, 64),
        ANY_IMAGE,
    ),
    "TapasForQuestionAnswering": Skip(
        "tapas",
        {
            **{key: TEXT[key] for key in TEXT if key != "num_key_value_heads"},
            "max_position_embeddings": 64,
            "type_vocab_sizes": [3, 16, 16, 2, 16, 16, 10],
            "max_num_rows": 8,
            "max_num_columns": 8,
            "select_one_column": True,
        },
        _table,
    ),
}
SLOW = {
    "BigBirdForMaskedLM": Skip("big_bird", BIG_BIRD, _text, (2, 64), ((3, 64), (2, 80), (1, 72))),
    "SwinForImageClassification": Skip("swin", SWIN, _image, (2, 64), ((3, 64), (1, 64))),
    "Swinv2ForImageClassification": Skip("swinv2", SWIN, _image, (2, 64), ((3, 64), (1, 64))),
    "DonutSwinForImageClassification": Skip(
        "donut-swin", SWIN, _image, (2, 64), ((3, 64), (1, 64))
    ),
    "MaskFormerSwinModel": Skip("maskformer-swin", SWIN, _image, (2, 64), ((3, 64), (2, 96, 64))),
    "Mask2FormerForUniversalSegmentation": Skip(
        "mask2former",
        {
            "backbone_config": {"model_type": "swin", **SWIN, "out_indices": [1, 2, 3, 4]},
            "feature_size": 32,
            "mask_feature_size": 32,
            "hidden_dim": 32,
            "encoder_feedforward_dim": 48,
            "encoder_layers": 1,
            "decoder_layers": 2,
            "num_attention_heads": 4,
            "dim_feedforward": 48,
            "num_queries": 4,
        },
        _image,
        (2, 64),
        ((3, 64), (1, 64)),
    ),
    "PixioModel": Skip(
        "pixio", {**SMALL_VISION, "n_cls_tokens": 2}, _image, (2, 32), ((3, 32), (1, 32))
    ),
}
UNOPTIMIZED = {
    "YolosForObjectDetection": Skip(
        "yolos",
        {**SMALL_VISION, "image_size": [64, 64], "num_detection_tokens": 5},
        _image,
        (2, 64),
        ANY_IMAGE,
    ),
    "SegGptForImageSegmentation": Skip(
        "seggpt",
        {
            **{key: FOUR_LAYERS[key] for key in FOUR_LAYERS if key != "intermediate_size"},
            "image_size": [32, 32],
            "mlp_dim": 48,
            "pretrain_image_size": 32,
            "decoder_hidden_size": 16,
            "merge_index": 1,
            "intermediate_hidden_state_indices": [2, 3],
        },
        _prompted,
        (2, 32),
        ((3, 32), (1, 32)),
    ),
    "ProphetNetForConditionalGeneration": Skip(
        "prophetnet",
        {
            "vocab_size": VOCABULARY,
            "hidden_size": 32,
            "encoder_ffn_dim": 48,
            "num_encoder_layers": 2,
            "num_encoder_attention_heads": 4,
            "decoder_ffn_dim": 48,
            "num_decoder_layers": 2,
            "num_decoder_attention_heads": 4,
            "max_position_embeddings": 64,
        },
        _two_texts,
    ),
    "ZoeDepthForDepthEstimation": Skip(
        "zoedepth",
        {
            **DEPTH,
            "backbone_config": {
                "model_type": "beit",
                **FOUR_LAYERS,
                "use_relative_position_bias": True,
                "reshape_hidden_states": False,
                "out_indices": [1, 2, 3, 4],
            },
            "bottleneck_features": 16,
            "bin_embedding_dim": 16,
            "num_relative_features": 8,
            "bin_configurations": [{"n_bins": 16, "min_depth": 0.001, "max_depth": 10.0}],
        },
        _image,
        (2, 32),
        ((3, 32), (1, 32)),
    ),
    "LlavaNextVideoForConditionalGeneration": Skip(
        "llava_next_video",
        {
            "vision_config": {
                "model_type": "clip_vision_model",
                **SMALL_VISION,
                "projection_dim": 32,
            },
            "text_config": {"model_type": "llama", **TEXT},
            "image_token_index": VOCABULARY - 2,
            "video_token_index": VOCABULARY - 1,
            "image_grid_pinpoints": [[32, 32]],
        },
        _video_prompt,
    ),
}
BROKEN = {
    "GroundingDinoForObjectDetection": Skip(
        "grounding-dino", GROUNDING, _image_and_question, (2, 9), ((3, 9), (2, 12), (2, 9, 160))
    ),
    "CHMv2ForDepthEstimation": Skip(
        "chmv2",
        {
            "backbone_config": {
                "model_type": "dinov3_vit",
                **FOUR_LAYERS,
                "out_indices": [1, 2, 3, 4],
                "reshape_hidden_states": True,
                "apply_layernorm": True,
                "return_class_token": True,
            },
            **DEPTH,
            "post_process_channels": [8, 8, 16, 16],
            "head_hidden_size": 8,
            "patch_size": 8,
        },
        _image,
        (2, 32),
        ((3, 32), (2, 48, 32)),
    ),
    "DPTForDepthEstimation": Skip(
        "dpt",
        {**FOUR_LAYERS, **DEPTH, "backbone_out_indices": [0, 1, 2, 3], "is_hybrid": False},
        _image,
        (2, 32),
        ((3, 32), (2, 48)),
    ),
}
SKIPS = {**TIES, **SLOW, **UNOPTIMIZED, **BROKEN}


def build(name: str) -> tuple[torch.nn.Module, Inputs, Named]:
    """As `peer_skips.build`, with batch norms that have seen the sample.

    With those of a new model, features vanish layer by layer until all scores are equal.
    """
    model, sample, others = peer_skips.build(name, SKIPS)
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        torch.nn.init.ones_(norm.weight)
        norm.momentum = 1.0
        norm.train()
    if norms:
        with torch.no_grad():
            model(**sample)
    for norm in norms:  # by size alone: what is left of a mean that is taken off is rounding
        norm.running_var += norm.running_mean**2
        norm.running_mean.zero_()
    return model.eval(), sample, others
