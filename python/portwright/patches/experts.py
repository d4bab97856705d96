"""Mixtures of experts that loop over the experts that the data hits: here over all of them.

Which experts are hit is a list that is read from data: the loop would hold for the sample's only.
Costs the experts that are not hit; the result is the same.
"""

from __future__ import annotations

from typing import Any

import torch

from portwright import _core
from portwright.exporters.patching import register_patch


@register_patch(
    "dynamo",
    "transformers.models.switch_transformers.*.SwitchTransformersExperts.forward",
    sources=["80cf0bac"],
)
def _switch_experts(original: Any) -> Any:
    def forward(
        self: Any,
        hidden_states: torch.Tensor,
        selected_experts: torch.Tensor,
        routing_weights: torch.Tensor,
    ) -> torch.Tensor:
        if not _core.is_traced(hidden_states):
            return original(  # type: ignore[no-any-return]
                self, hidden_states, selected_experts, routing_weights
            )
        result = torch.zeros_like(hidden_states)
        for expert in range(self.num_experts):
            chosen = (selected_experts[:, :, expert] != 0).to(routing_weights.dtype)
            weight = (chosen * routing_weights).sum(1, keepdim=True)
            part = self[f"expert_{expert}"](hidden_states) * weight
            result = result + part.to(hidden_states.dtype)
        return result

    return forward
