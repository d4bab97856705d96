"""Learned position grids resampled to the size of each image, without a loop over images.

Siglip2 and its descendants, and Cosmos3-Edge, call `F.interpolate` once for each image. Resampling
is linear in the grid, and separable: the weights of every row and column are computed at once.
"""

from __future__ import annotations

from typing import Any

import torch

from portwright import _core
from portwright.exporters.patching import register_patch
from portwright.patches.vision import places


def antialiased_weights(index: torch.Tensor, size: torch.Tensor, side: int) -> torch.Tensor:
    """Weights of `side` samples at each place of an axis that they are resampled to.

    As `F.interpolate(mode="bilinear", antialias=True, align_corners=False)`.

    Args:
        index: (n,) places on axes of lengths `size`, (n,).

    Returns:
        (n, side) float32; rows add up to 1.
    """
    scale = side / size.to(torch.float32)
    support = scale.clamp(min=1.0)
    center = scale * (index.to(torch.float32) + 0.5)
    first = (center - support + 0.5).trunc().clamp(min=0)[:, None]
    last = (center + support + 0.5).trunc().clamp(max=side)[:, None]
    samples = torch.arange(side, device=index.device, dtype=torch.float32)[None]
    weights = 1 - ((samples - center[:, None] + 0.5) / support[:, None]).abs()
    weights = torch.where((samples >= first) & (samples < last), weights.clamp(min=0), 0.0)
    return weights / weights.sum(1, keepdim=True)


def resampled(
    table: torch.Tensor,
    row: torch.Tensor,
    column: torch.Tensor,
    height: torch.Tensor,
    width: torch.Tensor,
) -> torch.Tensor:
    """`table` at places of grids of other sizes.

    Args:
        table: (rows, columns, features).
        row, column, height, width: (n,) each.

    Returns:
        (n, features), float32.
    """
    rows, columns, features = table.shape
    down = antialiased_weights(row, height, rows)
    across = antialiased_weights(column, width, columns)
    lines = (down @ table.to(torch.float32).reshape(rows, -1)).view(-1, columns, features)
    return (across[:, None, :] @ lines).squeeze(1)


@register_patch(
    "dynamo", "transformers.models.*.resize_positional_embeddings", sources=["d7d12234"]
)
def _siglip2(original: Any) -> Any:
    def resize_positional_embeddings(
        positional_embeddings: torch.Tensor, spatial_shapes: torch.Tensor, max_length: int
    ) -> torch.Tensor:
        if not _core.is_traced(spatial_shapes):
            return original(  # type: ignore[no-any-return]
                positional_embeddings, spatial_shapes, max_length
            )
        height, width = spatial_shapes.unbind(1)
        place = torch.arange(max_length, device=spatial_shapes.device)[None]
        place = torch.where(place < (height * width)[:, None], place, 0)
        flat = [
            values.flatten()
            for values in torch.broadcast_tensors(  # type: ignore[no-untyped-call]
                place // width[:, None], place % width[:, None], height[:, None], width[:, None]
            )
        ]
        result = resampled(positional_embeddings, *flat).to(positional_embeddings.dtype)
        return result.view(spatial_shapes.shape[0], max_length, positional_embeddings.shape[-1])

    return resize_positional_embeddings


@register_patch(
    "dynamo",
    "transformers.models.cosmos3_edge.*.resize_positional_embeddings",
    sources=["7631a1d6"],
)
def _cosmos3_edge(original: Any) -> Any:
    def resize_positional_embeddings(
        positional_embeddings: torch.Tensor, grid_thw: torch.Tensor, spatial_merge_size: int
    ) -> torch.Tensor:
        if not _core.is_traced(grid_thw):
            return original(  # type: ignore[no-any-return]
                positional_embeddings, grid_thw, spatial_merge_size
            )
        image, _, row, column = places(grid_thw, spatial_merge_size)
        result = resampled(
            positional_embeddings, row, column, grid_thw[:, 1][image], grid_thw[:, 2][image]
        )
        return result.to(positional_embeddings.dtype)

    return resize_positional_embeddings


@register_patch(
    "dynamo",
    "transformers.models.radio.*.RadioPatchEmbeddings._interpolate_position_embedding",
    sources=["a3d417c3"],
)
def _radio_position_embedding(original: Any) -> Any:
    """Resampled to a square and cut to the image, without asking which side is the shorter one.

    The original cuts a side only where it is longer than the image's, a decision on the image that
    excludes other proportions; cutting the other one does nothing.
    """

    def interpolate(self: Any, input_dims: Any, dtype: torch.dtype) -> torch.Tensor:
        rows, columns = input_dims
        grid = self.position_embedding.reshape(1, self.max_rows, self.max_cols, -1)
        side = torch.sym_max(rows, columns)  # type: ignore[no-untyped-call]
        square = torch.nn.functional.interpolate(
            grid.permute(0, 3, 1, 2).float(), size=(side, side), mode="bilinear"
        )
        return square.to(dtype)[..., :rows, :columns].flatten(2).permute(0, 2, 1)

    return interpolate
