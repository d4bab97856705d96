"""Lowerings of recurrent layers."""

from __future__ import annotations

import pytest
import torch

from test_onnx_lowering import Case, check

_LAYERS = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}
_RECURRENT: dict[str, torch.nn.Module] = {
    kind + label: layer(5, 6, **options).eval()
    for kind, layer in _LAYERS.items()
    for label, options in {
        "": {"num_layers": 2},
        "_both": {"num_layers": 2, "bidirectional": True},
        "_batch_first": {"batch_first": True},
        "_no_bias": {"bias": False},
    }.items()
} | {
    "lstm_projected" + label: torch.nn.LSTM(5, 6, proj_size=3, **options).eval()
    for label, options in {
        "": {},
        "_both": {"num_layers": 2, "bidirectional": True},
        "_no_bias": {"bias": False, "batch_first": True},
    }.items()
}


@pytest.mark.parametrize("opset", [18, 23, 28])
@pytest.mark.parametrize("name", _RECURRENT)
def test_recurrent_layers(name: str, opset: int) -> None:
    x = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    layer = _RECURRENT[name]
    check(Case(name, lambda a: layer(a), [x], {0: (2,)}), opset)
