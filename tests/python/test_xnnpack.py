"""What XNNPACK's delegate computes in ExecuTorch's runtime, against eager."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim

from portwright.exporters import ExecutorchConfig, ExecutorchExporter
from portwright.exporters.executorch_program import ExecutorchProgram
from xnnpack_cases import CASES, Case

pytest.importorskip("executorch", reason="executorch, whose runtime runs .pte files, is absent")

NAMES = "abc"
SIZES = [
    {"b": 2, "t": 5, "u": 6, "h": 9, "w": 11},
    {"b": 1, "t": 1, "u": 1, "h": 7, "w": 7},
    {"b": 3, "t": 9, "u": 7, "h": 12, "w": 10},
]


class Applied(nn.Module):
    """A function of a module and of up to three tensors, as a module."""

    def __init__(self, function: Any, module: nn.Module) -> None:
        super().__init__()
        self.function, self.module = function, module
        self.eval()

    def forward(self, a: Tensor, b: Tensor | None = None, c: Tensor | None = None) -> Any:
        return self.function(self.module, *[x for x in (a, b, c) if x is not None])


def inputs_of(case: Case, sizes: dict[str, int]) -> dict[str, Tensor]:
    tensors = {}
    for name, shape in zip(NAMES, case.shapes, strict=False):
        dims = [max(sizes[d], case.least) if d.isalpha() else int(d) for d in shape.split()]
        generator = torch.Generator().manual_seed(sum(dims))
        drawn = torch.rand if case.positive else torch.randn
        tensors[name] = drawn(dims, generator=generator) + (1e-3 if case.positive else 0)
    return tensors


def dims_of(case: Case) -> dict[str, dict[int, Any]]:
    dims = {letter: Dim(letter, min=case.least, max=64) for letter in SIZES[0]}
    return {
        name: {i: dims[d] for i, d in enumerate(shape.split()) if d.isalpha()}
        for name, shape in zip(NAMES, case.shapes, strict=False)
    }


def exported(model: nn.Module, inputs: dict[str, Any], **options: Any) -> ExecutorchProgram:
    return ExecutorchExporter().export(model, inputs, ExecutorchConfig(**options))


def kernels_of(program: ExecutorchProgram) -> dict[str, int]:
    """Calls of kernels that compute something: no views, no arithmetic of sizes."""
    free = ("executorch_prim::", "aten::sym_size.", "delegate")
    return {name: n for name, n in program.call_counts.items() if not name.startswith(free)}


def check(program: ExecutorchProgram, model: nn.Module, inputs: dict[str, Any]) -> None:
    with torch.no_grad():
        torch.testing.assert_close(program(**inputs), model(**inputs), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_dynamic(case: Case) -> None:
    model = Applied(case.function, case.module)
    program = exported(model, inputs_of(case, SIZES[0]), dynamic_shapes=dims_of(case))
    assert (program.call_counts["delegate"], kernels_of(program)) == (1, {})
    for sizes in SIZES:
        check(program, model, inputs_of(case, sizes))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_static(case: Case) -> None:
    model = Applied(case.function, case.module)
    program = exported(model, inputs_of(case, SIZES[0]))
    assert (program.call_counts["delegate"], kernels_of(program)) == (1, {})
    check(program, model, inputs_of(case, SIZES[0]))


class Attention(nn.Module):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = options

    def forward(self, q: Tensor, k: Tensor, mask: Tensor | None = None) -> Tensor:
        return F.scaled_dot_product_attention(q, k, k * 2, mask, **self.options)


def attention_inputs(batch: int, heads: int, queries: int, keys: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(queries)
    q = torch.randn(batch, heads, queries, 8, generator=generator)
    return {"q": q, "k": torch.randn(batch, 2, keys, 8, generator=generator)}


def bool_mask(batch: int, queries: int, keys: int) -> Tensor:
    """Some keys are hidden, and from the first query all of them."""
    mask = torch.rand(batch, 1, queries, keys, generator=torch.Generator().manual_seed(keys)) > 0.4
    mask[:, :, 0] = False
    return mask


def float_mask(batch: int, queries: int, keys: int) -> Tensor:
    return torch.zeros(batch, 1, queries, keys).masked_fill(
        ~bool_mask(batch, queries, keys), -torch.inf
    )


def summed_mask(batch: int, queries: int, keys: int) -> Tensor:
    """Two masks of the least number: their sum is infinite where both hide a key."""
    least = torch.finfo(torch.float32).min
    masks = [bool_mask(batch, queries, keys), bool_mask(batch, queries, keys + 1)[..., 1:]]
    first, second = (torch.zeros(m.shape).masked_fill(~m, least) for m in masks)
    return first + second


ATTENTION_SIZES = [(2, 5, 6), (1, 1, 1), (3, 9, 9), (1, 1, 7)]
ATTENTION_DIMS = {
    "q": {0: Dim("b", min=1, max=8), 2: Dim("t", min=1, max=32)},
    "k": {0: Dim("b", min=1, max=8), 2: Dim("u", min=1, max=32)},
}
MASK_DIMS = {0: Dim("b", min=1, max=8), 2: Dim("t", min=1, max=32), 3: Dim("u", min=1, max=32)}


@pytest.mark.parametrize("heads", [2, 6])
@pytest.mark.parametrize("mask", [None, bool_mask, float_mask, summed_mask])
def test_attention(heads: int, mask: Any) -> None:
    model = Attention(enable_gqa=heads > 2)

    def inputs(batch: int, queries: int, keys: int) -> dict[str, Tensor]:
        found = attention_inputs(batch, heads, queries, keys)
        return found if mask is None else {**found, "mask": mask(batch, queries, keys)}

    dims = ATTENTION_DIMS if mask is None else {**ATTENTION_DIMS, "mask": MASK_DIMS}
    program = exported(model, inputs(*ATTENTION_SIZES[0]), dynamic_shapes=dims)
    assert "aten::bmm.out" not in program.call_counts
    assert "aten::expand_copy.out" not in program.call_counts
    for sizes in ATTENTION_SIZES:
        check(program, model, inputs(*sizes))


@pytest.mark.parametrize("heads", [2, 4, 6, 8, 16])
@pytest.mark.parametrize("mask", [None, bool_mask, float_mask])
def test_attention_of_one_query(heads: int, mask: Any) -> None:
    """A token beside a cache: heads that share keys are rows of one product."""
    model = Attention(enable_gqa=heads > 2)

    def inputs(batch: int, keys: int) -> dict[str, Tensor]:
        found = attention_inputs(batch, heads, 1, keys)
        return found if mask is None else {**found, "mask": mask(batch, 1, keys)}

    batch, keys = Dim("b", min=1, max=8), Dim("u", min=1, max=32)
    dims = {"q": {0: batch}, "k": {0: batch, 2: keys}}
    if mask is not None:
        dims["mask"] = {0: batch, 3: keys}
    program = exported(model, inputs(2, 6), dynamic_shapes=dims)
    assert "aten::bmm.out" not in program.call_counts
    for sizes in [(2, 6), (1, 1), (3, 32)]:
        check(program, model, inputs(*sizes))


@pytest.mark.parametrize("heads", [2, 6])
def test_causal_attention(heads: int) -> None:
    model = Attention(enable_gqa=heads > 2, is_causal=True, scale=0.3)
    inputs = [attention_inputs(b, heads, t, u) for b, t, u in ATTENTION_SIZES]
    program = exported(model, inputs[0], dynamic_shapes=ATTENTION_DIMS)
    assert "aten::any.out" not in program.call_counts
    for sizes in inputs:
        check(program, model, sizes)


class Counter(nn.Module):
    """State that a delegate reads and writes."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("state", torch.ones(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.softmax(x @ self.state, -1)
        self.state.copy_(self.state + y)
        return y


def test_state_is_no_constant() -> None:
    x = torch.eye(4)
    program, model = exported(Counter(), {"x": x}), Counter()
    for _ in range(3):
        check(program, model, {"x": x})


def test_tied_weights_are_stored_once() -> None:
    layer = nn.Linear(256, 256, bias=False)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    program = exported(Applied(lambda m, x: m(x), model), {"a": torch.randn(2, 256)})
    assert len(program.buffer) < 256 * 256 * 4 * 1.1


def edges(_: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    roots = torch.rsqrt(x.abs().clamp(max=1e30))
    return roots, F.softmax(x, -1), x.exp() * 2, x.sigmoid(), x.tanh()


def test_edges_of_operators() -> None:
    """Zeros under roots, rows with keys that are hidden, numbers past what exp can hold."""
    x = torch.tensor([[0.0, 4.0, 100.0, -torch.inf], [-200.0, 200.0, 1e20, 1e-30]])
    model = Applied(edges, nn.Identity())
    check(exported(model, {"a": x}), model, {"a": x})
