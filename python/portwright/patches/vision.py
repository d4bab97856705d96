"""`get_vision_*` functions of `transformers`: packed images without loops over images.

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


def places(
    grid_thw: torch.Tensor, merge: Any = 1
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Image, frame, row and column of each patch, in blocks of merge x merge patches.

    Args:
        grid_thw: (images, 3) frames, rows and columns of patches.
        merge: an int, or (images,) integers; 1 for row by row.

    Returns:
        Four int64 tensors of shape (patches,).
    """
    frames, heights, widths = grid_thw.unbind(1)
    image, place = packed(frames * heights * widths)
    height, width = heights[image], widths[image]
    if isinstance(merge, torch.Tensor):
        merge = merge.to(grid_thw.device)[image]
    frame, place = place // (height * width), place % (height * width)
    block, inside = place // (merge * merge), place % (merge * merge)
    blocks_per_row = width // merge
    row = block // blocks_per_row * merge + inside // merge
    column = block % blocks_per_row * merge + inside % merge
    return image, frame, row, column


def position_ids(
    grid_thw: torch.Tensor, spatial_merge_size: Any, include_temporal: bool = False
) -> torch.Tensor:
    """Row and column of each patch, in blocks of merge x merge patches.

    Returns:
        (patches, 2), or (patches, 3) with the frame first; int64.
    """
    _, frame, row, column = places(grid_thw, spatial_merge_size)
    return torch.stack([frame, row, column] if include_temporal else [row, column], dim=-1)


def block_index(grid_thw: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """For each block of height x width patches, block row by block row, its patches' indices.

    Args:
        grid_thw: (images, 3) frames, rows and columns of patches; patches lie row by row.

    Returns:
        (blocks, height * width) int64.
    """
    blocks = torch.stack([grid_thw[:, 0], grid_thw[:, 1] // height, grid_thw[:, 2] // width], dim=1)
    image, frame, row, column = places(blocks)
    _, rows, columns = grid_thw.unbind(1)
    counts = grid_thw.prod(1)
    start = (counts.cumsum(0) - counts)[image] + frame * (rows * columns)[image]
    first = start + row * height * columns[image] + column * width
    down = torch.arange(height, device=grid_thw.device)[None, :, None]
    across = torch.arange(width, device=grid_thw.device)[None, None, :]
    return (first[:, None, None] + down * columns[image][:, None, None] + across).flatten(1)


def frame_index(grid_thw: torch.Tensor) -> torch.Tensor:
    """Of each patch: 0 in an image, 1 + its frame in a video. (patches,) int64."""
    image, frame, _, _ = places(grid_thw)
    return frame + (grid_thw[:, 0][image] > 1)


def temporal_merge_index(grid_thw: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """For each block of patches in all frames, its patches' indices by frame.

    Args:
        grid_thw: (clips, 3), all with the same number of frames.

    Returns:
        (blocks of a frame, frames, height * width) int64.
    """
    still = torch.stack([torch.ones_like(grid_thw[:, 0]), grid_thw[:, 1], grid_thw[:, 2]], dim=1)
    blocks = torch.stack([still[:, 0], still[:, 1] // height, still[:, 2] // width], dim=1)
    image, _, _, _ = places(blocks)
    areas = grid_thw[:, 1] * grid_thw[:, 2]
    before = (grid_thw.prod(1) - areas).cumsum(0) - (grid_thw.prod(1) - areas)
    first = block_index(still, height, width) + before[image][:, None]
    frame = torch.arange(grid_thw[0, 0].item(), device=grid_thw.device)
    return first[:, None, :] + (frame[None, :] * areas[image][:, None])[:, :, None]


def pixel_shuffle_index(grid_thw: torch.Tensor, merge_size: int) -> torch.Tensor:
    """The order of patches that puts the patches of a block side by side. (patches,) int64."""
    return block_index(grid_thw, merge_size, merge_size).flatten()


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


_UTILS = "transformers.vision_utils."
_MODELS = "transformers.models.*."

# Path of the original, fingerprint of its source, what replaces it, the keys of its results.
_FUNCTIONS: list[tuple[str, str, Any, tuple[str, ...]]] = [
    (_UTILS + "get_vision_position_ids", "504c8ce6", position_ids, ("position_ids",)),
    (
        _UTILS + "get_vision_window_index",
        "13102b91",
        window_index,
        ("window_index", "cu_window_seqlens"),
    ),
    (
        _UTILS + "get_vision_nearest_position_ids",
        "d71db273",
        nearest_position_ids,
        ("position_ids",),
    ),
    (_MODELS + "get_vision_frame_index", "86ae96e3", frame_index, ("frame_index",)),
    (
        _MODELS + "get_vision_temporal_merge_index",
        "d0ec548a",
        temporal_merge_index,
        ("temporal_merge_index",),
    ),
    (
        _MODELS + "get_vision_pixel_shuffle_index",
        "1b317389",
        pixel_shuffle_index,
        ("pixel_shuffle_index",),
    ),
]

for _path, _source, _vectorised, _keys in _FUNCTIONS:
    register_patch("dynamo", _path, sources=[_source])(_in_place_of(_vectorised, *_keys))
