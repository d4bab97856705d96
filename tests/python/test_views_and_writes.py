"""Writes through every kind of view, out= variants, layouts and checks: as in eager."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.fx.experimental.symbolic_shapes import guard_or_false, statically_known_true

from portwright.capture import CapturedProgram, capture
from portwright.errors import GuardViolatedError, PortwrightError
from portwright.exporters import DynamoExporter


class Lambda(nn.Module):
    """A module whose forward is a function of one tensor."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(x)


def captured(function: Callable[..., Any], x: torch.Tensor) -> CapturedProgram:
    return capture(Lambda(function).eval(), {"x": x}, dynamic=True)


def check(function: Callable[..., Any], sizes: list[tuple[int, ...]]) -> CapturedProgram:
    """Captured at the first sizes, equal to eager at all, what is written to the input included."""
    generator = torch.Generator().manual_seed(0)
    program = captured(function, torch.randn(sizes[0], generator=generator))
    for size in sizes:
        theirs = torch.randn(size, generator=generator)
        ours = theirs.clone()
        expected = function(theirs)
        torch.testing.assert_close(program.run({"x": ours}), expected, rtol=0, atol=0)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    return program


# Views of a tensor of shape (n, 6), n at least 3.
VIEWS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "slice": lambda y: y[1:, ::2],
    "slice from the end": lambda y: y[:, -3:-1],
    "select": lambda y: y[:, 2],
    "select the last": lambda y: y[-1],
    "transpose": lambda y: y.transpose(0, 1),
    "t": lambda y: y.t(),
    "permute": lambda y: y[None].permute(2, 0, 1),
    "movedim": lambda y: y.movedim(0, 1),
    "mT": lambda y: y.mT,
    "view": lambda y: y.view(-1, 3),
    "view_as": lambda y: y.view_as(torch.empty(y.shape[0], 6)),
    "flatten": lambda y: y.flatten(),
    "unflatten": lambda y: y.unflatten(1, (2, 3)),
    "reshape": lambda y: y.reshape(y.shape[0], 2, 3),
    "unsqueeze": lambda y: y.unsqueeze(1),
    "squeeze": lambda y: y[:1].squeeze(0),
    "unfold": lambda y: y.unfold(1, 2, 2),
    "unfold the first dim": lambda y: y.unfold(0, 2, 2),
    "as_strided": lambda y: y.as_strided((2, 3), (6, 2), 1),
    "diagonal": lambda y: y.diagonal(),
    "diagonal, offset": lambda y: y.diagonal(1),
    "split": lambda y: y.split(4, 1)[1],
    "split_with_sizes": lambda y: y.split([1, 5], 1)[1],
    "split of rows": lambda y: y.split([1, y.shape[0] - 1])[1],
    "chunk": lambda y: y.chunk(4, 1)[1],
    "tensor_split": lambda y: y.tensor_split(4, 1)[2],
    "unbind": lambda y: y.unbind(1)[3],
    "narrow": lambda y: y.narrow(1, 2, 3),
    "narrow rows": lambda y: y.narrow(0, 1, y.shape[0] - 1),
    "hsplit": lambda y: y.hsplit(2)[1],
    "swapaxes": lambda y: y.swapaxes(0, 1),
    "expand of a dim it has": lambda y: y.expand(-1, 6),
    "detach": lambda y: y.detach(),
    "ellipsis and None": lambda y: y[..., None, 1:4],
    "nested": lambda y: y.view(-1, 2, 3).transpose(1, 2)[1:, :, 0].unsqueeze(0),
}
SIZES = [(4, 6), (3, 6), (7, 6)]


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_takes_writes(name: str) -> None:
    view = VIEWS[name]

    def writes(x: torch.Tensor) -> Any:
        y = x * 2
        part = view(y)
        part.mul_(3)
        part += 1
        y[0] = 5
        return y, part, view(y) + 1

    check(writes, SIZES)


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_of_an_input_takes_writes(name: str) -> None:
    def writes(x: torch.Tensor) -> Any:
        VIEWS[name](x).fill_(7)
        return x.sum()

    check(writes, SIZES)


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_of_a_constant_takes_traced_writes(name: str) -> None:
    base = torch.arange(24.0).view(4, 6)

    def writes(x: torch.Tensor) -> Any:
        y = base.clone()
        part = VIEWS[name](y)
        part.add_(x[0, 0])
        return y * 1, part * 1

    check(writes, SIZES)
    assert torch.equal(base, torch.arange(24.0).view(4, 6))


def test_real_and_imaginary_parts_take_writes() -> None:
    def writes(x: torch.Tensor) -> Any:
        z = torch.complex(x, x * 2)
        z.real.mul_(3)
        z.imag[1:] = 1
        pairs = torch.view_as_real(z)
        pairs[..., 0] += 1
        again = torch.view_as_complex(x.view(-1, 3, 2).clone())
        again.mul_(2)
        return z, torch.view_as_real(again), pairs

    check(writes, SIZES)


def test_a_write_through_an_expanded_view_is_refused() -> None:
    def writes(x: torch.Tensor) -> torch.Tensor:
        y = x[:1] * 1
        y.expand(4, 6).add_(1)
        return y

    with pytest.raises(RuntimeError):
        writes(torch.randn(4, 6))
    with pytest.raises(PortwrightError, match="expand"):
        captured(writes, torch.randn(4, 6))


def _copies(x: torch.Tensor) -> Any:
    whole = torch.zeros(x.shape[0], 6, dtype=torch.float64)
    whole.copy_(x)  # cast
    whole[:, 1:].copy_(x[:, :1])  # broadcast and cast
    ints = torch.zeros(x.shape[0], 6, dtype=torch.int64)
    ints.copy_(x * 10)
    return whole, ints


def _index_puts(x: torch.Tensor) -> Any:
    y = x.clone()
    rows = torch.tensor([0, 1, 0])
    y.index_put_((rows, torch.tensor([1, 2, 1])), x[0, :3], accumulate=True)
    y[rows] = x[0] * 2
    y[:, torch.tensor([5])] = 3
    y[x > 1] = 0
    y[:, 0][rows] = 4
    y.index_fill_(1, torch.tensor([3]), 9)
    y.index_copy_(0, torch.tensor([2, 1]), x[:2])
    y.index_add_(0, torch.tensor([0, 0]), x[1:3])
    return y


def _scatters(x: torch.Tensor) -> Any:
    y = torch.zeros_like(x)
    y.masked_scatter_(x > 0, x.abs())
    y.scatter_(1, torch.zeros(x.shape[0], 1, dtype=torch.int64), 5.0)
    y.scatter_add_(1, torch.ones(x.shape[0], 2, dtype=torch.int64), x)
    y[1:].masked_fill_(x[1:] < -1, 2)
    y.view(-1)[: x.shape[0]].fill_(x[0, 0])
    return y


def _outs(x: torch.Tensor) -> Any:
    y, z = torch.empty_like(x), torch.empty(x.shape[0], x.shape[0])
    torch.mul(x, 2, out=y)
    torch.matmul(x, x.t(), out=z)
    half = y[:, :3]
    torch.exp(x[:, :3], out=half)
    rows = x.new_empty(x.shape[0])
    torch.sum(x, 1, out=rows)
    joined = x.new_empty(2 * x.shape[0], 6)
    torch.cat([x, y], out=joined)
    return y, z, rows, joined, torch.clamp(x, 0, 1, out=torch.empty_like(x))


def _self_overlap(x: torch.Tensor) -> Any:
    y = x.clone()
    y[1:] = y[:-1].clone() + 1
    y += y.sum(0)
    y.t()[0] = y[0, 1]
    y.clamp_(min=-1).relu_().sub_(1).div_(2).pow_(2)
    y.unsqueeze_(0).transpose_(1, 2)
    y.zero_().add_(x.t())
    return y.squeeze_(0)


def _resets(x: torch.Tensor) -> Any:
    y = torch.zeros(2, 3)
    z = y.new_full((3,), 2.0)
    y[:, 1] = x[0, 0]
    z[1:] = y[0, 1:]
    ids = torch.arange(x.shape[0])
    ids[1:] += x.shape[1]
    return y, z, ids, torch.tensor([x.shape[0]])


WRITES = [_copies, _index_puts, _scatters, _outs, _self_overlap, _resets]


@pytest.mark.parametrize("function", WRITES, ids=lambda f: f.__name__.strip("_"))
def test_writes_are_as_in_eager(function: Callable[..., Any]) -> None:
    check(function, SIZES)


class Signature(nn.Module):
    """Writes to a buffer, through views, and to one input of two."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.zeros(4, 3))
        self.register_buffer("untouched", torch.ones(3))

    def forward(self, x: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        self.table[1:].t()[:, 0] = x.sum(0)
        self.table.view(-1)[:2].add_(self.untouched[:2])
        state.narrow(0, 0, 1).copy_(x[:1].double())
        return self.table.sum() + state.sum()


def test_the_signature_names_what_is_written() -> None:
    model = Signature().eval()
    x, state = torch.randn(4, 3), torch.zeros(5, 3)
    program = capture(model, {"x": x, "state": state}, dynamic=True)
    kinds = [(item["kind"], item["name"]) for item in program.program.outputs()]
    assert kinds[:2] == [("buffer_mutation", "table"), ("user_input_mutation", "state")]
    assert len(kinds) == 3
    assert torch.equal(model.table, torch.zeros(4, 3)) and torch.equal(state, torch.zeros(5, 3))
    reference = Signature().eval()
    for rows in (4, 6):
        x = torch.randn(rows, 3)
        ours, theirs = torch.zeros(5, 3), torch.zeros(5, 3)
        expected = reference(x, theirs)
        torch.testing.assert_close(program.run({"x": x, "state": ours}), expected)
        torch.testing.assert_close(model.table, reference.table)
        torch.testing.assert_close(ours, theirs)


# Layouts.


def _layouts(x: torch.Tensor) -> Any:
    turned = x.t()
    facts = [
        turned.is_contiguous(),
        turned.contiguous().is_contiguous(),
        x[:, :3].is_contiguous(),
        x[1:].is_contiguous(),
        x.t().t().is_contiguous(),
        turned.contiguous() is turned,
        x.contiguous().data_ptr is None,
        x[None].expand(2, -1, -1).is_contiguous(),
        x.stride() == (x.shape[1], 1),
        turned.stride(1) == x.shape[1],
    ]
    made = turned.contiguous().view(-1)
    made.add_(1)  # a copy: not in x
    return made, x * 1, torch.tensor(facts)


def test_layouts_are_as_in_eager() -> None:
    check(_layouts, SIZES)


def test_clones_keep_their_layout() -> None:
    def clones(x: torch.Tensor) -> Any:
        kept = x.t().clone()
        return torch.tensor([kept.is_contiguous(), (x.t() + 1).is_contiguous()]), kept

    check(clones, SIZES)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.t().view(-1),
        lambda x: x[:, :3].view(-1),
        lambda x: x.transpose(0, 1).view(2, -1),
        lambda x: (x.t() + 1).view(-1),
        lambda x: x.unflatten(1, (2, 3)).transpose(1, 2).view(x.shape[0], 6),
        lambda x: x.t().contiguous().t().view(-1),
    ],
)
def test_an_impossible_view_is_an_error_as_in_eager(function: Callable[..., Any]) -> None:
    x = torch.randn(4, 6)
    with pytest.raises(RuntimeError, match="view"):
        function(x)
    with pytest.raises(PortwrightError, match="view"):
        captured(function, x)


# What torch.compile's code asks.


def test_checks_and_questions_about_sizes() -> None:
    def asks(x: torch.Tensor) -> torch.Tensor:
        rows = x.shape[0]
        torch._check(rows >= 1)
        torch._check(x.shape[1] == 6, lambda: "six columns")
        if guard_or_false(rows == 1):
            x = x * 100
        if statically_known_true(rows > 0):
            x = x + 1
        if statically_known_true(rows == 4):
            x = x * 100
        return x

    program = captured(asks, torch.randn(4, 6))
    for rows in (4, 3, 9):
        x = torch.randn(rows, 6)
        torch.testing.assert_close(program.run({"x": x}), x + 1)
    with pytest.raises(GuardViolatedError, match=r"x\.size\(0\)"):  # as eager's _check
        program.run({"x": torch.randn(0, 6)})


def test_a_check_of_a_size_from_data() -> None:
    def checks(x: torch.Tensor) -> torch.Tensor:
        count = (x > 0).sum().item()
        torch._check_is_size(count)
        torch._check(count <= x.shape[0] * 6)
        return torch.zeros(count) + 1

    check(checks, SIZES)


def test_masks_built_by_vmap() -> None:
    def causal(batch: Any, head: Any, query: Any, key: Any) -> Any:
        return (key <= query) & (batch >= 0) & (head >= 0)

    def mask(x: torch.Tensor) -> torch.Tensor:
        padding = x[:, 0] > -10

        def padded(batch: Any, head: Any, query: Any, key: Any) -> Any:
            return causal(batch, head, query, key) & padding[key]

        rows = torch.arange(x.shape[0])
        function = padded
        for dims in [(None, None, None, 0), (None, None, 0, None), (None, 0, None, None)]:
            function = torch.vmap(function, in_dims=dims)
        function = torch.vmap(function, in_dims=(0, None, None, None))
        return function(torch.arange(2), torch.arange(1), rows, rows)

    check(mask, SIZES)


def test_the_last_rows_of_any_number_need_no_decision() -> None:
    program = check(lambda x: x[-3:] * 2, [(5, 2), (2, 2), (3, 2), (9, 2)])
    assert program.program.guards() == []


def test_a_view_of_no_elements_is_always_possible() -> None:
    check(lambda x: x[:, None, 6:].view(x.shape[0], 1, 1, 0) + 1, [(3, 6), (5, 6)])


class ReadsFirst(torch.nn.Module):
    state: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("state", torch.arange(6.0).reshape(2, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        doubled = self.state[0] * 2  # of constants alone, and of another value in the next run
        self.state.add_(x)
        return doubled + self.state


def test_a_buffer_is_read_before_it_is_written() -> None:
    model = ReadsFirst()
    eager = copy.deepcopy(model)
    ran = DynamoExporter().export(model, {"x": torch.ones(2, 3)}).module()
    for step in range(3):
        x = torch.full((2, 3), float(step))
        torch.testing.assert_close(ran(x=x), eager(x))
