"""Lists of symbolic length: what stays unread, and what unrolls a loop."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from portwright.capture import CapturedProgram, capture
from portwright.exporters import DynamoExporter


def check(model: nn.Module, program: CapturedProgram, **inputs: torch.Tensor) -> None:
    with torch.no_grad():
        expected = model(**inputs)
    torch.testing.assert_close(program.run(inputs), expected)


SAMPLE = {"x": torch.randn(7, 3), "lengths": torch.tensor([3, 4])}
OTHER = {"x": torch.randn(9, 3), "lengths": torch.tensor([1, 5, 3])}


def test_pieces_that_are_joined_again_fix_nothing() -> None:
    class Joins(nn.Module):
        def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
            return torch.cat(torch.split(x, lengths.tolist()), dim=0) * len(lengths)

    model = Joins()
    program = capture(model, SAMPLE, dynamic=True)
    check(model, program, **SAMPLE)
    check(model, program, **OTHER)


def test_the_largest_and_the_sum_of_lengths_are_symbols() -> None:
    class Pads(nn.Module):
        def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
            sizes = lengths.tolist()
            return torch.zeros(max(sizes), min(sizes)) + sum(sizes) + x.sum()

    model = Pads()
    program = capture(model, SAMPLE, dynamic=True)
    check(model, program, **SAMPLE)
    check(model, program, **OTHER)


class Attends(nn.Module):
    implementation = "sdpa"

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.implementation, eager_attention)
        heads = x.view(1, -1, 1, 3).transpose(1, 2)
        splits = [torch.split(tensor, lengths.tolist(), dim=2) for tensor in (heads,) * 3]
        outputs = [
            attend(self, q, k, v, attention_mask=None, is_causal=False, dropout=0.0, scaling=0.5)[0]
            for q, k, v in zip(*splits, strict=True)
        ]
        return torch.cat(outputs, dim=1)


def eager_attention(
    module: nn.Module,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    **kwargs: object,
) -> tuple[torch.Tensor, None]:
    scores = q @ k.transpose(-1, -2) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    return (scores.softmax(-1) @ v).transpose(1, 2), None


def test_attention_over_pieces_is_attention_with_a_block_diagonal_mask() -> None:
    for implementation in ("sdpa", "eager"):
        model = Attends()
        model.implementation = implementation
        program = DynamoExporter().export(model, dict(SAMPLE), {"dynamic": True}).captured
        check(model, program, **SAMPLE)
        check(model, program, **OTHER)


def test_a_loop_that_needs_single_pieces_is_captured_as_one() -> None:
    class Sums(nn.Module):
        def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
            return torch.stack([piece.sum(0) for piece in torch.split(x, lengths.tolist())])

    class Counts(nn.Module):
        def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
            pieces = [piece.reshape(-1, 3) for piece in torch.split(x, lengths.tolist())]
            return torch.cat(pieces) + len(pieces)

    class Pairs(nn.Module):
        def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
            pieces = torch.split(x, lengths.tolist())
            return scaled_dot_product_attention(*[piece[None] for piece in (pieces[0],) * 3])

    for model in (Sums(), Counts(), Pairs()):
        program = capture(model, SAMPLE, dynamic=True)
        check(model, program, **SAMPLE)
        check(model, program, **OTHER)


def test_a_loop_whose_pieces_are_all_needed_at_once_is_unrolled_and_said() -> None:
    class Generates(nn.Module):
        def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
            return torch.stack(tuple(piece.sum(0) for piece in torch.split(x, lengths.tolist())))

    program = capture(Generates(), SAMPLE, dynamic=True)
    check(Generates(), program, **SAMPLE)
    assert any("lengths.size(0) is fixed at 2" in note for note in program.notes)


def test_pieces_are_padded_without_reading_them() -> None:
    class Pads(nn.Module):
        def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, ...]:
            pad = nn.utils.rnn.pad_sequence
            pieces = torch.split(x, lengths.tolist())
            return pad(pieces), pad(pieces, batch_first=True, padding_value=7.0)

    model = Pads()
    program = capture(model, SAMPLE, dynamic=True)
    check(model, program, **SAMPLE)
    check(model, program, **OTHER)


class Positions(nn.Module):
    """What models do with list(range(length)), as Funnel and CPM-Ant do it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        places = list(range(x.shape[0]))
        pooled = [-1] + places[1:-1][::2]  # noqa: RUF005
        tail = pooled[1:]
        ends = [places[0], places[-1], len(places), pooled[0], pooled[-1], len(pooled), len(tail)]
        reverse = torch.tensor(list(range(x.shape[0] - 1))[::-1])
        return x.sum() * torch.tensor(ends).sum() + reverse


@pytest.mark.parametrize("sizes", [(6, 9), (7, 4), (5, 12)])
def test_ranges_of_symbolic_length(sizes: tuple[int, int]) -> None:
    model = Positions()
    program = capture(model, {"x": torch.ones(sizes[0])}, dynamic=True)
    assert not any("is fixed" in note for note in program.notes)
    for size in sizes:
        check(model, program, x=torch.ones(size))


def test_rows_that_are_joined_again_fix_nothing() -> None:
    class Joins(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            rows = list(x)
            return torch.cat(rows, dim=0).sum() + torch.stack(rows) * len(rows)

    model = Joins()
    program = capture(model, {"x": torch.randn(3, 4)}, dynamic=True)
    check(model, program, x=torch.randn(5, 2))


def test_tensors_of_symbolic_numbers_stay_symbolic() -> None:
    class Numbers(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
            rows, total = x.shape[0], x.sum().to(torch.int32)
            return (
                torch.tensor(rows),
                torch.tensor([[rows, 2], [3, rows * 2]]),
                torch.tensor([rows / 2, 1]),
                torch.tensor([rows], dtype=torch.float64),
                torch.as_tensor([rows, 4]),
                torch.tensor([total, 3]),
            )

    model = Numbers()
    program = capture(model, {"x": torch.ones(3, 4)}, dynamic=True)
    for size in (3, 5):
        inputs = {"x": torch.ones(size, 4)}
        expected = model(**inputs)
        got = program.run(inputs)
        assert [item.dtype for item in got[:5]] == [item.dtype for item in expected[:5]]
        for actual, wanted in zip(got, expected, strict=True):
            assert torch.equal(actual.to(wanted.dtype), wanted)
