"""Patches are where functions were imported; built-in ones give what the code before gave."""

from __future__ import annotations

import importlib
import types
from typing import Any

import pytest
import torch
from transformers import vision_utils

from portwright.exporters import DynamoExporter
from portwright.exporters.patching import _PATCHES, apply_patches, register_patch
from portwright.patches import image_features, multimodal_rope, resampling, vision


@pytest.fixture
def registry() -> Any:
    before = {backend: list(patches) for backend, patches in _PATCHES.items()}
    yield
    _PATCHES.clear()
    _PATCHES.update(before)


class Owner:
    def place(self) -> str:
        return "original"


def test_a_function_is_swapped_where_it_was_imported(registry: None) -> None:
    original = vision_utils.get_vision_position_ids
    modeling = importlib.import_module("transformers.models.qwen2_vl.modeling_qwen2_vl")
    with apply_patches("dynamo"):
        assert vision_utils.get_vision_position_ids is not original
        assert modeling.get_vision_position_ids is vision_utils.get_vision_position_ids
    assert modeling.get_vision_position_ids is original


def test_other_code_than_the_patch_was_written_for_is_left_alone(registry: None) -> None:
    register_patch("test", f"{__name__}.Owner.place", sources=["00000000"])(lambda original: None)
    with apply_patches("test") as installed:
        assert installed == []


GRIDS = [[[1, 4, 4]], [[1, 4, 8], [2, 8, 4], [1, 4, 4]], [[3, 12, 20], [1, 8, 8]]]


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("merge", [1, 2, 4])
@pytest.mark.parametrize("temporal", [False, True])
def test_positions_of_patches(grid: list[list[int]], merge: int, temporal: bool) -> None:
    sizes = torch.tensor(grid)
    expected = vision_utils.get_vision_position_ids(sizes, merge, temporal)
    assert torch.equal(vision.position_ids(sizes, merge, temporal), expected)
    each = torch.full((len(grid),), merge)
    assert torch.equal(vision.position_ids(sizes, each, temporal), expected)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("window", [32, 56, 112])
def test_windows_of_patches(grid: list[list[int]], window: int) -> None:
    sizes = torch.tensor(grid)
    order, starts = vision_utils.get_vision_window_index(sizes, 2, window, 8)
    got_order, got_starts = vision.window_index(sizes, 2, window, 8)
    assert torch.equal(got_order, order)
    assert torch.equal(got_starts, starts) and got_starts.dtype == starts.dtype


def test_nearest_positions_of_patches() -> None:
    sizes = torch.tensor([[3, 5], [7, 7], [1, 9]])
    expected = vision_utils.get_vision_nearest_position_ids(sizes, 7)
    assert torch.equal(vision.nearest_position_ids(sizes, 7), expected)


def _original(family: str, path: str) -> Any:
    owner: Any = importlib.import_module(f"transformers.models.{family}.modeling_{family}")
    for part in path.split("."):
        owner = getattr(owner, part)
    return owner


@pytest.mark.parametrize("grid", GRIDS)
def test_frames_and_blocks_of_patches(grid: list[list[int]]) -> None:
    sizes = torch.tensor(grid)
    original = _original("kimi_k25", "get_vision_frame_index")
    assert torch.equal(vision.frame_index(sizes), original(sizes))
    original = _original("muse_spark", "get_vision_pixel_shuffle_index")
    assert torch.equal(vision.pixel_shuffle_index(sizes, 4), original(sizes, 4))


def test_blocks_over_all_frames() -> None:
    sizes = torch.tensor([[3, 4, 8], [3, 8, 4], [3, 4, 4]])
    original = _original("kimi_k25", "get_vision_temporal_merge_index")
    assert torch.equal(vision.temporal_merge_index(sizes, 2, 4), original(sizes, 2, 4))


def test_resampled_position_grids() -> None:
    table = torch.randn(6, 6, 5)
    shapes = torch.tensor([[4, 4], [9, 3], [6, 6], [1, 7], [13, 2]])
    original = _original("siglip2", "Siglip2VisionEmbeddings.resize_positional_embeddings")
    expected = original(table, shapes, 40)
    for index, (height, width) in enumerate(shapes.tolist()):
        place = torch.arange(height * width)
        sizes = torch.full_like(place, height), torch.full_like(place, width)
        got = resampling.resampled(table, place // width, place % width, *sizes)
        torch.testing.assert_close(got, expected[index, : height * width])


def test_pairs_of_frames() -> None:
    grid = torch.tensor([[1, 4, 4], [4, 4, 8], [1, 4, 4], [2, 8, 4]])
    owner = _original("ernie4_5_vl_moe", "Ernie4_5_VLMoeVariableResolutionResamplerModel")
    tokens = torch.arange(int(grid.prod(1).sum()) // 4)[:, None]
    expected = owner._temporal_slicing(types_namespace(spatial_merge_size=2), tokens, grid)
    even, odd = image_features.frame_pairs(grid, 2)
    assert torch.equal(torch.cat([tokens[even], tokens[odd]], dim=1), expected)


def _rope_owner(family: str) -> Any:
    module = importlib.import_module(f"transformers.models.{family}.modeling_{family}")
    return next(
        cls
        for cls in vars(module).values()
        if isinstance(cls, type) and "get_rope_index" in vars(cls)
    )


FAMILIES = ["qwen2_vl", "qwen3_vl", "glm4v", "cosmos3_edge", "qwen2_5_vl", "ernie4_5_vl_moe"]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("padding", ["none", "left and right", "between"])
def test_multimodal_positions(family: str, padding: str) -> None:
    text, image, video = 0, 1, 2
    frames = 4 if family == "ernie4_5_vl_moe" else 2
    by_frame = family in ("qwen3_vl", "glm4v", "cosmos3_edge")
    clip = [video] * 4 + [text] + [video] * 4 if by_frame else [video] * 8
    rows = [
        [text, *[image] * 6, text, text, *clip, text, text, text],
        [*[image] * 4, text, *[image] * 6, *[text] * 11],
    ]
    rows[0] += [text] * (22 - len(rows[0]))
    types = torch.tensor(rows)
    mask = None
    if padding != "none":
        mask = torch.ones_like(types)
        if padding == "between":
            mask[0, 8] = mask[1, -3] = 0
        else:
            mask[0, :1] = mask[1, -3:] = 0
    grids: dict[str, Any] = {
        "image_grid_thw": torch.tensor([[1, 4, 6], [1, 4, 4], [1, 6, 4]]),
        "video_grid_thw": torch.tensor([[frames, 4, 4]]),
    }
    if family == "qwen2_5_vl":
        grids["second_per_grid_ts"] = torch.tensor([1.5])
    owner = _rope_owner(family)
    config = types_namespace(
        spatial_merge_size=2, tokens_per_second=2, temporal_merge_size=2 if frames == 4 else 1
    )
    model = types_namespace(config=types_namespace(vision_config=config))
    model.get_vision_position_ids = types_bound(owner.get_vision_position_ids, model)
    expected = owner.get_rope_index(model, types, types, attention_mask=mask, **grids)
    video_of = multimodal_rope._VIDEO[multimodal_rope.source_fingerprint(owner.get_rope_index)]
    got = multimodal_rope.rope_index(
        types,
        mask.bool() if mask is not None else None,
        {
            image: multimodal_rope._merged(grids["image_grid_thw"], 2),
            video: video_of(model, grids["video_grid_thw"], 2, grids.get("second_per_grid_ts")),
        },
    )
    assert torch.equal(got[0], expected[0])
    assert torch.equal(got[1], expected[1])


def types_namespace(**names: Any) -> Any:
    return types.SimpleNamespace(**names)


def types_bound(function: Any, owner: Any) -> Any:
    return types.MethodType(function, owner)


def test_position_embeddings_of_radio_are_the_originals_for_any_proportion() -> None:
    from transformers.models.radio.modeling_radio import RadioPatchEmbeddings

    from portwright.exporters.patching import source_fingerprint
    from portwright.patches.resampling import _radio_position_embedding

    original = RadioPatchEmbeddings._interpolate_position_embedding
    assert source_fingerprint(original) == "a3d417c3"  # else the patch is not installed
    patched = _radio_position_embedding(original)
    owner = types_namespace(position_embedding=torch.randn(1, 16, 6), max_rows=4, max_cols=4)
    for sides in ((3, 5), (5, 3), (4, 4), (8, 2)):
        expected = original(owner, sides, torch.float32)
        assert torch.equal(patched(owner, sides, torch.float32), expected)


def test_embeddings_of_timesformer_are_the_originals_for_any_size() -> None:
    from transformers import TimesformerConfig
    from transformers.models.timesformer.modeling_timesformer import TimesformerEmbeddings

    from portwright.exporters.patching import source_fingerprint
    from portwright.patches.timesformer import _embeddings

    original = TimesformerEmbeddings.forward
    assert source_fingerprint(original) == "68f523ed"  # else the patch is not installed
    patched = _embeddings(original)
    config = TimesformerConfig(image_size=16, patch_size=4, num_frames=3, hidden_size=8)
    for attention in ("divided_space_time", "space_only"):
        config.attention_type = attention
        embeddings = TimesformerEmbeddings(config).eval()
        for table in embeddings.parameters():
            torch.nn.init.normal_(table)
        for frames, height, width in ((3, 16, 16), (3, 16, 24), (5, 12, 8)):
            video = torch.randn(2, frames, 3, height, width)
            torch.testing.assert_close(patched(embeddings, video), original(embeddings, video))


def test_sam_hq_takes_one_image_and_one_prompt_as_it_takes_several() -> None:
    from transformers import SamHQConfig, SamHQModel
    from transformers.models.sam_hq.modeling_sam_hq import SamHQMaskDecoder

    from portwright.exporters.patching import source_fingerprint

    assert source_fingerprint(SamHQMaskDecoder.forward) == "05f260a3"  # else not installed
    torch.manual_seed(0)
    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_dim": 16}
    config = SamHQConfig(
        vision_config={
            **small,
            "image_size": 32,
            "patch_size": 8,
            "output_channels": 16,
            "num_pos_feats": 8,
            "window_size": 2,
            "global_attn_indexes": [1],
        },
        prompt_encoder_config={
            "hidden_size": 16,
            "image_size": 32,
            "patch_size": 8,
            "mask_input_channels": 8,
        },
        mask_decoder_config={**small, "vit_dim": 16, "iou_head_hidden_dim": 16},
    )
    model = SamHQModel(config).eval()

    def inputs(images: int, prompts: int) -> dict[str, torch.Tensor]:
        return {
            "pixel_values": torch.randn(images, 3, 32, 32),
            "input_points": torch.rand(images, prompts, 2, 2) * 32,
            "input_labels": torch.ones(images, prompts, 2, dtype=torch.long),
        }

    program = DynamoExporter().export(model, inputs(2, 3), {"dynamic": True}).module()
    for images, prompts in ((2, 3), (1, 3), (3, 1), (1, 1), (3, 2)):
        given = inputs(images, prompts)
        with torch.no_grad():
            expected = model(**given)
        actual = program(**given)
        torch.testing.assert_close(actual["pred_masks"], expected["pred_masks"])
        torch.testing.assert_close(actual["iou_scores"], expected["iou_scores"])


def test_mra_takes_one_text_as_it_takes_several() -> None:
    from transformers import MraConfig, MraModel
    from transformers.models.mra.modeling_mra import MraSelfAttention

    from portwright.exporters.patching import source_fingerprint

    assert source_fingerprint(MraSelfAttention.forward) == "c8c5bbbd"  # else not installed
    torch.manual_seed(0)
    config = MraConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=128,
        block_per_row=2,
    )
    model = MraModel(config).eval()

    def inputs(texts: int) -> dict[str, torch.Tensor]:
        ids = torch.randint(0, 50, (texts, 64))
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

    for sample in (1, 2):
        program = DynamoExporter().export(model, inputs(sample), {"dynamic": True}).module()
        for texts in (1, 2, 3):
            given = inputs(texts)
            with torch.no_grad():
                expected = model(**given).last_hidden_state
            torch.testing.assert_close(program(**given).last_hidden_state, expected)


@pytest.mark.parametrize("name", ["SEW", "SEWD"])
def test_sew_takes_odd_and_even_numbers_of_frames(name: str) -> None:
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8, 8),
        conv_stride=(5, 2),
        conv_kernel=(10, 3),
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
    )
    model = getattr(transformers, f"{name}Model")(config).eval()
    sample = {"input_values": torch.randn(2, 400)}
    exported = DynamoExporter().export(model, sample, {"dynamic": True})
    counts = set()
    for length in (400, 410, 655, 1203):
        given = {"input_values": torch.randn(2, length)}
        with torch.no_grad():
            expected = model(**given).last_hidden_state
        counts.add(expected.shape[1] % 2)
        torch.testing.assert_close(exported.module()(**given).last_hidden_state, expected)
    assert counts == {0, 1}
