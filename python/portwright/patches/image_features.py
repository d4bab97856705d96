"""Projectors and resamplers of packed image features that loop over images.

PaddleOCR and Ernie 4.5 VL cut each image's features out by sizes that are read from `grid_thw`, so
their loops would fix the number of images and the size of each. Here the same elements are selected
for all images at once.
"""

from __future__ import annotations

from typing import Any

import torch

from portwright import _core
from portwright.exporters.patching import register_patch
from portwright.patches.vision import block_index, packed


@register_patch("dynamo", "transformers.models.*.PaddleOCRProjector.forward", sources=["e8ed2f87"])
def _paddle_ocr_projector(original: Any) -> Any:
    """Blocks of patches side by side, then two linear layers."""

    def forward(self: Any, image_features: torch.Tensor, image_grid_thw: torch.Tensor) -> Any:
        if not _core.is_traced(image_grid_thw):
            return original(self, image_features, image_grid_thw)
        index = block_index(image_grid_thw, *self.merge_kernel_size)
        blocks = self.pre_norm(image_features)[index].flatten(1)
        return self.linear_2(self.act(self.linear_1(blocks)))

    return forward


def frame_pairs(grid_thw: torch.Tensor, merge: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The tokens of the even and of the odd frames; an image is paired with itself.

    Args:
        grid_thw: (images or videos, 3) frames, rows and columns of patches.
        merge: patches per side of a token.

    Returns:
        Two (tokens,) int64 tensors of indices.
    """
    frames = grid_thw[:, 0]
    area = grid_thw[:, 1:].prod(-1) // merge**2
    tokens = grid_thw.prod(-1) // merge**2
    item, place = packed((frames // 2).clamp(min=1) * area)
    pair, inside = place // area[item], place % area[item]
    even = (tokens.cumsum(0) - tokens)[item] + 2 * pair * area[item] + inside
    return even, even + torch.where(frames[item] > 1, area[item], 0)


@register_patch(
    "dynamo", "transformers.models.ernie4_5_vl_moe.*._temporal_slicing", sources=["c2ccc047"]
)
def _ernie_temporal_slicing(original: Any) -> Any:
    def _temporal_slicing(self: Any, hidden_states: torch.Tensor, grid_thw: torch.Tensor) -> Any:
        if not _core.is_traced(grid_thw):
            return original(self, hidden_states, grid_thw)
        even, odd = frame_pairs(grid_thw, self.spatial_merge_size)
        return torch.cat([hidden_states[even], hidden_states[odd]], dim=-1)

    return _temporal_slicing
