"""Attention as `transformers` dispatches it: over packed pieces, and with masks that eager skips.

In eager mode `transformers` makes no mask where the 2-D attention mask is all ones, and then
attends causally or not as the module says (`is_causal`). While a model is traced it always makes
the mask. Where mask and module disagree (a causal mask for a module that is not causal), the two
differ; here the mask says, with the data it is given, what eager does.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any

import torch
from torch.fx.experimental.symbolic_shapes import statically_known_true

from portwright import lazy_lists
from portwright.decisions import as_operator
from portwright.exporters.patching import register_patch

_SKIP = "_portwright_skip"


@register_patch("dynamo", "transformers.modeling_utils.AttentionInterface.get_interface")
def _get_interface(original: Any) -> Any:
    """Every attention function also takes pieces, and masks that eager may skip."""

    def get_interface(self: Any, *args: Any, **kwargs: Any) -> Any:
        attention = original(self, *args, **kwargs)
        over_pieces = lazy_lists.attention_over_pieces(attention)
        without_length_guards = as_operator(over_pieces)

        def attend(
            module: Any, query: Any, key: Any, value: Any, attention_mask: Any = None, **kwargs: Any
        ) -> Any:
            skip = getattr(attention_mask, _SKIP, None)
            if skip is not None:
                attention_mask = _as_in_eager(module, attention_mask, skip, kwargs)
            any_length = _any_length(attention, module, query, key, attention_mask, kwargs)
            run = without_length_guards if any_length else over_pieces
            return run(module, query, key, value, attention_mask=attention_mask, **kwargs)

        return functools.wraps(attention)(attend)

    return get_interface


@register_patch("dynamo", "transformers.masking_utils.AttentionMaskInterface.__getitem__")
@register_patch("dynamo", "transformers.utils.generic.GeneralInterface.__getitem__")
def _get_mask_function(original: Any) -> Any:
    """`sdpa_mask` notes on the mask when eager would have made none."""

    def __getitem__(self: Any, key: str) -> Any:
        function = original(self, key)
        if getattr(function, "__name__", "") != "sdpa_mask":
            return function
        signature = inspect.signature(function)

        def sdpa_mask(*args: Any, **kwargs: Any) -> Any:
            mask = function(*args, **kwargs)
            if isinstance(mask, torch.Tensor):
                given = signature.bind(*args, **kwargs)
                given.apply_defaults()
                setattr(mask, _SKIP, given.arguments)
            return mask

        return functools.wraps(function)(sdpa_mask)

    return __getitem__


@register_patch("dynamo", "torch.nn.functional.scaled_dot_product_attention")
def _scaled_dot_product_attention(original: Any) -> Any:
    """Takes `q_length > 1 and ...` for `is_causal`, which is a symbol where one query was given."""

    def scaled_dot_product_attention(*args: Any, **kwargs: Any) -> Any:
        if "is_causal" in kwargs:
            kwargs["is_causal"] = bool(kwargs["is_causal"])
        return original(*args, **kwargs)

    return functools.wraps(original)(scaled_dot_product_attention)


def _any_length(
    attention: Any, module: Any, query: Any, key: Any, mask: Any, kwargs: dict[str, Any]
) -> bool:
    """Whether `sdpa_attention_forward` gives one result whatever it does about a single query.

    For one query it packs heads and leaves out `is_causal`. That matters only to causal attention
    without a mask over more keys than queries, where the one query attends to all keys.
    """
    if getattr(attention, "__name__", "") != "sdpa_attention_forward":
        return False
    causal = kwargs.get("is_causal")
    causal = getattr(module, "is_causal", True) if causal is None else causal
    if mask is not None or not causal:
        return True
    return bool(statically_known_true(query.shape[2] == key.shape[2]))


def _as_in_eager(module: Any, mask: torch.Tensor, given: dict[str, Any], kwargs: Any) -> Any:
    causal_module = getattr(module, "is_causal", True)
    if kwargs.get("is_causal") not in (None, causal_module):
        return mask  # some modules ask themselves whether there is a mask
    causal_mask = given["allow_is_causal_skip"]
    if not (causal_mask or given["allow_is_bidirectional_skip"]) or causal_mask == causal_module:
        return mask
    size, window = given["q_length"], given["local_size"]
    if (causal_mask and size != given["kv_length"]) or (
        window is not None and given["kv_length"] >= window
    ):
        return mask
    padding = given["attention_mask"]
    unmasked = torch.ones((), dtype=torch.bool, device=mask.device)
    if padding is not None:
        unmasked = padding.bool().all()
    if not causal_module:
        return mask | unmasked
    places = torch.arange(given["kv_length"], device=mask.device)
    causal = places[None, :] <= torch.arange(size, device=mask.device)[:, None]
    return torch.where(unmasked, causal, mask)


@register_patch("dynamo", "transformers.masking_utils._preprocess_mask_arguments")
def _preprocess_mask_arguments(original: Any) -> Any:
    """Position ids of one row are expanded to the batch first.

    The original expands them when the batch is not 1, a decision that would exclude a batch of 1,
    although expanding does nothing there.
    """
    signature = inspect.signature(original)

    def preprocess(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs)
        position_ids = given.arguments.get("position_ids")
        batch = given.arguments["inputs_embeds"].shape[0]
        if position_ids is not None and position_ids.dim() == 2 and isinstance(batch, torch.SymInt):
            rows = position_ids.shape[0]
            if isinstance(rows, int) and rows == 1:
                given.arguments["position_ids"] = position_ids.expand(batch, -1)
        return original(*given.args, **given.kwargs)

    return preprocess
