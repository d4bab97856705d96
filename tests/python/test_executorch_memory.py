"""Planned memory: no more than executorch's, no overlaps, and results in operands' places."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import pytest
import torch

import models
from portwright import _core
from portwright.exporters import ExecutorchConfig, ExecutorchExporter, ExecutorchProgram

pytest.importorskip("executorch", reason="executorch, whose planner is compared, is absent")

Request = tuple[int, int, int]  # bytes, and the instructions between which it lives


class Branches(torch.nn.Module):
    """Branches of several widths that meet again."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = [torch.cat([x] * count, dim=1).cumsum(1) for count in range(1, 7)]
        while len(found) > 1:
            first, second, *rest = found
            found = [*rest, torch.cat([first.flip(1), second.cumsum(0)], dim=1)]
        return found[0]


class Skips(torch.nn.Module):
    """Every result is read again at the end."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = [x]
        for step in range(8):
            kept.append(torch.cat([kept[-1], x[:, : step + 1]], dim=1).cumsum(1))
        total = kept[0]
        for other in reversed(kept):
            total = torch.cat([total, other], dim=1).flip(1)
        return total


class Narrowing(torch.nn.Module):
    """Down and up again, as a U-Net: the largest live longest."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        ways = []
        for _ in range(4):
            ways.append(x.cumsum(1))
            x = x.reshape(x.shape[0], -1, 2).amax(-1).flip(1)
        while ways:
            x = torch.cat([x.repeat(1, 2), ways.pop()], dim=1)[:, ::2].cumsum(1)
        return x


class Sizes(torch.nn.Module):
    """Many sizes with lives that cross."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pieces = [x[:, : 1 + (7 * i) % 29].cumsum(1) for i in range(24)]
        total = x
        for i in range(24):
            total = torch.cat([total[:, :9], pieces[(5 * i) % 24].flip(1)], dim=1)
        return total


MODULES: dict[str, Callable[[], torch.nn.Module]] = {
    "branches": Branches,
    "skips": Skips,
    "narrowing": Narrowing,
    "sizes": Sizes,
}
NAMES = ["bert", "qwen3", "qwen3_decode", "gpt2", "vit", "whisper_encoder", *MODULES]


def _export(name: str, backend: str) -> ExecutorchProgram:
    if name in MODULES:
        model, inputs = MODULES[name](), {"x": torch.randn(3, 32)}
    else:
        case = models.case(name)
        model, inputs = case.model, case.inputs
    config = ExecutorchConfig(dynamic=True, backend=backend)
    program = ExecutorchExporter().export(model.eval(), inputs, config)
    assert isinstance(program, ExecutorchProgram)
    return program


def _bytes_by_executorch(requests: Sequence[Request]) -> int:
    from executorch.exir.memory_planning import MemoryPlanningAlgorithmSuite
    from executorch.exir.tensor import TensorSpec

    specs = []
    for size, first, last in requests:
        spec = TensorSpec(torch.uint8, torch.Size([size]))
        spec.lifetime = [first, last]
        specs.append(spec)
    graph = torch.fx.GraphModule(torch.nn.Module(), torch.fx.Graph())
    sizes = MemoryPlanningAlgorithmSuite()(16, specs, graph, None, 0)  # type: ignore[arg-type]
    return int(sizes[1])


def _overlapping(
    requests: Sequence[Request], offsets: Sequence[int]
) -> list[tuple[Request, Request]]:
    """Pairs that share bytes while both live."""
    found = []
    placed = list(zip(requests, offsets, strict=True))
    for i, ((size, first, last), offset) in enumerate(placed):
        for (other_size, other_first, other_last), other in placed[:i]:
            shares = offset < other + other_size and other < offset + size
            if shares and first <= other_last and other_first <= last:
                found.append((requests[i], (other_size, other_first, other_last)))
    return found


@pytest.mark.parametrize("backend", ["portable", "xnnpack"])
@pytest.mark.parametrize("name", NAMES)
def test_plans_are_no_larger_than_executorchs(name: str, backend: str) -> None:
    program = _export(name, backend)
    placed = program._lowered.memory_requests()
    assert placed
    requests = [(size, first, last) for size, first, last, _ in placed]
    theirs = _bytes_by_executorch(requests)
    offsets, ours = _core.plan_memory(requests)
    assert all(offset % 16 == 0 for offset in offsets)
    assert (
        max(offset + size for offset, (size, _, _) in zip(offsets, requests, strict=True)) <= ours
    )
    assert not _overlapping(requests, offsets)
    assert ours <= theirs
    arena = program.arena_sizes[1]
    assert arena <= ours
    # Where results lie in operands' places, one begins where the other ends.
    for (_, first, last), (_, other_first, other_last) in _overlapping(
        requests, [offset for _, _, _, offset in placed]
    ):
        assert last == other_first or other_last == first


def test_plans_of_lives_at_random() -> None:
    random = Random(1)
    smaller = 0
    for _ in range(150):
        end = random.randint(3, 40)
        requests = []
        for _ in range(random.randint(2, 60)):
            first = random.randrange(end)
            size = random.choice([16, 48, 64, 100, 1000, random.randint(1, 2000)])
            requests.append((size, first, min(end, first + random.choice([1, 1, 2, 3, end]))))
        offsets, ours = _core.plan_memory(requests)
        theirs = _bytes_by_executorch(requests)
        assert ours <= theirs
        assert not _overlapping(requests, offsets)
        smaller += ours < theirs
    assert smaller > 20
    assert _core.plan_memory([]) == ([], 0)


def test_overlaps_are_found() -> None:
    requests = [(32, 0, 2), (32, 2, 4), (16, 3, 5)]
    assert not _overlapping(requests, [0, 32, 0])
    assert len(_overlapping(requests, [0, 16, 0])) == 1
    assert len(_overlapping(requests, [0, 0, 16])) == 2


def _row(x: torch.Tensor) -> torch.Tensor:
    return x[:1]


def _column(x: torch.Tensor) -> torch.Tensor:
    return x[:, 1:2]


def _element(x: torch.Tensor) -> torch.Tensor:
    return x[0, 0]


FLOATS: list[Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = [
    *(
        lambda a, _, op=op: op(a)  # type: ignore[misc]
        for op in (
            *(torch.abs, torch.acos, torch.asin, torch.asinh, torch.atan, torch.atanh, torch.ceil),
            *(torch.cos, torch.cosh, torch.erf, torch.exp, torch.expm1, torch.floor, torch.log),
            *(torch.log10, torch.log1p, torch.log2, torch.neg, torch.reciprocal, torch.relu),
            *(torch.round, torch.rsqrt, torch.sigmoid, torch.sign, torch.sin, torch.sinh),
            *(torch.sqrt, torch.tan, torch.tanh, torch.trunc, torch.nn.functional.gelu),
            *(torch.nn.functional.elu, torch.nn.functional.hardtanh),
            torch.nn.functional.leaky_relu,
        )
    ),
    *(
        lambda a, b, op=op: op(a, b)  # type: ignore[misc]
        for op in (
            *(torch.add, torch.sub, torch.mul, torch.div, torch.atan2, torch.fmod, torch.maximum),
            *(torch.minimum, torch.pow, torch.remainder, torch.floor_divide),
        )
    ),
    *(
        lambda a, b, op=op, of=of: op(a, of(b))  # type: ignore[misc]
        for op in (torch.add, torch.sub, torch.mul, torch.div, torch.maximum, torch.pow)
        for of in (_row, _column, _element)
    ),
    *(
        lambda a, b, op=op, of=of: op(of(a), b)  # type: ignore[misc]
        for op in (torch.add, torch.sub, torch.mul, torch.div, torch.maximum, torch.pow)
        for of in (_row, _column, _element)
    ),
    lambda a, _: torch.acosh(a.cumsum(0).cumsum(1)),
    lambda a, b: torch.div(a, b, rounding_mode="floor"),
    lambda a, _: torch.clamp(a, 0.3, 0.6),
    lambda a, b: torch.clamp(a, b, b + 1),
    lambda a, b: torch.where(a > b, a, b),
    lambda a, b: torch.where(a > b, b, a),
    lambda a, b: a.masked_fill(b > 0.5, 2.5),
    lambda a, _: torch.pow(a, 1.7),
    lambda a, _: torch.pow(1.7, a),
    lambda a, _: torch.ops.aten.add.Scalar(a, 1.25),
    lambda a, _: torch.ops.aten.sub.Scalar(a, 1.25),
    lambda a, _: torch.ops.aten.mul.Scalar(a, 1.25),
    lambda a, _: torch.ops.aten.div.Scalar(a, 1.25),
    lambda a, _: torch.ops.aten.div.Scalar_mode(a, 0.25, rounding_mode="trunc"),
    lambda a, _: torch.rsub(a, 1.25),
    lambda a, _: torch.fmod(a, 0.3),
    lambda a, _: torch.remainder(a, 0.3),
]
INTS: list[Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = [
    *(
        lambda a, b, op=op: op(a, b)  # type: ignore[misc]
        for op in (torch.bitwise_and, torch.bitwise_or, torch.bitwise_xor)
    ),
    *(
        lambda a, _, op=op: op(a, 13)  # type: ignore[misc]
        for op in (torch.bitwise_and, torch.bitwise_or, torch.bitwise_xor)
    ),
    lambda a, _: torch.bitwise_not(a),
]
BOOLS: list[Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = [
    *(
        lambda a, b, op=op: op(a, b)  # type: ignore[misc]
        for op in (torch.logical_and, torch.logical_or, torch.logical_xor, torch.eq, torch.ne)
    ),
    lambda a, _: torch.logical_not(a),
    lambda a, _: torch.eq(a, 1),
    lambda a, _: torch.ne(a, 1),
]


class ByElement(torch.nn.Module):
    """Each kernel on operands of its own, whose memory it may take."""

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        made, step = [torch.cumsum(x, 0)], 0

        def operand(dtype: torch.dtype) -> torch.Tensor:
            nonlocal step
            step += 1
            values = torch.cumsum(x, 0) * (0.2 + 0.001 * step)
            if dtype == torch.float32:
                return values.flip(0)
            if dtype == torch.bool:
                return (values > 0.4).flip(0)
            return values.cumsum(0).cumsum(1).to(dtype).flip(0)

        for dtype, kernels in (
            (torch.float32, FLOATS),
            (torch.int64, INTS),
            (torch.bool, BOOLS),
        ):
            for kernel in kernels:
                made.append(kernel(operand(dtype), operand(dtype)).flip(0))
        return made


@pytest.mark.parametrize("dynamic", [False, True])
def test_kernels_write_where_their_operands_lay(dynamic: bool) -> None:
    model, x = ByElement().eval(), torch.rand(4, 6)
    config = ExecutorchConfig(backend="portable", dynamic=dynamic, alloc_graph_output=False)
    program = ExecutorchExporter().export(model, {"x": x}, config)
    called: dict[str, Any] = program.call_counts
    assert set(_core.elementwise_kernels()) <= set(called)
    placed = program._lowered.memory_requests()
    requests = [(size, first, last) for size, first, last, _ in placed]
    in_place = _overlapping(requests, [offset for _, _, _, offset in placed])
    assert len(in_place) == len(FLOATS) + len(INTS) + len(BOOLS)
    for given in [x, torch.rand(4, 6), *([torch.rand(7, 5)] if dynamic else [])]:
        for ours, eager in zip(program(x=given), model(given), strict=True):
            torch.testing.assert_close(ours, eager, equal_nan=True)
