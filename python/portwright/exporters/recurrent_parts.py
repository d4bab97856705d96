"""Recurrent layers step by step: a loop where the number of steps is symbolic.

The operands are those of PyTorch's operators (native_functions.yaml), the formulas those of
torch.nn.LSTM, GRU and RNN. Shapes: x [steps, batch, features], or [batch, steps, features] with
`batch_first`; states [layers * directions, batch, hidden].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from portwright.higher_order import rounds

# (what the input gives to the gates, the states, what a hidden state gives to the gates) to the
# states after the step, of which the first is the step's output.
Cell = Callable[[Tensor, list[Tensor], Callable[[Tensor], Tensor]], list[Tensor]]


def _lstm_cell(
    given: Tensor, states: list[Tensor], recur: Callable[[Tensor], Tensor]
) -> list[Tensor]:
    hidden, memory = states
    write, keep, new, show = (given + recur(hidden)).chunk(4, -1)
    memory = keep.sigmoid() * memory + write.sigmoid() * new.tanh()
    return [show.sigmoid() * memory.tanh(), memory]


def _gru_cell(
    given: Tensor, states: list[Tensor], recur: Callable[[Tensor], Tensor]
) -> list[Tensor]:
    reset, update, new = given.chunk(3, -1)
    reset_before, update_before, new_before = recur(states[0]).chunk(3, -1)
    update = (update + update_before).sigmoid()
    new = (new + (reset + reset_before).sigmoid() * new_before).tanh()
    return [(states[0] - new) * update + new]


def _tanh_cell(
    given: Tensor, states: list[Tensor], recur: Callable[[Tensor], Tensor]
) -> list[Tensor]:
    return [(given + recur(states[0])).tanh()]


def _relu_cell(
    given: Tensor, states: list[Tensor], recur: Callable[[Tensor], Tensor]
) -> list[Tensor]:
    return [(given + recur(states[0])).relu()]


def _layers(cell: Cell, x: Tensor, states: list[Tensor], *options: Any) -> tuple[Tensor, ...]:
    weights, has_biases, layers, dropout, train, bidirectional, batch_first = options
    if train and dropout:
        raise NotImplementedError("dropout between recurrent layers in training")
    x = x.transpose(0, 1) if batch_first else x
    directions = 2 if bidirectional else 1
    per_cell = len(weights) // (layers * directions)
    last = []
    for layer in range(layers):
        found = []
        for index in range(layer * directions, (layer + 1) * directions):
            parts = weights[index * per_cell : (index + 1) * per_cell]
            start = [state[index] for state in states]
            reverse = index % directions == 1
            steps, end = _one_way(cell, x, start, parts, has_biases, reverse)
            found.append(steps)
            last.append(end)
        x = torch.cat(found, -1)
    ends = [torch.stack(parts) for parts in zip(*last, strict=True)]
    return x.transpose(0, 1) if batch_first else x, *ends


def _one_way(
    cell: Cell,
    x: Tensor,
    states: list[Tensor],
    weights: list[Tensor],
    has_biases: bool,
    reverse: bool,
) -> tuple[Tensor, list[Tensor]]:
    """One layer in one direction: the outputs of all steps, and the states after the last."""
    own, before = (weights[2], weights[3]) if has_biases else (None, None)
    projection = weights[-1] if len(weights) in (3, 5) else None
    given = linear(x, weights[0], own)
    last = given.shape[0] - 1

    def step(states: list[Tensor], index: Any) -> tuple[list[Tensor], list[Tensor]]:
        now = given.select(0, last - index if reverse else index)
        states = cell(now, states, lambda hidden: linear(hidden, weights[1], before))
        if projection is not None:
            states[0] = linear(states[0], projection)
        return states, [states[0]]

    ends, (steps,) = rounds("recurrent layer", given.shape[0], states, step)
    return steps.flip(0) if reverse else steps, ends


def lstm(x: Tensor, states: list[Tensor], *options: Any) -> tuple[Tensor, ...]:
    """The outputs, the last hidden states and memories."""
    return _layers(_lstm_cell, x, states, *options)


def _of_one_state(cell: Cell) -> Callable[..., tuple[Tensor, ...]]:
    def layers(x: Tensor, state: Tensor, *options: Any) -> tuple[Tensor, ...]:
        return _layers(cell, x, [state], *options)

    return layers


PARTS: dict[str, Any] = {
    "aten.lstm.input": lstm,
    "aten.gru.input": _of_one_state(_gru_cell),
    "aten.rnn_tanh.input": _of_one_state(_tanh_cell),
    "aten.rnn_relu.input": _of_one_state(_relu_cell),
}
