"""Loops with a symbolic number of rounds: one node where rounds are alike, else unrolled."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import onnx
from portwright import _core
from portwright.capture import CapturedProgram, capture
from portwright.errors import GuardViolatedError
from portwright.exporters import OnnxConfig, OnnxExporter


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


class OverRows(nn.Module):
    """Rows of a tensor, an element of another one, and their number."""

    def forward(self, x: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
        total = torch.zeros(x.shape[1])
        for i, (row, scale) in enumerate(zip(x, n, strict=False)):
            total = total * 0.5 + row * scale + i
        return total


class ReadsNumbers(nn.Module):
    """Rounds of different sizes, joined again."""

    def forward(self, x: torch.Tensor, n: torch.Tensor) -> tuple[torch.Tensor, ...]:
        parts, counts = [], []
        for row, (size, _) in zip(x, torch.stack([n, n], 1).tolist(), strict=False):
            part = row[:size] * 2
            parts.append(part)
            counts.append(part.shape[0])
        return torch.cat(parts, dim=0), torch.tensor(counts) + 1


class Comprehends(nn.Module):
    def forward(self, x: torch.Tensor, n: torch.Tensor) -> tuple[torch.Tensor, ...]:
        sizes = n.tolist()
        rows = [row.flip(0) for row in x]
        parts = [row[: size + 1] for row, size in zip(rows, sizes, strict=False)]
        doubled = [size * 2 for size in sizes]
        padded = nn.utils.rnn.pad_sequence(parts, batch_first=True, padding_value=3.0)
        return torch.stack(rows, dim=1), padded, torch.tensor(doubled), parts[0].sum()


class SplitsAndJoins(nn.Module):
    """Pieces of one tensor, in a loop of their own."""

    def forward(self, x: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
        flat = x.flatten()[: n.sum().item()]
        outputs = []
        for piece in torch.split(flat, n.tolist()):
            outputs.append(piece.cumsum(0))
        return torch.cat(outputs) + flat


class AppendsTwo(nn.Module):
    def forward(self, x: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
        outputs, weights = [], []
        for row in x:
            outputs.extend([row * 2, row + 1])
            weights.append(None)
        total = torch.stack(outputs) * n.sum()
        return total if weights[0] is None else -total


class WritesWhatItReads(nn.Module):
    def forward(self, x: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
        output = torch.zeros_like(x)
        for i, (row, count) in enumerate(zip(x, n, strict=False)):
            repeated = row[: count.item()]
            output[i, : repeated.size(0)] = repeated
        return output


class ReusesNames(nn.Module):
    """A variable from before the loop that each round sets before it reads it."""

    def forward(self, x: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
        part, size = x[0, :1], 1
        outputs = [part * size]
        parts = []
        for row, size in zip(x, n.tolist(), strict=False):
            part = row[:size]
            parts.append(part * size)
        return torch.cat([*outputs, torch.cat(parts)])


class CarriesAView(nn.Module):
    """A view of what was written before the loop."""

    def forward(self, x: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
        written = x * 1
        first = written[0]
        written += 1
        for row, scale in zip(x, n, strict=False):
            first = first * scale + row
        return first


class CountsInPlace(nn.Module):
    """A constant that is written in place with constants."""

    def forward(self, x: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
        count = torch.zeros(1)
        for _ in n.tolist():
            count += 1
        return x * count


class NestedReads(nn.Module):
    def forward(self, x: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
        parts = []
        for row, size in zip(x, n.tolist(), strict=False):
            total = row[:1] * 0
            for j in range(size):
                total = total + row[j]
            parts.append(row[:size] + total)
        return torch.cat(parts)


class RepeatsConstants(nn.Module):
    def forward(self, x: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
        scales = [2] * len(n)
        rows = [row * scale for row, scale in zip(x, scales, strict=False)]
        return torch.stack(rows) + torch.tensor(scales[: len(rows)])[:, None]


READING = [
    OverRows(),
    ReadsNumbers(),
    Comprehends(),
    SplitsAndJoins(),
    AppendsTwo(),
    WritesWhatItReads(),
    ReusesNames(),
    CarriesAView(),
    CountsInPlace(),
    NestedReads(),
    RepeatsConstants(),
]


def reading_inputs(sizes: list[int], width: int) -> dict[str, torch.Tensor]:
    return {"x": torch.randn(len(sizes), width), "n": torch.tensor(sizes)}


@pytest.mark.parametrize("model", READING, ids=lambda model: type(model).__name__)
def test_a_loop_over_rows_runs_any_number_of_rounds(model: nn.Module) -> None:
    program = capture(model, reading_inputs([2, 4], 5), dynamic=True)
    assert "portwright.loop.default" in program.program.op_counts()
    assert not any("is fixed" in note for note in program.notes), program.notes
    again = _core.Program.parse(program.program.text())
    assert _core.Program.parse(again.text()).text() == again.text()
    again.run_passes()
    again.verify()
    program.program.run_passes()
    program.program.verify()
    for sizes, width in [([2, 4], 5), ([3, 1, 6, 2], 7), ([4], 5)]:
        inputs = reading_inputs(sizes, width)
        check(model, program, **inputs)
        got = _core.Interpreter(program.program).run(list(inputs.values()))
        torch.testing.assert_close(program.output_tree.unflatten(got), model(**inputs))


class DecidesPerRound(nn.Module):
    def forward(self, x: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
        total = torch.zeros(x.shape[1])
        for i, (row, size) in enumerate(zip(x, n.tolist(), strict=False)):
            total = total + (row if size > i else row * 2)
        return total


def test_what_a_round_decides_is_checked_in_every_round() -> None:
    model = DecidesPerRound()
    program = capture(model, reading_inputs([2, 4], 5), dynamic=True)
    assert program.program.op_counts()["portwright.loop.default"] == 1
    check(model, program, **reading_inputs([1, 2, 3], 5))
    for sizes in ([0, 2], [1, 2, 3, 4, 4, 2]):
        with pytest.raises(GuardViolatedError):
            program.run(reading_inputs(sizes, 5))


def test_rounds_of_the_sample_that_decide_differently_are_unrolled() -> None:
    model = DecidesPerRound()
    inputs = reading_inputs([2, 4, 1], 5)
    program = capture(model, inputs, dynamic=True)
    assert "portwright.loop.default" not in program.program.op_counts()
    check(model, program, **inputs)


class FirstByFlag(nn.Module):
    def forward(self, x: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
        first = True
        total = torch.zeros(x.shape[1])
        for row in x:
            total = total + (row if first else row * 2)
            first = False
        return total + n.sum()


class FirstByList(nn.Module):
    def forward(self, x: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
        outputs: list[torch.Tensor] = []
        for row in x:
            outputs.append(row * 2 if outputs else row)
        return torch.stack(outputs) + n.sum()


class FirstByAttribute(nn.Module):
    def forward(self, x: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
        self.scale = 0
        total = torch.zeros(x.shape[1])
        for row in x:
            self.scale += 1
            total = total + row * self.scale
        return total + n.sum()


class CountsInAttribute(nn.Module):
    """What rounds leave in an attribute, used after the loop."""

    def forward(self, x: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
        self.rounds = 0
        total = torch.zeros(x.shape[1])
        for row in x:
            total = total + row
            self.rounds += 1
        return total * self.rounds + n.sum()


class ReadsAfterwards(nn.Module):
    """A number that the last round read."""

    def forward(self, x: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
        total = torch.zeros(x.shape[1])
        for row, size in zip(x, n.tolist(), strict=False):
            total = total + row * size
        return total[:size]


class DecidesAfterwards(nn.Module):
    def forward(self, x: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
        total = torch.zeros(x.shape[1])
        for row, size in zip(x, n.tolist(), strict=False):
            total = total + row * size
        return total if size > 3 else total * 2


class CollectsTwoDims(nn.Module):
    def forward(self, x: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
        parts = []
        for row, size in zip(x, n.tolist(), strict=False):
            parts.append(torch.outer(row[:size], row[:size]))
        return sum(part.sum() for part in parts)


NOT_ALIKE = [
    CountsInAttribute,
    FirstByFlag,
    FirstByList,
    FirstByAttribute,
    ReadsAfterwards,
    DecidesAfterwards,
]


@pytest.mark.parametrize("kind", [*NOT_ALIKE, CollectsTwoDims])
def test_rounds_that_are_not_alike_are_unrolled(kind: type[nn.Module]) -> None:
    model = kind()
    inputs = reading_inputs([2, 4], 5)
    program = capture(model, inputs, dynamic=True)
    assert "portwright.loop.default" not in program.program.op_counts()
    check(model, program, **inputs)


class PairsOfData(nn.Module):
    """A round takes another branch where the data has no two elements for it."""

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        result = torch.zeros(x.shape[0])
        for i in range(x.shape[0]):
            chosen = torch.nonzero(mask[i]).flatten()
            pairs = chosen.shape[0] // 2
            if pairs > 0:
                result[i] = x[i].index_select(0, chosen[: pairs * 2]).sum()
        return result


def test_branches_on_parts_of_data_sizes_are_checked_in_every_round() -> None:
    model = PairsOfData()
    x = torch.randn(4, 6)
    alike = torch.ones(4, 6, dtype=torch.bool)
    program = capture(model, {"x": x, "mask": alike}, dynamic=True)
    check(model, program, x=x, mask=alike)
    with pytest.raises(GuardViolatedError, match="floordiv"):
        program.run({"x": x, "mask": alike.tril(-3)})

    different = alike.tril()  # the first round has one element
    program = capture(model, {"x": x, "mask": different}, dynamic=True)
    check(model, program, x=x, mask=different)
    with pytest.raises(GuardViolatedError):
        program.run({"x": x, "mask": alike})


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pieces_are_joined_in_onnx_runtime(dtype: torch.dtype) -> None:
    """As sequences, which bfloat16 has not; one piece and many."""

    class Windows(torch.nn.Module):
        def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
            return torch.cat([piece - piece.amax(0) for piece in x.split(lengths.tolist())])

    def inputs(lengths: list[int]) -> dict[str, torch.Tensor]:
        return {
            "x": torch.randn(sum(lengths), 3).to(dtype),
            "lengths": torch.tensor(lengths, dtype=torch.int64),
        }

    config = OnnxConfig(dynamic=True, allow_data_assumptions=True, bfloat16_in_float32=False)
    program = OnnxExporter().export(Windows().eval(), inputs([1, 3, 5, 2]), config)
    nodes = {node.op_type for node in program.model_proto.graph.node}
    assert ("ConcatFromSequence" in nodes) == (dtype == torch.float32)
    onnx.checker.check_model(program.model_proto, full_check=True)
    if dtype == torch.bfloat16:
        return  # ONNX Runtime has no kernels to subtract them
    for lengths in ([4], [1] * 50, [2, 7, 1]):
        given = inputs(lengths)
        assert torch.equal(program(**given), Windows()(**given))
