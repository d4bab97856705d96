"""SEW's encoder: audio of any length.

The original pads what it upsamples where that is shorter than its input, which fixes the remainder
of the length by the squeeze factor. Here it pads by what is missing, which may be nothing.
"""

from __future__ import annotations

import functools
from typing import Any

import torch

from portwright.exporters.patching import register_patch


@register_patch("dynamo", "transformers.models.sew.*.SEWEncoder.forward")
def _encoder(original: Any) -> Any:
    def padded(upsample: Any, length: Any, hidden_states: torch.Tensor) -> torch.Tensor:
        longer = upsample(hidden_states)
        missing = torch.sym_max(length - longer.shape[1], 0)  # type: ignore[no-untyped-call]
        return torch.nn.functional.pad(longer, (0, 0, 0, missing))[:, :length]

    def forward(self: Any, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        layer = self.upsample
        layer.forward = functools.partial(padded, layer.forward, hidden_states.shape[1])
        try:
            return original(self, hidden_states, *args, **kwargs)
        finally:
            del layer.forward

    return forward
