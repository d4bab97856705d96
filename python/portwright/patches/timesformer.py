"""TimeSformer: embeddings of positions and times for videos of any size.

The original resizes its tables only where the video is of another size than they are, a decision
that would bind the program to one of the two. Resizing to the same size, to the nearest sample,
gives the table itself, so here it is always done.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.nn.functional import interpolate

from portwright.exporters.patching import register_patch


@register_patch(
    "dynamo",
    "transformers.models.timesformer.*.TimesformerEmbeddings.forward",
    sources=["68f523ed"],
)
def _embeddings(original: Any) -> Any:
    def forward(self: Any, pixel_values: torch.Tensor) -> torch.Tensor:
        side = math.isqrt(self.num_patches)
        if side * side != self.num_patches:
            return original(self, pixel_values)  # type: ignore[no-any-return]
        batch = pixel_values.shape[0]
        patches, frames, columns = self.patch_embeddings(pixel_values)
        count, width = patches.shape[1:]
        first = self.position_embeddings[:, :1]
        grid = self.position_embeddings[:, 1:].transpose(1, 2).reshape(1, width, side, side)
        grid = interpolate(grid, size=(count // columns, columns), mode="nearest")
        positions = torch.cat([first, grid.flatten(2).transpose(1, 2)], dim=1)
        tokens = torch.cat([self.cls_token.expand(batch * frames, -1, -1), patches], dim=1)
        embeddings: torch.Tensor = self.pos_drop(tokens + positions)
        if self.attention_type == "space_only":
            return embeddings
        times = interpolate(self.time_embeddings.transpose(1, 2), size=frames, mode="nearest")
        places = embeddings[:, 1:].reshape(batch, frames, count, width).transpose(1, 2)
        places = self.time_drop(places + times.transpose(1, 2))
        return torch.cat(
            [embeddings[:batch, :1], places.reshape(batch, count * frames, width)], dim=1
        )

    return forward
