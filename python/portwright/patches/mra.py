"""MRA: attention masks of any batch.

Self-attention squeezes a mask of shape (batch, length) before it repeats and reshapes it, which
gives the same with and without an axis of size 1: no question about the batch is needed.
"""

from __future__ import annotations

from typing import Any

from portwright.decisions import as_operator
from portwright.exporters.patching import register_patch


@register_patch(
    "dynamo",
    "transformers.models.mra.*.MraSelfAttention.forward",
    sources=["c8c5bbbd"],
)
def _self_attention(original: Any) -> Any:
    return as_operator(original)
