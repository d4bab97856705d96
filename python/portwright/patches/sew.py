"""SEW and SEW-D: sounds of any length.

The encoder squeezes pairs of frames, and afterwards pads by zeros what an odd number of frames has
lost: a branch that would bind the program to odd or to even lengths. Here as many zeros as a pair
has frames always follow, and what is more than the encoder was given is cut off again.
"""

from __future__ import annotations

from typing import Any

import torch

from portwright.exporters.patching import register_patch


@register_patch(
    "dynamo",
    "transformers.models.sew.*.SEWUpsampling.forward",
    "transformers.models.sew_d.*.SEWDUpsampling.forward",
    sources=["c3921a79"],
)
def _upsampling(original: Any) -> Any:
    def forward(self: Any, hidden_states: torch.Tensor) -> torch.Tensor:
        frames = original(self, hidden_states)
        return torch.nn.functional.pad(frames, (0, 0, 0, self.squeeze_factor))

    return forward


@register_patch(
    "dynamo",
    "transformers.models.sew.*.SEWEncoder.forward",
    "transformers.models.sew_d.*.SEWDEncoder.forward",
    sources=["a8eafd74", "bf4a2ed2"],
)
def _encoder(original: Any) -> Any:
    def forward(self: Any, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        frames = hidden_states.shape[1]
        result = original(self, hidden_states, *args, **kwargs)
        result["last_hidden_state"] = result.last_hidden_state[:, :frames]
        return result

    return forward
