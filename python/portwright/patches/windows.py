"""Swin and its relatives: images that are no multiple of patches and windows.

The originals pad where something is missing, and cut off afterwards where they padded: branches
that would bind the program to images which need no padding, or to those that need some. Here they
always pad, by what may be nothing, and always cut off.
"""

from __future__ import annotations

from typing import Any

import torch

from portwright.exporters.patching import register_patch

_PATCHES = (
    "swin.*.SwinPatchEmbeddings",
    "swinv2.*.Swinv2PatchEmbeddings",
    "donut.*.DonutSwinPatchEmbeddings",
    "maskformer.*.MaskFormerSwinPatchEmbeddings",
    "focalnet.*.FocalNetPatchEmbeddings",
)
_MERGERS = (
    "swin.*.SwinPatchMerging",
    "swinv2.*.Swinv2PatchMerging",
    "swin2sr.*.Swin2SRPatchMerging",
    "donut.*.DonutSwinPatchMerging",
    "maskformer.*.MaskFormerSwinPatchMerging",
    "clap.*.ClapAudioPatchMerging",
)
_LAYERS = (
    "swin.*.SwinLayer",
    "swinv2.*.Swinv2Layer",
    "swin2sr.*.Swin2SRLayer",
    "donut.*.DonutSwinLayer",
    "maskformer.*.MaskFormerSwinLayer",
    "clap.*.ClapAudioLayer",
)


def _methods(classes: tuple[str, ...]) -> list[str]:
    return [f"transformers.models.{name}.maybe_pad" for name in classes]


@register_patch("dynamo", *_methods(_PATCHES), sources=["ae76f5da"])
def _pad_to_patches(original: Any) -> Any:
    def maybe_pad(self: Any, pixel_values: torch.Tensor, height: Any, width: Any) -> torch.Tensor:
        rows, columns = self.patch_size
        missing = (0, -width % columns, 0, -height % rows)
        return torch.nn.functional.pad(pixel_values, missing)

    return maybe_pad


@register_patch("dynamo", *_methods(_MERGERS), sources=["405579ac", "626500ff"])
def _pad_to_pairs(original: Any) -> Any:
    def maybe_pad(self: Any, features: torch.Tensor, height: Any, width: Any) -> torch.Tensor:
        return torch.nn.functional.pad(features, (0, 0, 0, width % 2, 0, height % 2))

    return maybe_pad


@register_patch("dynamo", *_methods(_LAYERS), sources=["9f4619f0", "c800928e", "f7972c24"])
def _pad_to_windows(original: Any) -> Any:
    """The layer compares what was padded with 0, and cuts off where it is more."""

    def maybe_pad(self: Any, hidden_states: torch.Tensor, height: Any, width: Any) -> Any:
        padded, missing = original(self, hidden_states, height, width)
        return padded, tuple(1 if isinstance(pad, torch.SymInt) else pad for pad in missing)

    return maybe_pad
