"""Masks that eager skips where nothing is padded: the program does what eager does."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import LlamaConfig
from transformers.masking_utils import create_bidirectional_mask, create_causal_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from portwright.exporters import DynamoExporter


class Attention(nn.Module):
    def __init__(self, causal_mask: bool, causal_module: bool) -> None:
        super().__init__()
        self.config = LlamaConfig(attn_implementation="sdpa")
        self.is_causal = causal_module
        self.create = create_causal_mask if causal_mask else create_bidirectional_mask

    def forward(self, x: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        past = {"past_key_values": None} if self.create is create_causal_mask else {}
        mask = self.create(
            config=self.config, inputs_embeds=x, attention_mask=attention_mask, **past
        )
        attend = ALL_ATTENTION_FUNCTIONS.get_interface("sdpa", None)
        heads = x.unsqueeze(1)
        return attend(self, heads, heads, heads, attention_mask=mask, scaling=1.0)[0]


@pytest.mark.parametrize("causal_mask", [True, False])
@pytest.mark.parametrize("causal_module", [True, False])
@pytest.mark.parametrize("sample_is_padded", [True, False])
def test_a_mask_that_eager_may_skip(
    causal_mask: bool, causal_module: bool, sample_is_padded: bool
) -> None:
    model = Attention(causal_mask, causal_module).eval()

    def inputs(batch: int, length: int, padded: bool) -> dict[str, torch.Tensor]:
        mask = torch.ones(batch, length, dtype=torch.long)
        if padded:
            mask[0, -2:] = 0
        return {"x": torch.randn(batch, length, 4), "attention_mask": mask}

    program = DynamoExporter().export(model, inputs(2, 6, sample_is_padded), {"dynamic": True})
    for given in (inputs(2, 6, False), inputs(3, 8, True), inputs(3, 5, False)):
        expected = model(**given)
        got = program.module()(**given)
        torch.testing.assert_close(got, expected)


class OwnMask(Attention):
    """Makes its 2-D mask itself: of a fixed size it is a constant of the program."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return super().forward(x, torch.ones(x.shape[:2], dtype=torch.bool))


@pytest.mark.parametrize("causal_mask", [True, False])
@pytest.mark.parametrize("causal_module", [True, False])
@pytest.mark.parametrize("dynamic", [True, False])
def test_a_mask_of_the_models_own(causal_mask: bool, causal_module: bool, dynamic: bool) -> None:
    model = OwnMask(causal_mask, causal_module).eval()
    x = torch.randn(2, 6, 4)
    program = DynamoExporter().export(model, {"x": x}, {"dynamic": dynamic})
    torch.testing.assert_close(program.module()(x=x), model(x))
