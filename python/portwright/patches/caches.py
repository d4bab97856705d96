"""Caches that keep the last tokens only, whether the window is full or not.

`transformers` asks in Python how many tokens a sliding layer has seen and takes a branch, so that a
decode step that is traced before the window is full would hold until then only. Here the same sizes
are stated by what the layer holds, and by minima and maxima.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch

from portwright import _core
from portwright.exporters.patching import register_patch

_max: Any = torch.sym_max
_min: Any = torch.sym_min


@register_patch("dynamo", "transformers.cache_utils.DynamicSlidingWindowLayer.get_mask_sizes")
def _dynamic_mask_sizes(original: Any) -> Any:
    """A layer has the last `min(seen, window - 1)` tokens: as many as its keys; dropped are the
    others that it has seen."""

    def get_mask_sizes(self: Any, query_length: int) -> tuple[Any, Any]:
        if self.record_past or not _seen_is_symbolic(self.cumulative_length):
            return original(self, query_length)  # type: ignore[no-any-return]
        held = self.keys.shape[-2]
        return held + query_length, self.cumulative_length - held

    return get_mask_sizes


@register_patch("dynamo", "transformers.masking_utils.prepare_padding_mask")
def _prepare_padding_mask(original: Any) -> Any:
    """The mask is lengthened by as much as it is too short, which may be nothing."""

    def prepare_padding_mask(attention_mask: Any, kv_length: Any, kv_offset: Any) -> Any:
        if attention_mask is None or not isinstance(kv_offset, torch.SymInt):
            return original(attention_mask, kv_length, kv_offset)
        return _lengthened(attention_mask, kv_length + kv_offset)

    return prepare_padding_mask


@register_patch("dynamo", "transformers.masking_utils.maybe_pad_block_sequence_ids")
def _maybe_pad_block_sequence_ids(original: Any) -> Any:
    """As the mask: the ids of blocks, -1 for tokens of none."""

    def pad(ids: Any, attention_mask: Any, kv_length: Any, kv_offset: Any) -> Any:
        if not isinstance(kv_offset, torch.SymInt):
            return original(ids, attention_mask, kv_length, kv_offset)
        return _lengthened(ids, kv_length + kv_offset, value=-1)

    return pad


def _lengthened(tensor: torch.Tensor, length: Any, value: int = 0) -> torch.Tensor:
    missing = _max(length - tensor.shape[-1], 0)
    return torch.nn.functional.pad(tensor, (0, missing), value=value)


@register_patch("dynamo", "transformers.masking_utils._ignore_causal_mask_sdpa")
def _ignore_causal_mask_sdpa(original: Any) -> Any:
    """What the original says while a model is exported, without comparing the mask's length with
    what depends on how many tokens were dropped."""
    signature = inspect.signature(original)

    def ignore(*args: Any, **kwargs: Any) -> Any:
        offset = signature.bind(*args, **kwargs).arguments["kv_offset"]
        return False if isinstance(offset, torch.SymInt) else original(*args, **kwargs)

    return ignore


@register_patch("dynamo", "transformers.cache_utils.DynamicLayer.get_seq_length")
def _seq_length(original: Any) -> Any:
    """A layer without tokens has keys of length 0: what they say needs no branch."""

    def get_seq_length(self: Any) -> Any:
        grows = self.is_initialized and self.keys.dim() > 2
        return self.keys.shape[-2] if grows else original(self)

    return get_seq_length


@register_patch("dynamo", "transformers.cache_utils.StaticSlidingWindowLayer.get_mask_sizes")
def _static_mask_sizes(original: Any) -> Any:
    """The states are as long as the layer where its size is enough for the new tokens."""

    def get_mask_sizes(self: Any, query_length: Any) -> tuple[Any, Any]:
        if not _size_is_enough(self, query_length):
            return original(self, query_length)  # type: ignore[no-any-return]
        seen = self.cumulative_length_int
        return self.max_cache_len, _max(seen - self.max_cache_len + 1, 0)

    return get_mask_sizes


@register_patch("dynamo", "transformers.cache_utils.StaticSlidingWindowLayer.update")
def _static_update(original: Any) -> Any:
    """New tokens go to the first free places, or one to the last place after all have moved up."""

    def update(self: Any, keys: Any, values: Any, *args: Any, **kwargs: Any) -> Any:
        count = keys.shape[-2]
        if not _size_is_enough(self, count):
            return original(self, keys, values, *args, **kwargs)
        seen, size = self.cumulative_length_int, self.max_cache_len
        free = _min(_max(size - seen, 0), 1)
        places = torch.arange(count, device=self.device) + _min(seen, size - 1)
        moved = (torch.arange(size, device=self.device) + (1 - free)).clamp(max=size - 1)
        for held, new in ((self.keys, keys), (self.values, values)):
            held.copy_(held.index_select(2, moved).index_copy(2, places, new))
        self.cumulative_length_int = seen + count
        self.cumulative_length.add_(free * count)  # stops when the window is full
        return self.keys, self.values

    return update


def _size_is_enough(layer: Any, count: Any) -> bool:
    """Whether the new tokens of a layer of fixed size fit in, or are one: decided as one condition,
    which holds for a full window too. One token of the sample stays one."""
    seen, size = layer.cumulative_length_int, layer.max_cache_len
    if not _seen_is_symbolic(seen):
        return False
    one = not isinstance(count, torch.SymInt) or _core.sample_of(count.node) == 1
    return bool(count == 1 if one else _min(seen, size - 1) + count <= size)


def _seen_is_symbolic(seen: Any) -> bool:
    """Whether the layer's count is an input; what has seen nothing yet starts from 0."""
    return isinstance(seen, torch.SymInt)
