"""Recurrent layers in ExecuTorch's runtime: a loop where the number of steps is symbolic."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.export import Dim

from portwright import tree
from portwright.exporters import ExecutorchConfig, ExecutorchExporter

pytest.importorskip("executorch", reason="executorch, whose runtime runs .pte files, is absent")

LAYERS: dict[str, torch.nn.RNNBase] = {
    f"{kind.__name__.lower()}_{label}": kind(5, 6, **options).eval()
    for kind in (torch.nn.LSTM, torch.nn.GRU, torch.nn.RNN)
    for label, options in {
        "plain": {},
        "deep": {"num_layers": 2, "bidirectional": True, "batch_first": True},
        "unbiased": {"bias": False},
    }.items()
} | {
    "lstm_projected": torch.nn.LSTM(5, 6, proj_size=3, bidirectional=True).eval(),
    "rnn_relu": torch.nn.RNN(5, 6, nonlinearity="relu").eval(),
}


def inputs_of(layer: torch.nn.RNNBase, batch: int, steps: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(10 * batch + steps)
    shape = (batch, steps, 5) if layer.batch_first else (steps, batch, 5)
    return {"input": torch.randn(shape, generator=generator)}


def check(program: Any, layer: torch.nn.RNNBase, inputs: dict[str, Any]) -> None:
    with torch.no_grad():
        expected = layer(**inputs)
    found = program(**inputs)
    for (_, a), (_, b) in zip(tree.flatten(found)[0], tree.flatten(expected)[0], strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("name", LAYERS)
def test_dynamic(name: str) -> None:
    layer = LAYERS[name]
    names = ("batch", "steps") if layer.batch_first else ("steps", "batch")
    shapes = {"input": {i: Dim(name, max=32) for i, name in enumerate(names)}}
    config = ExecutorchConfig(dynamic_shapes=shapes)
    program = ExecutorchExporter().export(layer, inputs_of(layer, 2, 7), config)
    for batch, steps in ((2, 7), (1, 1), (3, 20)):
        check(program, layer, inputs_of(layer, batch, steps))


@pytest.mark.parametrize("name", LAYERS)
def test_static(name: str) -> None:
    inputs = inputs_of(LAYERS[name], 2, 4)
    program = ExecutorchExporter().export(LAYERS[name], inputs, ExecutorchConfig())
    check(program, LAYERS[name], inputs)


def test_a_state_of_the_caller() -> None:
    layer = torch.nn.LSTM(5, 6).eval()
    inputs = inputs_of(layer, 2, 3)
    inputs["hx"] = (torch.randn(1, 2, 6), torch.randn(1, 2, 6))
    program = ExecutorchExporter().export(
        layer, inputs, ExecutorchConfig(dynamic=True, upper_bounds=16)
    )
    check(program, layer, inputs)
    inputs = inputs_of(layer, 2, 9) | {"hx": (torch.randn(1, 2, 6), torch.randn(1, 2, 6))}
    check(program, layer, inputs)
