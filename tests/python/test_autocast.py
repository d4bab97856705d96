"""torch.autocast while a model is captured: its casts are nodes of the program."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from portwright.capture import CapturedProgram, capture
from portwright.errors import UnsupportedError

HALVES = [torch.bfloat16, torch.float16]


def run_both(
    model: nn.Module, x: torch.Tensor, dtype: torch.dtype | None = None
) -> tuple[Any, Any, CapturedProgram]:
    """What eager and the captured program give, each under autocast of `dtype` if there is one."""
    with torch.no_grad(), torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
        program = capture(model.eval(), {"x": x}, dynamic=True)
        expected = model(x.clone())
    longer = torch.cat([x, x.flip(0), x[:1]])
    with torch.no_grad(), torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
        other = model(longer.clone())
    assert_same(program.run({"x": longer}), other)
    return program.run({"x": x}), expected, program


def assert_same(actual: Any, expected: Any) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=0, check_dtype=True)


class Mixed(nn.Module):
    """Half-precision products, a region that stays in float, and what joins both."""

    def __init__(self, dtype: torch.dtype | None) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 6)
        self.norm = nn.LayerNorm(8)
        self.dtype = dtype

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if self.dtype is None:
            return self.body(x)
        with torch.autocast("cpu", dtype=self.dtype):
            return self.body(x)

    def body(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        half = self.first(x)
        with torch.autocast("cpu", enabled=False):
            angles = x.float() @ x.float().transpose(0, 1)
        joined = torch.cat([half, self.first.weight.sum() + x.mean() + half.float()])
        normed = self.norm(half.to(self.norm.weight.dtype))
        return half, angles, joined, self.second(normed), half.float().prod(-1)


@pytest.mark.parametrize("dtype", HALVES)
def test_a_region_in_forward_keeps_its_casts(dtype: torch.dtype) -> None:
    actual, expected, program = run_both(Mixed(dtype), torch.randn(3, 6))
    assert expected[0].dtype == dtype and expected[1].dtype == torch.float32
    assert_same(actual, expected)
    assert "aten._to_copy.default" in program.program.text()


@pytest.mark.parametrize("dtype", HALVES)
def test_a_region_around_the_export_keeps_its_casts(dtype: torch.dtype) -> None:
    actual, expected, _ = run_both(Mixed(None), torch.randn(3, 6), dtype)
    assert_same(actual, expected)


def test_casts_of_an_earlier_eager_run_are_not_taken_over() -> None:
    model, x = nn.Linear(300, 300).eval(), torch.randn(3, 300)
    with torch.autocast("cpu", torch.bfloat16):
        model(x)  # leaves casts of the weights in torch's table
        program = capture(model, {"input": x})
    assert "parameter %weight" in program.program.text()
    with torch.no_grad():
        model.weight.mul_(2)
        with torch.autocast("cpu", torch.bfloat16):
            assert_same(program.run({"input": x}), model(x))


def test_eager_runs_after_a_capture_see_no_traced_casts() -> None:
    model, x = Mixed(None).eval(), torch.randn(3, 6)
    with torch.autocast("cpu", torch.bfloat16):
        before = copy.deepcopy([y.detach() for y in model(x)])
        capture(model, {"x": x})
        assert_same([y.detach() for y in model(x)], before)
        assert torch.is_autocast_cache_enabled()


def test_the_program_runs_the_same_inside_autocast() -> None:
    model, x = nn.Linear(6, 8).eval(), torch.randn(3, 6)
    program = capture(model, {"input": x})
    with torch.autocast("cpu", torch.bfloat16):
        actual = program.run({"input": x})
    with torch.no_grad():
        assert_same(actual, model(x))


class Calls(nn.Module):
    def __init__(self, function: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.function = function
        self.conv = nn.Conv1d(1, 4, 3, padding=1)
        self.weight = nn.Parameter(torch.randn(6, 6))

    def forward(self, x: torch.Tensor) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            return self.function(x) if self.function is not convolve else convolve(self, x)


def convolve(model: Any, x: torch.Tensor) -> torch.Tensor:
    result: torch.Tensor = model.conv(x[:, None, :])
    return result


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "matmul": lambda x: x @ x.transpose(0, 1),
    "einsum": lambda x: torch.einsum("ij,kj->ik", x, x),
    "attention": lambda x: nn.functional.scaled_dot_product_attention(x[None], x[None], x[None]),
    "convolution": convolve,
    "reflected border": lambda x: nn.functional.pad(x.bfloat16()[None], (2, 2), mode="reflect"),
    "product and stack": lambda x: torch.stack([x.bfloat16().prod(0), x.sum(0)]),
    "softmax": lambda x: torch.softmax(x @ x.transpose(0, 1), -1),
    "sizes only": lambda x: x.reshape(-1).unflatten(0, (-1, 6)).chunk(2, 1),
    "in place": lambda x: (x @ x.transpose(0, 1)).add_(1).mul_(2),
    "data decides": lambda x: x[(x @ x.transpose(0, 1)).sum(1) > 0],
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str) -> None:
    torch.manual_seed(0)
    actual, expected, _ = run_both(Calls(FUNCTIONS[name]), torch.randn(3, 6))
    assert_same(actual, expected)


def test_a_recurrent_layer_is_refused_with_the_way_out() -> None:
    class Recurrent(nn.Module):
        def __init__(self, enabled: bool) -> None:
            super().__init__()
            self.gru = nn.GRU(6, 8, batch_first=True)
            self.enabled = enabled

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.autocast("cpu", torch.bfloat16, enabled=self.enabled):
                result: torch.Tensor = self.gru(x)[0]
                return result

    x = torch.randn(2, 5, 6)
    with pytest.raises(UnsupportedError, match=r"aten.gru.*enabled=False"):
        capture(Recurrent(True).eval(), {"x": x})
    model = Recurrent(False).eval()
    with torch.no_grad():
        assert_same(capture(model, {"x": x}).run({"x": x}), model(x))
