"""A fault at any operator call, or at the start of any module, leaves everything as it was."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import models
import state_of
from portwright import _core
from portwright.errors import InternalError, InvalidArgumentError
from portwright.exporters import DynamoConfig, DynamoExporter
from portwright.verify import CAPTURE_TOLERANCE, compare


class Writes(nn.Module):
    """Writes in place: to a copy through views, to an input, to a buffer, with out=."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.register_buffer("count", torch.zeros(6))
        self.register_buffer("seen", torch.zeros(2), persistent=False)

    def forward(self, x: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        y = self.linear(x)
        y[:, 1:3].transpose(0, 1).mul_(2)[0] = 1
        y[y > 0] = 0
        state[:1] += y[:1]
        self.count += y.sum(0)
        self.seen = self.seen + 1
        self.count[2:4].zero_()
        return torch.add(y, self.count, out=torch.empty_like(y))


class Loops(nn.Module):
    """A loop with a symbolic number of rounds, and one under vmap."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state = torch.zeros(x.shape[1])
        rows = []
        for i in range(x.shape[0]):
            state = torch.tanh(state + x[i])
            rows.append(state)
        return torch.vmap(lambda row: row * 2 + row.sum())(torch.stack(rows))


class DataDependent(nn.Module):
    """Sizes, lists and a decision that data makes; keeps what it has seen."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        self.seen.append(x)
        kept = x[x[:, 0] > -10]
        parts = torch.split(kept, lengths.tolist())
        pooled = torch.stack([part.sum(0) for part in parts])
        if bool((lengths > 0).all()):
            pooled = pooled + lengths.max().item()
        return pooled.repeat_interleave(lengths, dim=0)


def _small(make: Callable[[], models.Case]) -> Callable[[], tuple[nn.Module, dict[str, Any]]]:
    def build() -> tuple[nn.Module, dict[str, Any]]:
        case = make()
        return case.model, case.inputs

    return build


BUILDERS: dict[str, Callable[[], tuple[nn.Module, dict[str, Any]]]] = {
    "bert": _small(lambda: models.case("bert")),
    "qwen3_decode": _small(lambda: models.case("qwen3_decode")),
    "writes": lambda: (Writes(), {"x": torch.randn(4, 6), "state": torch.zeros(4, 6)}),
    "loops": lambda: (Loops(), {"x": torch.randn(4, 6)}),
    "data_dependent": lambda: (
        DataDependent(),
        {"x": torch.randn(6, 3), "lengths": torch.tensor([2, 3, 1])},
    ),
}


def build(name: str) -> tuple[nn.Module, dict[str, Any]]:
    torch.manual_seed(0)
    model, inputs = BUILDERS[name]()
    return model.eval(), inputs


def export(model: nn.Module, inputs: dict[str, Any]) -> Any:
    return DynamoExporter().export(model, inputs, DynamoConfig(dynamic=True)).module()


def assert_untouched(before: dict[str, Any], model: nn.Module, inputs: dict[str, Any]) -> None:
    assert state_of.difference(before, state_of.of_run(model, inputs)) == []
    assert (torch.ones(2) + 1).tolist() == [2.0, 2.0], "the dispatcher works as before"


def assert_exports(model: nn.Module, inputs: dict[str, Any]) -> None:
    run = export(model, inputs)
    ours, theirs = copy.deepcopy(inputs), copy.deepcopy(inputs)
    reference = copy.deepcopy(model)
    with torch.no_grad():
        expected = reference(**theirs)
    result = compare("after", inputs, run(**ours), expected, CAPTURE_TOLERANCE)
    assert result.differences and result.matches, result.problems


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("name", BUILDERS)
def test_a_fault_at_any_operator_call(
    name: str, late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, inputs = build(name)
    export(model, inputs)  # imports, and caches that are made once
    make_tracer = _core.Tracer
    calls = 0

    def faulty(catalog: _core.OpCatalog) -> _core.Tracer:
        tracer = make_tracer(catalog)
        tracer.fail_after(calls, late=late)
        return tracer

    libraries = state_of.of_libraries()
    before = state_of.of_run(model, inputs)
    with monkeypatch.context() as patch:
        patch.setattr(_core, "Tracer", faulty)
        while True:
            try:
                export(model, inputs)
            except InternalError as error:
                assert "fault" in str(error)
                assert_untouched(before, model, inputs)
                calls += 1
            else:
                break
    assert calls > 5
    assert_untouched(before, model, inputs)
    assert state_of.difference(libraries, state_of.of_libraries()) == []
    assert_exports(model, inputs)


@pytest.mark.parametrize("name", ["bert", "qwen3_decode"])
def test_an_interrupt_at_the_start_of_any_module(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, inputs = build(name)
    export(model, inputs)
    enter_module = _core.enter_module
    before = state_of.of_run(model, inputs)
    modules = sum(1 for _ in model.modules())
    entered = 0
    for last in range(modules):
        entered = 0

        def interrupted(module: nn.Module, last: int = last) -> None:
            nonlocal entered
            if entered == last:
                raise KeyboardInterrupt
            entered += 1
            enter_module(module)

        with monkeypatch.context() as patch:
            patch.setattr(_core, "enter_module", interrupted)
            try:
                export(model, inputs)
            except KeyboardInterrupt:
                assert_untouched(before, model, inputs)
            else:
                break
    assert entered > 5
    assert_exports(model, inputs)


def test_a_capture_inside_a_capture_is_refused_and_the_outer_one_goes_on() -> None:
    inner = nn.Linear(3, 3)
    refused = []

    class Outer(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            try:
                export(inner, {"input": torch.randn(2, 3)})
            except InvalidArgumentError as error:
                refused.append(str(error))
            return x[x > 0] * 2 + torch.arange((x > 0).sum().item())

    model, x = Outer().eval(), torch.randn(4, 3)
    run = export(model, {"x": x})
    assert refused and all("do not nest" in text for text in refused)
    other = torch.randn(5, 3)
    torch.testing.assert_close(run(x=other), model(other))
    assert not torch.compiler.is_exporting()


def test_what_others_put_in_place_of_torch_functions_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []
    original = torch.nn.Module.__call__

    def watched(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        calls.append(type(self).__name__)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(torch.nn.Module, "__call__", watched)
    export(nn.Linear(3, 3).eval(), {"input": torch.randn(2, 3)})
    assert torch.nn.Module.__call__ is watched
    assert calls == ["Linear"]
