"""`transformers.vision_utils`: positions and windows of packed images, without loops over images.

The originals loop over the rows of `grid_thw` in Python; these give the same tensors with
operations over all patches at once. Where the original finds precomputed tensors in `kwargs`, or
gets real tensors, it runs itself.
"""

from __future__ import annotations

from typing import Any

import torch

from portwright import _core
from portwright.exporters.patching import register_patch


def packed(counts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """For runs of `counts[i]` elements each, of every element: its run, and its place in the run.

    Args:
        counts: (n,) integers.

    Returns:
        Two int64 tensors of shape (counts.sum(),).
    """
    ends = counts.cumsum(0)
    places = torch.arange(counts.sum().item(), device=counts.device)
    run = torch.bucketize(places, ends, right=True)
    return run, places - (ends - counts)[run]


def position_ids(
    grid_thw: torch.Tensor, spatial_merge_size: Any, include_temporal: bool = False
) -> torch.Tensor:
    """Row and column of each patch, in blocks of merge x merge patches.

    Args:
        grid_thw: (images, 3) frames, rows and columns of patches.
        spatial_merge_size: an int, or (images,) integers.
        include_temporal: whether the frame comes first.

    Returns:
        (patches, 2), or (patches, 3) with the frame; int64.
    """
    frames, heights, widths = grid_thw.unbind(1)
    image, place = packed(frames * heights * widths)
    height, width = heights[image], widths[image]
    merge = spatial_merge_size
    if isinstance(merge, torch.Tensor):
        merge = merge.to(grid_thw.device)[image]
    frame, place = place // (height * width), place % (height * width)
    block, inside = place // (merge * merge), place % (merge * merge)
    blocks_per_row = width // merge
    row = block // blocks_per_row * merge + inside // merge
    column = block % blocks_per_row * merge + inside % merge
    return torch.stack([frame, row, column] if include_temporal else [row, column], dim=-1)


def window_index(
    grid_thw: torch.Tensor, spatial_merge_size: int, window_size: int, patch_size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The order of merged patches window by window, and where the windows start.

    Args:
        grid_thw: (images, 3) frames, rows and columns of patches.
        spatial_merge_size: patches per side of a merged patch.
        window_size, patch_size: pixels per side.

    Returns:
        `(order, starts)`: (merged patches,) int64, and (windows + 1,) int32 in patches.
    """
    side = window_size // spatial_merge_size // patch_size
    frames = grid_thw[:, 0]
    heights, widths = grid_thw[:, 1] // spatial_merge_size, grid_thw[:, 2] // spatial_merge_size
    image, place = packed(frames * heights * widths)
    height, width = heights[image], widths[image]
    frame, place = place // (height * width), place % (height * width)
    row, column = place // width, place % width
    down, across = heights // side + 1, widths // side + 1
    windows = frames * down * across
    first = (windows.cumsum(0) - windows)[image]
    window = first + (frame * down[image] + row // side) * across[image] + column // side
    order = torch.argsort(window, stable=True)
    _, sizes = torch.unique_consecutive(window[order], return_counts=True)
    starts = torch.nn.functional.pad(sizes.cumsum(0) * spatial_merge_size**2, (1, 0))
    return order, starts.to(torch.int32)


def nearest_position_ids(sizes: torch.Tensor, side: int) -> torch.Tensor:
    """The nearest entry of a side x side table for each patch.

    Args:
        sizes: (images, 2) rows and columns of patches.

    Returns:
        (patches,) int64.
    """
    heights, widths = sizes.unbind(1)
    image, place = packed(heights * widths)
    height, width = heights[image], widths[image]
    boundaries = torch.arange(1 / side, 1.0, 1 / side, device=sizes.device)
    row = torch.bucketize(place // width / height, boundaries, right=True)
    column = torch.bucketize(place % width / width, boundaries, right=True)
    return row * side + column


def _in_place_of(vectorised: Any, *precomputed: str) -> Any:
    def factory(original: Any) -> Any:
        def replacement(sizes: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            given = kwargs.get("kwargs") or {}
            if not _core.is_traced(sizes) or any(given.get(key) is not None for key in precomputed):
                return original(sizes, *args, **kwargs)
            kwargs.pop("kwargs", None)
            return vectorised(sizes, *args, **kwargs)

        return replacement

    return factory


_MODULE = "transformers.vision_utils."
register_patch("dynamo", _MODULE + "get_vision_position_ids", sources=("504c8ce6",))(
    _in_place_of(position_ids, "position_ids")
)
register_patch("dynamo", _MODULE + "get_vision_window_index", sources=("13102b91",))(
    _in_place_of(window_index, "window_index", "cu_window_seqlens")
)
register_patch("dynamo", _MODULE + "get_vision_nearest_position_ids", sources=("d71db273",))(
    _in_place_of(nearest_position_ids, "position_ids")
)
