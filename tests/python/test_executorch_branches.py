"""torch.cond in ExecuTorch: jumps, so that only the function that is chosen runs."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch

from portwright.exporters import ExecutorchExporter

pytest.importorskip("executorch", reason="executorch, whose runtime runs .pte files, is absent")


class _Model(torch.nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.function = function
        self.first = torch.nn.Linear(8, 8)
        self.wide = torch.nn.Sequential(
            torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 8)
        )
        self.table = torch.nn.Embedding(4, 8)
        self.register_buffer("state", torch.zeros(8))

    def forward(self, x: torch.Tensor, rows: torch.Tensor) -> Any:
        return self.function(self, x, rows)


def one(model: _Model, x: torch.Tensor, rows: torch.Tensor) -> Any:
    return torch.cond(x.sum() > 0, lambda x: model.wide(x) + model.table(rows), model.first, (x,))


def several_results(model: _Model, x: torch.Tensor, rows: torch.Tensor) -> Any:
    shared = model.first(x)

    def chosen(x: torch.Tensor) -> Any:
        return model.wide(shared), {"rows": model.table(rows).sum(0)}

    def other(x: torch.Tensor) -> Any:
        return x - shared, {"rows": shared.softmax(-1).sum(0)}

    return torch.cond(x.sum() > 0, chosen, other, (x,))


def nested(model: _Model, x: torch.Tensor, rows: torch.Tensor) -> Any:
    def inner(x: torch.Tensor) -> torch.Tensor:
        return torch.cond(x.max() > 1, model.wide, lambda x: model.first(x).softmax(-1), (x,))

    chosen = torch.cond(x.sum() > 0, inner, lambda x: model.first(x) * 2, (x,))
    return torch.cond(chosen.mean() > 0, model.wide, lambda x: x + model.table(rows), (chosen,))


def on_a_written_buffer(model: _Model, x: torch.Tensor, rows: torch.Tensor) -> Any:
    def chosen(x: torch.Tensor) -> torch.Tensor:
        return model.wide(x).sum(0) + model.state

    model.state.copy_(torch.cond(x.sum() > 0, chosen, lambda x: model.state * 1, (x,)))
    return model.state + 1


def around_sizes_from_data(model: _Model, x: torch.Tensor, rows: torch.Tensor) -> Any:
    """Choices by one condition before and after a size that depends on the first."""
    holds = x.sum() > 0
    first = torch.cond(holds, model.wide, model.first, (x,))
    count = (first > 0).sum().item()
    second = torch.cond(holds, lambda x: model.wide(x) * count, model.first, (x,))
    selected = x[x[:, 0] > 0]
    third = torch.cond(holds, model.first, model.wide, (selected,))
    return first, torch.arange(count), second + first, third


def by_hand(model: _Model, x: torch.Tensor, rows: torch.Tensor) -> Any:
    """A selection by one bool is a branch, too."""
    return torch.where((x > 1).any(), model.wide(x), model.first(x))


_FUNCTIONS = [
    one,
    several_results,
    nested,
    on_a_written_buffer,
    around_sizes_from_data,
    by_hand,
]


@pytest.mark.parametrize("backend", ["portable", "xnnpack"])
@pytest.mark.parametrize("function", _FUNCTIONS)
def test_both_answers_at_several_sizes(function: Callable[..., Any], backend: str) -> None:
    generator = torch.Generator().manual_seed(1)
    model = _Model(function).eval()
    inputs = {"x": torch.randn(3, 8, generator=generator), "rows": torch.tensor([0, 3, 1])}
    program = ExecutorchExporter().export(model, inputs, {"dynamic": True, "backend": backend})
    assert program.call_counts["aten::_local_scalar_dense"] >= 1
    model.state.zero_()
    for rows in (3, 1, 6):
        x = torch.randn(rows, 8, generator=generator)
        places = torch.arange(rows) % 4
        for data in (x, -x, x.abs(), -x.abs(), 3 * x.abs(), 0.1 * x.abs()):
            actual, expected = program(x=data, rows=places), model(data, places)
            leaves = torch.utils._pytree.tree_leaves(expected)
            actual = [actual] if isinstance(actual, torch.Tensor) else actual
            for ours, eager in zip(torch.utils._pytree.tree_leaves(actual), leaves, strict=True):
                torch.testing.assert_close(ours, eager, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backend", ["portable", "xnnpack"])
def test_what_is_not_chosen_does_not_run(backend: str) -> None:
    """Rows that the table does not have are an error of the kernel."""
    model = _Model(one).eval()
    x = torch.rand(3, 8)
    rows = torch.tensor([0, 1, 2])
    program = ExecutorchExporter().export(model, {"x": x, "rows": rows}, {"backend": backend})
    beyond = torch.tensor([0, 99, 2])
    torch.testing.assert_close(program(x=-x, rows=beyond), model(-x, beyond))
    with pytest.raises(Exception, match="0x12"):
        program(x=x, rows=beyond)


def test_elementwise_functions_are_selected() -> None:
    model = _Model(lambda model, x, rows: torch.cond(x.sum() > 0, torch.sin, torch.cos, (x,)))
    inputs = {"x": torch.rand(3, 8), "rows": torch.tensor([0])}
    program = ExecutorchExporter().export(model.eval(), inputs, {"backend": "portable"})
    assert program.call_counts["aten::where.self_out"] == 1
    assert "aten::_local_scalar_dense" not in program.call_counts


class _Chosen(torch.nn.Module):
    """Layers and choices at random, by two bools."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.seed = seed
        self.layers = torch.nn.ModuleList([torch.nn.Linear(8, 8) for _ in range(3)])

    def forward(self, x: torch.Tensor, c: torch.Tensor, d: torch.Tensor) -> Any:
        chance = random.Random(self.seed)
        values = [x]

        def one() -> torch.Tensor:
            back = chance.randrange(min(len(values), 4))
            return values[-1 - back] if chance.random() < 0.6 else chance.choice(values)

        steps: list[Callable[[], torch.Tensor]] = [
            lambda: torch.relu(one()),
            lambda: chance.choice(list(self.layers))(one()),
            lambda: one().softmax(-1) + one(),
            lambda: one().reshape(-1, 4, 2).transpose(1, 2).reshape(-1, 8),
            lambda: torch.where(chance.choice([c, d]), one(), one()),
            lambda: torch.where(chance.choice([c, d]), one(), one()),
        ]
        for _ in range(chance.randrange(5, 22)):
            values.append(chance.choice(steps)())
        return values[-1], one()


@pytest.mark.parametrize("backend", ["portable", "xnnpack"])
def test_programs_at_random(backend: str) -> None:
    branches = 0
    for seed in range(60):
        model = _Chosen(seed).eval()
        inputs = {"x": torch.randn(3, 8), "c": torch.tensor(True), "d": torch.tensor(False)}
        program = ExecutorchExporter().export(model, inputs, {"dynamic": True, "backend": backend})
        branches += program.call_counts.get("aten::_local_scalar_dense", 0)
        for c, d in itertools.product((True, False), repeat=2):
            inputs = {"x": torch.randn(5, 8), "c": torch.tensor(c), "d": torch.tensor(d)}
            for ours, eager in zip(program(**inputs), model(**inputs), strict=True):
                torch.testing.assert_close(ours, eager, rtol=1e-4, atol=1e-5)
    assert branches > 20
