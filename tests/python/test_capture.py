"""The tracer on small modules: shapes, views, writes, guards, provenance, state."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.export import Dim

from portwright.capture import CapturedProgram, capture
from portwright.errors import (
    DataDependentError,
    GuardViolatedError,
    InvalidArgumentError,
    PortwrightError,
    UnsupportedError,
)


class Lambda(nn.Module):
    """A module whose forward is a function of one tensor."""

    def __init__(self, function: Callable[..., object]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> object:
        return self.function(x)


def captured(function: Callable[..., object], x: torch.Tensor) -> CapturedProgram:
    return capture(Lambda(function), {"x": x}, dynamic=True)


def assert_same(program: CapturedProgram, model: nn.Module, x: torch.Tensor) -> None:
    expected = model(x.clone())
    actual = program.run({"x": x.clone()})
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


def _write_slice(x: torch.Tensor) -> torch.Tensor:
    y = x.clone()
    y[:, 1:3] = y[:, 2:4] * 2
    return y


def _write_select(x: torch.Tensor) -> torch.Tensor:
    y = x * 1
    y[0] += 5
    y[..., -1] = 0
    return y


def _write_through_transpose(x: torch.Tensor) -> torch.Tensor:
    y = x.clone()
    y.transpose(0, 1).mul_(3)[1:].add_(1)
    return y


def _write_through_view(x: torch.Tensor) -> torch.Tensor:
    y = x.clone()
    y.view(-1)[::2] = 7
    y.unsqueeze(1).squeeze(1).neg_()
    return y


def _write_to_copy(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    y = x.clone()
    z = y.transpose(0, 1).reshape(-1)  # a copy: the write must not reach y
    z += 1
    return y, z


def _write_split_parts(x: torch.Tensor) -> torch.Tensor:
    y = x.clone()
    left, right = y.split([2, 4], dim=1)
    left.fill_(1)
    right.copy_(left[:, :1])
    for row in y.unbind(1):
        row.mul_(2)
    return y


def _write_diagonal(x: torch.Tensor) -> torch.Tensor:
    y = x.clone()
    y.diagonal().zero_()
    return y


def _write_permuted(x: torch.Tensor) -> torch.Tensor:
    y = x.clone().unsqueeze(0)
    y.permute(2, 0, 1)[0] = 9
    return y


def _write_traced_into_factory(x: torch.Tensor) -> torch.Tensor:
    y = torch.zeros(2, 6)
    y[0] = x.sum(0)
    return y + 1


def _masked_write(x: torch.Tensor) -> torch.Tensor:
    y = x.clone()
    y.masked_fill_(x > 0, -1)
    y[x.long() % 2 == 0] = 3
    return y


def _out_variant(x: torch.Tensor) -> torch.Tensor:
    y = torch.empty_like(x)
    torch.add(x, x, out=y)
    return y


def _index_put(x: torch.Tensor) -> torch.Tensor:
    y = x.clone()
    y[torch.tensor([0, 1]), torch.tensor([2, 3])] = 8
    return y


WRITES = [
    _write_slice,
    _write_select,
    _write_through_transpose,
    _write_through_view,
    _write_to_copy,
    _write_split_parts,
    _write_diagonal,
    _write_permuted,
    _write_traced_into_factory,
    _masked_write,
    _out_variant,
    _index_put,
]


@pytest.mark.parametrize("function", WRITES, ids=lambda f: f.__name__.strip("_"))
def test_writes_become_functional(function: Callable[..., object]) -> None:
    program = captured(function, torch.randn(4, 6))
    for rows in (4, 7, 3):
        assert_same(program, Lambda(function), torch.randn(rows, 6))


def _symint_arithmetic(x: torch.Tensor) -> torch.Tensor:
    return x + x.shape[0] - x.shape[1] * 0.5


def _float_detours(x: torch.Tensor) -> torch.Tensor:
    half = math.ceil(x.shape[0] / 2)
    quarter = math.floor(x.shape[0] * 0.25)
    return x[:half].sum() + x[: x.shape[0] // 2 + 1].sum() + round(x.shape[0] * 0.5) + quarter


def _reshape_infer(x: torch.Tensor) -> torch.Tensor:
    return x.reshape(x.shape[0], -1, 2).transpose(1, 2).reshape(-1, 3)


def _arange_mask(x: torch.Tensor) -> torch.Tensor:
    n = x.shape[0]
    causal = torch.arange(n)[:, None] >= torch.arange(n)[None, :]
    return torch.where(causal, x @ x.T, torch.tensor(float("-inf"))).softmax(-1)


def _expand_and_repeat(x: torch.Tensor) -> torch.Tensor:
    y = x[:, None].expand(-1, 3, -1).reshape(x.shape[0] * 3, x.shape[1])
    return torch.cat([y, x.repeat(2, 1)], 0)


def _vmapped(x: torch.Tensor) -> torch.Tensor:
    return torch.vmap(lambda row: row * 2 + row.sum())(x)


SHAPES = [
    _symint_arithmetic,
    _float_detours,
    _reshape_infer,
    _arange_mask,
    _expand_and_repeat,
    _vmapped,
]


@pytest.mark.parametrize("function", SHAPES, ids=lambda f: f.__name__.strip("_"))
def test_shapes_stay_symbolic(function: Callable[..., object]) -> None:
    program = captured(function, torch.randn(4, 6))
    for rows in (4, 9, 2):
        assert_same(program, Lambda(function), torch.randn(rows, 6))


def test_batch_of_one_runs_in_a_program_captured_with_more() -> None:
    model = nn.Sequential(nn.Linear(6, 4), nn.LayerNorm(4), nn.GELU())
    program = capture(model, {"input": torch.randn(3, 5, 6)}, dynamic=True)
    x = torch.randn(1, 2, 6)
    torch.testing.assert_close(program.run({"input": x}), model(x))


class Counter(nn.Module):
    """Changes a buffer and an input in place."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(3))

    def forward(self, x: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        self.count += x.sum(0)
        state[:1] = x[:1]
        return x * self.count


def test_mutated_buffers_and_inputs_are_in_the_signature() -> None:
    model = Counter()
    x, state = torch.randn(4, 3), torch.zeros(4, 3)
    program = capture(model, {"x": x, "state": state}, dynamic=True)
    assert torch.equal(model.count, torch.zeros(3)), "tracing must not write to the model"
    text = program.program.text()
    assert "buffer_mutation" in text and "user_input_mutation" in text

    reference = Counter()
    expected = reference(x, state.clone())
    ours = torch.zeros(4, 3)
    actual = program.run({"x": x, "state": ours})
    torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(model.count, reference.count)
    torch.testing.assert_close(ours[:1], x[:1])


def test_nodes_know_module_and_line() -> None:
    model = nn.Sequential(nn.Linear(4, 4), Lambda(lambda x: x * 2))
    program = capture(model, {"input": torch.randn(2, 4)}).program
    nodes = program.nodes()
    assert nodes[0]["module"] == "0"
    assert nodes[-1]["module"] == "1"
    assert "test_capture.py" in nodes[-1]["source"]


def test_parameters_are_referred_to_not_copied() -> None:
    model = nn.Linear(3, 2)
    program = capture(model, {"input": torch.ones(1, 3)})
    with torch.no_grad():
        model.weight.fill_(2)
    x = torch.ones(1, 3)
    torch.testing.assert_close(program.run({"input": x}), model(x))


def test_random_operators_are_not_baked_in() -> None:
    program = captured(lambda x: x + torch.rand(6), torch.zeros(4, 6))
    first, second = (program.run({"x": torch.zeros(4, 6)}) for _ in range(2))
    assert not torch.equal(first, second)


def test_seeded_draws_are_as_in_eager() -> None:
    def draws(x: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(3)
        return x + torch.randn(6) + torch.nn.functional.dropout(x, 0.5, training=False)

    state = torch.get_rng_state()
    program = captured(draws, torch.zeros(4, 6))
    assert torch.equal(torch.get_rng_state(), state)
    assert_same(program, Lambda(draws), torch.zeros(5, 6))

    def draws_rows(x: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(3)
        return x + torch.randn(x.shape[0], 1)

    with pytest.raises(UnsupportedError, match=r"manual_seed.*\n.*test_capture\.py"):
        captured(draws_rows, torch.zeros(4, 6))


def test_an_input_outside_the_guards_is_refused_by_name() -> None:
    program = captured(lambda x: x + 1 if x.shape[0] <= 8 else x, torch.zeros(4, 2))
    assert program.notes
    with pytest.raises(GuardViolatedError, match=r"x\.size\(0\)"):
        program.run({"x": torch.zeros(9, 2)})


def test_an_explicit_dim_that_is_narrowed_is_an_error() -> None:
    model = Lambda(lambda x: x * 2 if x.shape[0] > 3 else x)
    shapes = {"x": {0: Dim("rows", min=1, max=64)}}
    with pytest.raises(
        GuardViolatedError, match=r"(?s)rows = x\.size\(0\): rows >= 4.*test_capture\.py"
    ):
        capture(model, {"x": torch.zeros(4, 2)}, dynamic_shapes=shapes)
    deferred = capture(
        model,
        {"x": torch.zeros(4, 2)},
        dynamic_shapes=shapes,
        prefer_deferred_runtime_asserts_over_guards=True,
    )
    with pytest.raises(GuardViolatedError):
        deferred.run({"x": torch.zeros(2, 2)})


def test_derived_and_shared_dims() -> None:
    class Add(nn.Module):
        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return a.repeat_interleave(2, 0) + b

    rows = Dim("rows", min=1, max=64)
    program = capture(
        Add(),
        {"a": torch.randn(3, 2), "b": torch.randn(6, 2)},
        dynamic_shapes={"a": {0: rows}, "b": {0: 2 * rows}},
    )
    a, b = torch.randn(5, 2), torch.randn(10, 2)
    torch.testing.assert_close(program.run({"a": a, "b": b}), Add()(a, b))
    with pytest.raises(GuardViolatedError):
        program.run({"a": a, "b": torch.randn(9, 2)})


def test_a_static_dim_refuses_another_size() -> None:
    program = capture(Lambda(lambda x: x + 1), {"x": torch.zeros(4, 2)})
    with pytest.raises(GuardViolatedError, match="dim 0"):
        program.run({"x": torch.zeros(5, 2)})


@pytest.mark.parametrize(
    "spec",
    [
        {"y": {0: Dim.AUTO}},
        {"x": {5: Dim.AUTO}},
        {"x": {0: "rows"}},
        {"x": {0: 3}},
        {"x": {0: Dim("rows", min=8, max=9)}},
        {"x": (Dim.AUTO,)},
    ],
    ids=["unknown input", "no such dim", "a string", "another size", "outside", "too few"],
)
def test_specs_that_do_not_fit_are_refused(spec: dict[str, object]) -> None:
    with pytest.raises(InvalidArgumentError):
        capture(Lambda(lambda x: x + 1), {"x": torch.zeros(4, 2)}, dynamic_shapes=spec)


def test_a_decision_on_data_is_a_guard_with_its_line() -> None:
    def decides(x: torch.Tensor) -> torch.Tensor:
        return x + 1 if (x > 0).all() else x - 1

    program = captured(decides, torch.ones(3, 2))
    assert torch.equal(program.run({"x": torch.ones(5, 2)}), torch.full((5, 2), 2.0))
    with pytest.raises(GuardViolatedError, match=r"test_capture\.py"):
        program.run({"x": -torch.ones(3, 2)})


def test_a_float_that_is_read_is_refused_with_its_line() -> None:
    with pytest.raises(DataDependentError, match=r"test_capture\.py"):
        captured(lambda x: x * x.sum().item(), torch.ones(3, 2))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x[x > 0],
        lambda x: x[:, 0][x[:, 1] > 0] * 2,
        lambda x: torch.masked_select(x, x[:, :1] > 0),
        lambda x: (x > 0).nonzero(),
        lambda x: torch.where(x > 0)[1],
        lambda x: torch.arange((x > 0).sum().item()) + 1,
        lambda x: torch.zeros((x > 0).sum(0).tolist()[0], 3),
        lambda x: x.repeat_interleave((x > 0).sum(1), dim=0),
        lambda x: torch.unique((x * 2).long()),
        lambda x: torch.bincount((x > 0).sum(1)),
        lambda x: x.masked_scatter(x > 0, x[x > 0] * 3),
    ],
)
def test_sizes_from_data_follow_the_data(function: Callable[..., object]) -> None:
    generator = torch.Generator().manual_seed(1)
    program = captured(function, torch.randn(4, 6, generator=generator))
    for rows in (4, 5, 9):
        x = torch.randn(rows, 6, generator=generator)
        x[0, :2] = 1.0
        assert_same(program, Lambda(function), x)


class FailsAt(nn.Module):
    """Raises after a number of operator calls."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.calls = calls

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for step in range(6):
            if step == self.calls:
                raise KeyError("on purpose")
            x = self.linear(x) if step % 2 else x.add_(1)
        return x


def test_an_equality_that_fixes_no_size_is_checked() -> None:
    program = captured(lambda x: x.reshape(-1, 4), torch.randn(3, 8))
    assert_same(program, Lambda(lambda x: x.reshape(-1, 4)), torch.randn(5, 4))
    with pytest.raises(GuardViolatedError):
        program.run({"x": torch.randn(3, 3)})


def test_a_write_through_a_composite_view_of_a_constant_is_kept() -> None:
    def padded(x: torch.Tensor) -> torch.Tensor:
        out = torch.zeros(4, 5)
        out.select(0, 1).narrow(0, 1, 2).copy_(x[0])
        return out

    x = torch.randn(3, 2)
    assert_same(captured(padded, x), Lambda(padded), x)
    sequences = [torch.randn(3, 2), torch.randn(5, 2)]
    pads = Lambda(lambda x: torch.nn.utils.rnn.pad_sequence([x, *sequences], batch_first=True))
    assert_same(capture(pads, {"x": torch.randn(4, 2)}), pads, torch.randn(4, 2))


@pytest.mark.parametrize("calls", range(6))
def test_state_is_put_back_whatever_is_raised(calls: int) -> None:
    model = FailsAt(calls).train()
    call = nn.Module.__call__
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x = torch.randn(2, 4)
    kept = x.clone()
    with pytest.warns(UserWarning, match="eval"), pytest.raises(KeyError, match="on purpose"):
        capture(model, {"x": x}, dynamic=True)
    assert nn.Module.__call__ is call
    assert not torch.compiler.is_exporting() and not torch.compiler.is_compiling()
    assert model.training and model.linear.training
    assert torch.is_grad_enabled()
    assert torch.equal(x, kept)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert (torch.ones(2) + 1).tolist() == [2.0, 2.0], "the dispatcher works as before"


def test_captures_of_two_threads_take_turns() -> None:
    results: dict[int, bool] = {}

    def work(width: int) -> None:
        ok = True
        for _ in range(10):
            model = nn.Sequential(nn.Linear(width, width), nn.ReLU())
            program = capture(model, {"input": torch.randn(3, width)}, dynamic=True)
            x = torch.randn(5, width)
            ok = ok and torch.equal(program.run({"input": x}), model(x))
        results[width] = ok

    threads = [threading.Thread(target=work, args=(width,)) for width in (4, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {4: True, 8: True}


def test_a_tensor_that_outlives_its_capture_is_named() -> None:
    kept: list[torch.Tensor] = []

    class Keeps(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x + kept.pop() if kept else x
            kept.append(x * 2)
            return x

    model = Keeps()
    capture(model, {"x": torch.randn(2, 2)})
    with pytest.raises((PortwrightError, RuntimeError), match="finished capture"):
        capture(model, {"x": torch.randn(2, 2)})


def test_capture_is_deterministic() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.GELU(), nn.Linear(4, 2))
    texts = {
        capture(model, {"input": torch.randn(2, 4)}, dynamic=True).program.text() for _ in range(3)
    }
    assert len(texts) == 1


def test_what_forward_sets_on_the_model_is_taken_back() -> None:
    class Sets(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.seen = None
            self.register_buffer("state", torch.zeros(2), persistent=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.seen = x
            self.new = x + 1
            self.state = self.state + x
            return self.state

    model = Sets()
    state = model.state
    capture(model, {"x": torch.ones(2)})
    assert model.seen is None and not hasattr(model, "new") and model.state is state


class ClampedWindow(nn.Module):
    """As Swin's: a window of two, or of the smaller side, whose bias has room for two only."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.randn(4, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, height, width = x.shape
        window = 2
        if min(height // 2, width // 2) < 2:
            return x
        if min(height // 4, width // 4) <= window:
            window = min(height // 4, width // 4)
        x = x.view(batch, height // window, window, width // window, window)
        parts = x.transpose(2, 3).reshape(-1, window * window)
        return parts @ self.bias


def test_a_size_that_two_conditions_leave_one_value_is_that_value() -> None:
    model = ClampedWindow().eval()
    program = capture(model, {"x": torch.randn(2, 8, 8)}, dynamic=True)
    for sides in ((8, 12), (10, 8), (10, 16)):
        assert_same(program, model, torch.randn(3, *sides))


def test_the_ratio_of_sizes_that_cancel_is_a_number() -> None:
    def scaled(x: torch.Tensor) -> torch.Tensor:
        n = x.shape[0]
        return x * ((n - n + 9) / (n - n + 2))

    model = Lambda(scaled)
    program = captured(scaled, torch.randn(3, 4))
    assert_same(program, model, torch.randn(5, 4))
