"""In-place operators in files that torch.export.save wrote: read back as torch runs them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import portwright
from portwright import errors
from test_views_and_writes import SIZES, VIEWS

Function = Callable[..., Any]


class Lambda(nn.Module):
    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(x)


def exported(
    model: nn.Module, x: torch.Tensor, path: Path, writes: tuple[str, ...] = ()
) -> torch.export.ExportedProgram:
    """Saved by torch; has the in-place operators that the test is about."""
    auto = torch.export.Dim.AUTO
    program = torch.export.export(model.eval(), (x,), dynamic_shapes=({0: auto},))
    targets = {str(node.target) for node in program.graph.nodes}
    for op in writes:
        assert f"aten.{op}" in targets, targets
    torch.export.save(program, path / "torch.pt2")
    return program


def check(
    function: Function,
    path: Path,
    sizes: list[tuple[int, ...]] = SIZES,
    writes: tuple[str, ...] = (),
    dtype: torch.dtype = torch.float32,
) -> None:
    """Equal to torch's program at all sizes, what is written to the input included."""
    generator = torch.Generator().manual_seed(0)

    def sample(size: tuple[int, ...]) -> torch.Tensor:
        return (torch.randn(size, generator=generator) * 4).to(dtype)

    program = exported(Lambda(function), sample(sizes[0]), path, writes)
    run = portwright.load(path / "torch.pt2").module()
    for size in sizes:
        theirs = sample(size)
        ours = theirs.clone()
        try:
            program.module()(theirs.clone())
        except AssertionError:  # a guard of torch
            with pytest.raises(errors.GuardViolatedError):
                run(x=ours)
            continue
        expected = function(theirs)
        torch.testing.assert_close(run(x=ours), expected, rtol=0, atol=0)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_takes_writes_that_other_views_see(name: str, tmp_path: Path) -> None:
    view = VIEWS[name]

    def writes(x: torch.Tensor) -> Any:
        y = x * 2
        other = y.transpose(0, 1)
        part = view(y)
        part.mul_(3)
        part += 1
        y[0] = 5
        other[1] -= 2
        return y, part, view(y) + 1, other.sum(0)

    check(writes, tmp_path, writes=("mul_.Tensor", "add_.Tensor", "sub_.Tensor"))


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_of_an_input_takes_writes(name: str, tmp_path: Path) -> None:
    def writes(x: torch.Tensor) -> Any:
        VIEWS[name](x).fill_(7)
        return x.sum(), x.view(-1)[1:]

    check(writes, tmp_path, writes=("fill_.Scalar",))


def test_a_chain_of_views_takes_writes_at_every_link(tmp_path: Path) -> None:
    def writes(x: torch.Tensor) -> Any:
        y = x.clone()
        rows = y.view(-1, 2, 3)
        turned = rows.transpose(1, 2)
        row = turned[1:]
        column = row[:, :, 0]
        column.zero_()
        turned.mul_(2)
        row[0].add_(1)
        y.sub_(3)
        rows[:, 1].copy_(column.sum() + 1)
        return y, rows, turned, row, column

    check(writes, tmp_path, writes=("zero_.default", "copy_.default"))


@pytest.mark.parametrize(
    "function",
    [
        lambda y: y.masked_fill_(y > 0, -1),
        lambda y: y.index_put_((torch.tensor([0, 2]),), torch.tensor(3.0)),
        lambda y: y.index_add_(0, torch.tensor([0, 2]), torch.ones(2, 6)),
        lambda y: y.scatter_(1, torch.tensor([[0, 2]]), 4.0),
        lambda y: y.pow_(2),
        lambda y: y.pow_(torch.full((6,), 3.0)),
        lambda y: y.clamp_(min=0),
        lambda y: y.addcmul_(torch.ones(6), torch.full((6,), 2.0), value=3),
        lambda y: y.floor_divide_(torch.tensor(2.0)),
        lambda y: y.gt_(0),
        lambda y: y.logical_not_(),
        lambda y: y.add_(torch.ones(6, dtype=torch.float64)),
        lambda y: y.mul_(torch.tensor(3)),
        lambda y: y.copy_(torch.arange(6)),
        lambda y: y.copy_(torch.tensor(True)),
        lambda y: y.relu_(),
    ],
)
def test_what_is_written_has_the_shape_and_dtype_of_the_tensor(
    function: Function, tmp_path: Path
) -> None:
    def writes(x: torch.Tensor) -> Any:
        y = x * 1
        part = y.t().t()
        function(part)
        return y, part * 1

    check(writes, tmp_path)


def test_narrow_dtypes_stay_narrow(tmp_path: Path) -> None:
    def writes(x: torch.Tensor) -> Any:
        y = x * 1
        y[1:].add_(torch.full((6,), 0.1))  # computed in float32
        y.div_(torch.tensor(3.0))
        return y

    check(writes, tmp_path, dtype=torch.bfloat16)


def test_bitwise_writes(tmp_path: Path) -> None:
    def writes(x: torch.Tensor) -> Any:
        mask = x > 0
        part = mask[1:]
        part |= x[1:] < -2
        part &= x[1:] < 3
        mask[:, 0] ^= True
        return mask, part

    check(writes, tmp_path)


def test_tensors_that_are_the_operand_itself_or_a_copy_of_it(tmp_path: Path) -> None:
    def writes(x: torch.Tensor) -> Any:
        y = x * 1
        same = [
            y.contiguous(),
            y.to(torch.float32),
            y.type_as(x),
            nn.functional.dropout(y, 0.5, False),
            y.reshape(-1, 3),
            y.detach(),
        ]
        copies = [
            y.t().contiguous(),
            y.to(torch.float64),
            y.to(torch.float32, copy=True),
            y.t().reshape(-1),
            y.clone(),
        ]
        y.add_(1)
        same[0][1] = 9
        same[3].mul_(2)
        same[4][0] = 4
        copies[0].fill_(3)
        copies[3][1:] = 2
        return y, same, copies

    check(writes, tmp_path)


def test_views_in_place(tmp_path: Path) -> None:
    def writes(x: torch.Tensor) -> Any:
        y = x * 1
        z = y[1:]
        z.unsqueeze_(0)
        z.transpose_(1, 2)
        z[0, 1] = 5
        z.squeeze_(0)
        z.t_()
        z += 1
        return y, z

    check(writes, tmp_path)


def test_buffers_are_written_through_their_views(tmp_path: Path) -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("counts", torch.zeros(2, 6))
            self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            row = self.counts[1]
            row += x.sum(0)
            self.seen.add_(x.shape[0])
            return row * 2

    exported(Counting(), torch.randn(4, 6), tmp_path, ("add_.Tensor",))
    program = portwright.load(tmp_path / "torch.pt2")
    eager, run = Counting(), program.module()
    for size in (4, 3, 7):
        x = torch.randn(size, 6)
        torch.testing.assert_close(run(x=x), eager(x))
    kinds = {str(spec.kind) for spec in program.graph_signature.output_specs}
    assert "OutputKind.BUFFER_MUTATION" in kinds
    mutated = program.graph_signature.buffers_to_mutate
    assert sorted(mutated.values()) == ["counts", "seen"]
    program.save(tmp_path / "ours.pt2")
    again = torch.export.load(tmp_path / "ours.pt2").module()
    torch.testing.assert_close(again(x=x), eager(x))


def refused(function: Function, path: Path) -> str:
    exported(Lambda(function), torch.randn(4, 6), path)
    with pytest.raises(errors.UnsupportedError) as raised:
        portwright.load(path / "torch.pt2")
    message = str(raised.value)
    assert "run_decompositions" in message
    assert "test_load_writes.py" in message, "the model's line"
    return message


def test_writes_that_cannot_be_followed_are_refused(tmp_path: Path) -> None:
    def through_bytes(x: torch.Tensor) -> torch.Tensor:
        y = x * 1
        y.view(torch.int32).add_(1)
        return y

    def after_meshgrid(x: torch.Tensor) -> Any:
        y = x[0] * 1
        rows, columns = torch.meshgrid(y, y, indexing="ij")
        y.add_(1)
        return rows, columns

    assert "aten.view.dtype" in refused(through_bytes, tmp_path)
    assert "aten.meshgrid" in refused(after_meshgrid, tmp_path)


def test_an_operand_called_self_need_not_be_the_first(tmp_path: Path) -> None:
    check(lambda x: torch.where(x > 0, 2, x), tmp_path)
