"""SAM-HQ: high-quality features for every prompt, at any batch and number of prompts.

The mask decoder repeats the features of one image in one way and those of several in another, and
leaves them alone for one prompt each. These are ways to one result, so the questions are answered
as for sizes of two and more, which gives it for one as well.
"""

from __future__ import annotations

from typing import Any

from portwright.decisions import as_operator
from portwright.exporters.patching import register_patch


@register_patch(
    "dynamo",
    "transformers.models.sam_hq.*.SamHQMaskDecoder.forward",
    sources=["05f260a3"],
)
def _mask_decoder(original: Any) -> Any:
    return as_operator(original)
