"""Loops with a symbolic number of rounds: one node where rounds are alike, else unrolled."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from portwright import _core
from portwright.capture import CapturedProgram, capture


def check(model: nn.Module, program: CapturedProgram, **inputs: torch.Tensor) -> None:
    with torch.no_grad():
        expected = model(**inputs)
    torch.testing.assert_close(program.run(inputs), expected)


class CarriesOn(nn.Module):
    """Local variables that are set anew."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state = torch.zeros(x.shape[0], x.shape[2])
        total = x.new_zeros(())
        for i in range(x.shape[1]):
            step = x[:, i]
            state = state * 0.5 + step
            total = total + state.sum()
        return state + total


class WritesInPlace(nn.Module):
    """Tensors that are written at the counter."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output = torch.zeros_like(x)
        state = torch.zeros(x.shape[0], x.shape[2])
        for i in range(x.shape[1]):
            state += x[:, i]
            output[:, i] = state
        return output


class Appends(nn.Module):
    """Lists that are stacked after the loop."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        states, widths = [], []
        state = x[:, 0]
        for i in range(1, x.shape[1]):
            state = torch.tanh(state + x[:, i])
            states.append(state)
            widths.append(state[:, :1])
        return torch.stack(states, dim=1), torch.cat(widths, dim=-1), state


class Nested(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = torch.zeros(x.shape[2])
        for i in range(x.shape[0]):
            row = torch.zeros(x.shape[2])
            for j in range(0, x.shape[1], 2):
                row = row * 2 + x[i, j]
            total = total + row
        return total


class ReadsUpTo(nn.Module):
    """Slices whose size differs from round to round."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = torch.zeros(x.shape[0], x.shape[2])
        for i in range(x.shape[1]):
            total = total + x[:, : i + 1].sum(1)
        return total


@pytest.mark.parametrize("model", [CarriesOn(), WritesInPlace(), Appends(), Nested(), ReadsUpTo()])
def test_a_loop_runs_any_number_of_rounds(model: nn.Module) -> None:
    program = capture(model, {"x": torch.randn(2, 5, 3)}, dynamic=True)
    assert program.program.op_counts()["portwright.loop.default"] == 1
    assert not any("is fixed" in note for note in program.notes), program.notes
    for sizes in [(2, 5, 3), (3, 9, 2), (1, 2, 4)]:
        check(model, program, x=torch.randn(sizes))
    again = _core.Program.parse(program.program.text())
    assert again.text() == program.program.text()
    program.program.run_passes()
    program.program.verify()
    x = torch.randn(4, 6, 3)
    for interpreter in (program.interpreter, _core.Interpreter(program.program)):
        got = interpreter.run([x])
        torch.testing.assert_close(program.output_tree.unflatten(got), model(x))


class Breaks(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = torch.zeros(x.shape[1])
        for i in range(x.shape[0]):
            if i == 2:
                break
            total = total + x[i]
        return total


class FirstRoundDiffers(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = torch.zeros(x.shape[1])
        for i in range(x.shape[0]):
            total = total + (x[i] if i == 0 else x[i] * 2)
        return total


class CarriesNumbers(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale = 1
        for _ in range(x.shape[0]):
            scale = scale * 2
        return x * scale


class Grows(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = x[:1]
        for i in range(x.shape[0]):
            total = torch.cat([total, x[i : i + 1]])
        return total


class KeepsOneRound(nn.Module):
    """What a round leaves in a new variable, used after the loop."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = torch.zeros(x.shape[1])
        for i in range(x.shape[0]):
            last = x[i] * 2
            total = total + last
        return total + last


class KeepsState(nn.Module):
    """What rounds carry on in an attribute."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.state = torch.zeros(x.shape[1])
        for i in range(x.shape[0]):
            self.state = self.state * 2 + x[i]
        return self.state


UNROLLED = [Breaks, FirstRoundDiffers, CarriesNumbers, Grows, KeepsOneRound, KeepsState]


@pytest.mark.parametrize("kind", UNROLLED)
def test_a_loop_that_is_no_loop_node_is_unrolled_and_said(kind: type[nn.Module]) -> None:
    model = kind()
    program = capture(model, {"x": torch.randn(4, 3)}, dynamic=True)
    assert "portwright.loop.default" not in program.program.op_counts()
    assert any("x.size(0) is" in note for note in program.notes)
    check(model, program, x=torch.randn(4, 3))
