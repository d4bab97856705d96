"""`get_rope_index` of vision-language models (Qwen2-VL and its descendants).

The original walks over each row's tokens in Python, group by group of one modality. Here the
groups are found by cumulative sums over the tokens of all rows at once; no size depends on data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import pad

from portwright import _core
from portwright.exporters.patching import register_patch, source_fingerprint

IMAGE, VIDEO = 1, 2


@dataclass(frozen=True)
class Grid:
    """The images or the videos of a batch, in the order of their tokens.

    Attributes:
        sizes: (n, 3) frames, rows and columns, in merged patches.
        advance: (n,) by how much the position of what follows grows.
        interval: (n,) positions between two frames, or None for 1.
    """

    sizes: torch.Tensor
    advance: torch.Tensor
    interval: torch.Tensor | None = None


def rope_index(
    token_types: torch.Tensor, valid: torch.Tensor | None, grids: dict[int, Grid]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Temporal, row and column position of each token.

    Text counts on by one; the tokens of an image or video have the position of its start plus
    frame, row and column in it.

    Args:
        token_types: (batch, length) integers: 0 text, 1 image, 2 video.
        valid: (batch, length) bool, False for padding, which has position 0; None for no padding.
        grids: by token type.

    Returns:
        `(positions, deltas)`: (3, batch, length), and (batch, 1): largest position + 1 - tokens.
    """
    batch, size = token_types.shape
    device = token_types.device
    place = torch.arange(size, device=device).expand(batch, size)
    types, live = token_types.long(), torch.ones_like(token_types, dtype=torch.bool)
    if valid is not None:
        order = valid.long().cumsum(1) - 1
        types = _compacted(types, valid, order)
        live = place < valid.sum(1, keepdim=True)
    start = live & (types != pad(types[:, :-1], (1, 0), value=-1))
    group = (start.long().cumsum(1) - 1).clamp(min=0)
    offset = place - _at_start(place, start, group)

    sizes = torch.ones(batch, size, 3, dtype=torch.long, device=device)
    interval = None
    step = live.long()
    for kind, grid in grids.items():
        here = live & (types == kind)
        rank = ((start & here).flatten().long().cumsum(0) - 1).clamp(min=0).view(batch, size)
        sizes = torch.where(here[..., None], grid.sizes.long()[rank], sizes)
        step = torch.where(here, torch.where(start, grid.advance.long()[rank], 0), step)
        if grid.interval is not None:
            ones = torch.ones_like(grid.interval[rank]) if interval is None else interval
            interval = torch.where(here, grid.interval[rank], ones)

    base = _at_start(step.cumsum(1) - step, start, group)
    rows, columns = sizes[..., 1], sizes[..., 2]
    frame = offset // (rows * columns)
    if interval is not None:
        frame = (frame * interval).long()
    inside = torch.stack([frame, offset // columns % rows, offset % columns])
    seen = torch.stack([types == kind for kind in grids]).any(0) if grids else types != types
    positions = base + torch.where(seen, inside, offset)
    positions = torch.where(live, positions, 0)
    deltas = positions.amax((0, 2)) + 1 - live.sum(1)
    if valid is not None:
        spread = order.clamp(min=0).expand(3, batch, size)
        positions = torch.where(valid, positions.gather(2, spread), 0)
    return positions, deltas.unsqueeze(1)


def _compacted(values: torch.Tensor, valid: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """The valid values of each row at its start."""
    batch, size = values.shape
    room = torch.zeros(batch, size + 1, dtype=values.dtype, device=values.device)
    return room.scatter(1, torch.where(valid, order, size), values)[:, :-1]


def _at_start(values: torch.Tensor, start: torch.Tensor, group: torch.Tensor) -> torch.Tensor:
    """For each token, the value of the first token of its group."""
    return (
        torch.zeros_like(values)
        .scatter_add(1, group, torch.where(start, values, 0))
        .gather(1, group)
    )


def _merged(grid_thw: torch.Tensor, merge: int, temporal_merge: int = 1) -> Grid:
    frames, rows, columns = grid_thw.unbind(1)
    sizes = torch.stack([frames // temporal_merge, rows // merge, columns // merge], 1)
    return Grid(sizes, torch.maximum(rows, columns) // merge)


def _frames_apart(grid_thw: torch.Tensor) -> torch.Tensor:
    """Videos whose frames are separated by timestamps: one row for each frame."""
    _, rows, columns = torch.repeat_interleave(grid_thw, grid_thw[:, 0], dim=0).unbind(1)
    return torch.stack([torch.ones_like(rows), rows, columns], 1)


def _plain_video(model: Any, grid_thw: torch.Tensor, merge: int, _: Any) -> Grid:
    return _merged(grid_thw, merge)


def _video_by_frame(model: Any, grid_thw: torch.Tensor, merge: int, _: Any) -> Grid:
    return _merged(_frames_apart(grid_thw), merge)


def _video_in_seconds(model: Any, grid_thw: torch.Tensor, merge: int, seconds: Any) -> Grid:
    grid = _merged(grid_thw, merge)
    rate = model.config.vision_config.tokens_per_second
    if seconds is None:
        interval = torch.full_like(grid.advance, rate)
    else:
        interval = rate * torch.as_tensor(seconds, device=grid_thw.device)
    return Grid(grid.sizes, grid.advance, interval)


def _video_in_pairs(model: Any, grid_thw: torch.Tensor, merge: int, _: Any) -> Grid:
    return _merged(grid_thw, merge, model.config.vision_config.temporal_merge_size)


# What each known get_rope_index does with videos, by the fingerprint of its source.
_VIDEO = {
    "03946424": _plain_video,  # qwen2_vl, paddleocr_vl
    "26bc3dde": _video_by_frame,  # qwen3_vl, qwen3_5, glm4v and others
    "cbd4831d": _video_by_frame,  # cosmos3_edge
    "cdfb373f": _video_in_seconds,  # qwen2_5_vl
    "83a8cdc2": _video_in_pairs,  # ernie4_5_vl_moe
}


@register_patch("dynamo", "transformers.models.*.get_rope_index", sources=_VIDEO)
def _get_rope_index(original: Any) -> Any:
    video = _VIDEO[source_fingerprint(original)]

    def get_rope_index(
        self: Any,
        input_ids: torch.Tensor,
        mm_token_type_ids: torch.Tensor,
        image_grid_thw: torch.Tensor | None = None,
        video_grid_thw: torch.Tensor | None = None,
        second_per_grid_ts: Any = None,
        attention_mask: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not _core.is_traced(mm_token_type_ids):
            seconds = (
                {} if second_per_grid_ts is None else {"second_per_grid_ts": second_per_grid_ts}
            )
            return original(  # type: ignore[no-any-return]
                self,
                input_ids,
                mm_token_type_ids,
                image_grid_thw=image_grid_thw,
                video_grid_thw=video_grid_thw,
                attention_mask=attention_mask,
                **seconds,
                **kwargs,
            )
        merge = self.config.vision_config.spatial_merge_size
        grids = {}
        if image_grid_thw is not None:
            grids[IMAGE] = _merged(image_grid_thw, merge)
        if video_grid_thw is not None:
            grids[VIDEO] = video(self, video_grid_thw, merge, second_per_grid_ts)
        valid = attention_mask.bool() if attention_mask is not None else None
        positions, deltas = rope_index(mm_token_type_ids, valid, grids)
        return positions.to(input_ids.dtype), deltas

    return get_rope_index
