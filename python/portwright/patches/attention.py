"""Attention over packed sequences: towers that split by lengths and attend piece by piece."""

from __future__ import annotations

import functools
from typing import Any

from portwright import lazy_lists
from portwright.exporters.patching import register_patch


@register_patch("dynamo", "transformers.modeling_utils.AttentionInterface.get_interface")
def _get_interface(original: Any) -> Any:
    """Every attention function also takes pieces; see `lazy_lists`."""

    def get_interface(self: Any, *args: Any, **kwargs: Any) -> Any:
        attention = original(self, *args, **kwargs)
        return functools.wraps(attention)(lazy_lists.attention_over_pieces(attention))

    return get_interface
