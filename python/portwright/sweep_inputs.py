"""The inputs at which a sweep runs a dynamic export: the sample, and each axis varied alone.

Which of them count is eager's word: an input that eager refuses is left out, one that only the
program refuses makes the case wrong.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch

from portwright.sample_inputs import padded

# What other sizes the zoo's maker is asked for. The sample has batch 2.
_SAMPLE = {"batch": 2, "seq": 9}
_ASKED = {
    "batch 3": _SAMPLE | {"batch": 3},
    "another length": _SAMPLE | {"seq": 13},
    "batch 3 and another length": {"batch": 3, "seq": 13},
    "batch 1 and another length": {"batch": 1, "seq": 11},
}
_IMAGES = ("pixel_values", "pixel_values_videos", "pixel_mask", "flattened_patches")
_SOUNDS = ("input_values", "input_features", "audio_values", "input_features_mask", "past_values")


def sweep_inputs(
    zoo: Any, case: str, model: torch.nn.Module, sample: dict[str, Any]
) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """Names of runs and makers of their inputs; a maker may raise where the model has no such run.

    Args:
        zoo: module with `variant_inputs(case, model)`, which may take `batch` and `seq`.
        case: the case's id.
        model: the case's model.
        sample: the inputs of the export.
    """
    takes = inspect.signature(zoo.variant_inputs).parameters
    if {"batch", "seq"} <= takes.keys():
        for name, sizes in _ASKED.items():
            yield name, functools.partial(zoo.variant_inputs, case, model, **sizes)
    else:
        yield "other sizes", functools.partial(zoo.variant_inputs, case, model)
    for name, change in _CHANGES.items():
        changed = change(sample)
        if changed is not None:
            yield name, functools.partial(dict, changed)


def _stretched(tensor: torch.Tensor, axis: int, size: int) -> torch.Tensor:
    """The tensor's elements repeated or cut along an axis to `size`."""
    return tensor.index_select(axis, torch.arange(size) % tensor.shape[axis])


def _with_larger_images(sample: dict[str, Any], axis: int) -> dict[str, Any] | None:
    """One side of all images doubled."""
    images = {
        name: value
        for name, value in sample.items()
        if name in _IMAGES and isinstance(value, torch.Tensor) and value.dim() > 2
    }
    if not any(value.dim() > 3 for value in images.values()):
        return None
    return sample | {
        name: _stretched(value, value.dim() + axis, 2 * value.shape[axis])
        for name, value in images.items()
    }


def _with_larger_grids(sample: dict[str, Any]) -> dict[str, Any] | None:
    """Packed patches of images that are one and a half times as wide."""
    grids = [name for name in sample if name.endswith("grid_thw")]
    if len(grids) != 1 or "input_ids" in sample:
        return None
    grid = sample[grids[0]]
    count = int(grid.prod(-1).sum())
    wider = grid.clone()
    wider[:, -1] = wider[:, -1] * 3 // 2
    return {
        name: _stretched(value, 0, int(wider.prod(-1).sum()))
        if isinstance(value, torch.Tensor) and value.dim() and value.shape[0] == count
        else value
        for name, value in (sample | {grids[0]: wider}).items()
    }


def _longer(sample: dict[str, Any]) -> dict[str, Any] | None:
    """Sounds and time series one and a half times as long: the longer one of the last two axes."""
    sounds = [n for n in _SOUNDS if isinstance(sample.get(n), torch.Tensor) and sample[n].dim() > 1]
    if not sounds:
        return None
    first = sample[sounds[0]]
    axes = range(1, first.dim())
    axis = max(axes, key=lambda i: first.shape[i])
    old, new = first.shape[axis], first.shape[axis] * 3 // 2

    def fitted(name: str, value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or value.dim() < 2:
            return value
        if name not in sounds and not (name.endswith("mask") and value.shape[-1] == old):
            return value
        places = [i for i in range(1, value.dim()) if value.shape[i] == old]
        return _stretched(value, places[0], new) if places else value

    return {name: fitted(name, value) for name, value in sample.items()}


_CHANGES: dict[str, Callable[[dict[str, Any]], dict[str, Any] | None]] = {
    "padding left and right": padded,
    "another image height": functools.partial(_with_larger_images, axis=-2),
    "another image width": functools.partial(_with_larger_images, axis=-1),
    "another grid": _with_larger_grids,
    "another duration": _longer,
}
