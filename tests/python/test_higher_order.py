"""torch.cond, scans, loops and maps, vmap, checkpointed layers, and code that asks the compiler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch._higher_order_ops.associative_scan import associative_scan
from torch._higher_order_ops.map import map as torch_map
from torch._higher_order_ops.scan import scan
from torch._higher_order_ops.strict_mode import strict_mode
from torch._higher_order_ops.while_loop import while_loop
from torch.export import Dim
from torch.fx.experimental.symbolic_shapes import guard_or_false, statically_known_true
from torch.nn.attention.flex_attention import flex_attention
from torch.utils.checkpoint import checkpoint

from portwright.capture import CapturedProgram, capture
from portwright.errors import DataDependentError, GuardViolatedError, UnsupportedError


class Applied(nn.Module):
    """A function of one tensor, and a layer that it may use."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function
        self.layer = nn.Linear(3, 3)
        self.register_buffer("total", torch.zeros(3))

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(self, x)


def captured(function: Callable[..., Any], **options: Any) -> tuple[Applied, CapturedProgram]:
    torch.manual_seed(0)
    model = Applied(function).eval()
    return model, capture(model, {"x": torch.randn(4, 3)}, dynamic=True, **options)


def check(function: Callable[..., Any], *rows: int, **options: Any) -> CapturedProgram:
    """Captured with 4 rows, the program gives what eager gives with 4 and with other numbers."""
    model, program = captured(function, **options)
    for count in (4, *rows):
        for sign in (1.0, -1.0):
            x = sign * torch.randn(count, 3).abs()
            with torch.no_grad():
                torch.testing.assert_close(program.run({"x": x}), model(x))
    return program


def operators(program: CapturedProgram) -> str:
    return str(program.program.text())


def cond_on_data(model: Applied, x: torch.Tensor) -> Any:
    return torch.cond(x.sum() > 0, lambda x: model.layer(x), lambda x: x - 1, (x,))


def cond_of_structure(model: Applied, x: torch.Tensor) -> Any:
    return torch.cond(
        (x.sum() > 0).reshape(1),
        lambda x: {"a": x + 1, "b": (x.sum(), x[:1] + 1)},
        lambda x: {"a": x * 2, "b": (x.mean(), x[1:2] * 2)},
        (x,),
    )


@pytest.mark.parametrize("function", [cond_on_data, cond_of_structure])
def test_cond_on_a_tensor_holds_for_both_answers(function: Callable[..., Any]) -> None:
    assert "aten.where.self" in operators(check(function, 7))


def test_cond_on_a_size_is_a_decision() -> None:
    def function(model: Applied, x: torch.Tensor) -> Any:
        return torch.cond(x.shape[0] > 3, lambda x: x + 1, lambda x: x - 1, (x,))

    program = check(function, 9)
    with pytest.raises(GuardViolatedError, match=r"x\.size\(0\)"):
        program.run({"x": torch.ones(3, 3)})


def test_nested_conds() -> None:
    def function(model: Applied, x: torch.Tensor) -> Any:
        def outer(x: torch.Tensor) -> Any:
            return torch.cond(x.max() > 1, lambda x: x + 1, lambda x: x.cos(), (x,))

        return torch.cond(x.sum() > 0, outer, lambda x: x * 2, (x,))

    check(function, 6)


def cond_that_writes(model: Applied, x: torch.Tensor) -> Any:
    def write() -> torch.Tensor:
        model.total.add_(1)
        return x + 1

    return torch.cond(x.sum() > 0, write, lambda: x + 0, ())


def cond_that_writes_a_constant(model: Applied, x: torch.Tensor) -> Any:
    table = torch.zeros(3)
    result = torch.cond(x.sum() > 0, lambda: table.add_(1) + 0, lambda: table + 0, ())
    return result + table


def cond_that_decides(model: Applied, x: torch.Tensor) -> Any:
    def count(x: torch.Tensor) -> torch.Tensor:
        return x + 1 if int((x > 0).sum()) > 2 else x

    return torch.cond(x.sum() > 0, count, lambda x: x - 1, (x,))


def cond_of_two_shapes(model: Applied, x: torch.Tensor) -> Any:
    return torch.cond(x.sum() > 0, lambda x: x, lambda x: x[:1], (x,))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (cond_that_writes, "writes to a tensor from outside"),
        (cond_that_writes_a_constant, "writes to a tensor from outside"),
        (cond_that_decides, "decides on data"),
        (cond_of_two_shapes, r"different structure, dtype or shape: float32\[s0, s1\]"),
    ],
)
def test_what_cond_cannot_do_is_refused_with_its_line(
    function: Callable[..., Any], message: str
) -> None:
    with pytest.raises(UnsupportedError, match=message) as caught:
        captured(function)
    assert "torch.cond" in str(caught.value)
    assert caught.value.source_file.endswith("test_higher_order.py")
    assert caught.value.source_line > 0


def running(carry: torch.Tensor, row: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    carry = carry * 0.5 + row
    return carry, carry.sin()


def scan_rows(model: Applied, x: torch.Tensor) -> Any:
    return scan(running, x.new_zeros(3), x)


def scan_back_along_another_dim(model: Applied, x: torch.Tensor) -> Any:
    return scan(running, x.new_zeros(3), x.T, dim=1, reverse=True)


def scan_of_structure(model: Applied, x: torch.Tensor) -> Any:
    def step(carry: Any, row: Any) -> Any:
        total = carry["total"] + model.layer(row["x"])
        return {"total": total, "last": row["y"] + 0}, (total * 2, row["x"] - carry["last"])

    init = {"total": x.new_zeros(3), "last": x.new_ones(3)}
    return scan(step, init, {"x": x, "y": x + 1})


@pytest.mark.parametrize("function", [scan_rows, scan_back_along_another_dim, scan_of_structure])
@pytest.mark.parametrize("loops", [True, False])
def test_scan(function: Callable[..., Any], loops: bool) -> None:
    program = check(function, *((2, 9) if loops else ()), loops=loops)
    assert ("portwright.loop.default" in operators(program)) == loops
    if not loops:
        with pytest.raises(GuardViolatedError, match="'x' has size 5 in dim 0"):
            program.run({"x": torch.ones(5, 3)})


def test_map_over_a_dynamic_length() -> None:
    def function(model: Applied, x: torch.Tensor) -> Any:
        return torch_map(lambda row, bias: model.layer(row) + bias, x, x.sum(0))

    assert "portwright.loop.default" in operators(check(function, 2, 9))


def decayed(left: Any, right: Any) -> Any:
    return left[0] * right[0], right[1] + right[0] * left[1]


def test_associative_scan_over_a_dynamic_length() -> None:
    def function(model: Applied, x: torch.Tensor) -> Any:
        return associative_scan(decayed, (x.sigmoid(), x), dim=0, combine_mode="generic")

    assert "portwright.loop.default" in operators(check(function, 2, 9))


def test_associative_scan_over_a_fixed_length_keeps_the_other_dims() -> None:
    def function(model: Applied, x: torch.Tensor) -> Any:
        return associative_scan(torch.add, x, dim=1, reverse=True, combine_mode="generic")

    model = Applied(function).eval()
    x = torch.randn(4, 3)
    program = capture(model, {"x": x}, dynamic_shapes={"x": {0: Dim.AUTO}})
    assert "portwright.loop" not in operators(program)
    x = torch.randn(6, 3)
    torch.testing.assert_close(program.run({"x": x}), model(x))
    static = capture(model, {"x": x})
    torch.testing.assert_close(static.run({"x": x}), model(x))


@pytest.mark.parametrize("rows", [1, 2])
def test_scans_of_one_and_two_rows(rows: int) -> None:
    def function(model: Applied, x: torch.Tensor) -> Any:
        scanned = associative_scan(decayed, (x, x + 1), dim=0, combine_mode="generic")
        return scanned, scan(running, x.new_zeros(3), x), torch_map(torch.sin, x)

    model, x = Applied(function).eval(), torch.randn(rows, 3)
    program = capture(model, {"x": x}, dynamic_shapes={"x": {1: Dim.AUTO}})
    torch.testing.assert_close(program.run({"x": x}), model(x))


def test_while_loop_of_a_counter_is_unrolled() -> None:
    def function(model: Applied, x: torch.Tensor) -> Any:
        return while_loop(
            lambda i, x: i < 3, lambda i, x: (i + 1, model.layer(x)), (torch.tensor(0), x)
        )

    check(function, 2, 9)


def test_while_loop_on_data_is_checked_when_the_program_runs() -> None:
    def function(model: Applied, x: torch.Tensor) -> Any:
        return while_loop(lambda x: x.sum() < 10, lambda x: (x * 2,), (x,))

    model = Applied(function).eval()
    x = torch.ones(4, 3) / 3
    program = capture(model, {"x": x}, dynamic=True)
    torch.testing.assert_close(program.run({"x": x}), model(x))
    with pytest.raises(GuardViolatedError, match=r"test_higher_order\.py"):
        program.run({"x": x * 8})


def test_other_higher_order_operators_are_refused_by_name() -> None:
    def function(model: Applied, x: torch.Tensor) -> Any:
        return strict_mode(lambda x: (x + 1,), (x,))

    with pytest.raises(UnsupportedError, match="operator strict_mode cannot be captured") as caught:
        captured(function)
    assert caught.value.source_line == function.__code__.co_firstlineno + 1


def test_flex_attention_is_refused_by_name() -> None:
    def function(model: Applied, x: torch.Tensor) -> Any:
        return flex_attention(x[None, None], x[None, None], x[None, None])

    with pytest.raises(UnsupportedError, match=r"flex_attention cannot be.*sdpa") as caught:
        captured(function)
    assert caught.value.source_line == function.__code__.co_firstlineno + 1


def checkpointed(model: Applied, x: torch.Tensor) -> Any:
    return checkpoint(model.layer, x, use_reentrant=False)


def checkpointed_reentrant(model: Applied, x: torch.Tensor) -> Any:
    return checkpoint(model.layer, x, use_reentrant=True)


@torch.compiler.disable
def _disabled(x: torch.Tensor) -> torch.Tensor:
    return x.relu() + x.shape[0]


def compiler_disabled(model: Applied, x: torch.Tensor) -> Any:
    return _disabled(x)


@torch.compiler.allow_in_graph
def _allowed(x: torch.Tensor) -> torch.Tensor:
    return x.relu() + x.shape[0]


def allowed_in_graph(model: Applied, x: torch.Tensor) -> Any:
    return _allowed(x)


_compiled = torch.compile(_disabled.__wrapped__, backend="eager", fullgraph=True)


def compiled(model: Applied, x: torch.Tensor) -> Any:
    return _compiled(x)


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x * 2


def autograd_function(model: Applied, x: torch.Tensor) -> Any:
    return Doubled.apply(x)


def asks_the_compiler(model: Applied, x: torch.Tensor) -> Any:
    if torch.compiler.is_dynamo_compiling():
        raise AssertionError("dynamo is not running")
    return x + 1 if torch.compiler.is_compiling() and torch.compiler.is_exporting() else x + 1.0


def vmapped_mask(model: Applied, x: torch.Tensor) -> Any:
    rows = torch.arange(x.shape[0])

    def causal(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        return (key <= query) & (x[key, 0] > -10)

    mask = torch.vmap(torch.vmap(causal, in_dims=(None, 0)), in_dims=(0, None))(rows, rows)
    return mask.float() @ x


def vmapped_layer(model: Applied, x: torch.Tensor) -> Any:
    return torch.vmap(model.layer, in_dims=1, out_dims=1)(x.expand(3, *x.shape).permute(1, 0, 2))


def symbolic_questions(model: Applied, x: torch.Tensor) -> Any:
    rows = x.shape[0]
    torch._check(rows >= 2, lambda: "at least two rows")
    if guard_or_false(rows == 4):
        raise AssertionError("that does not hold for every size")
    if statically_known_true(rows == 4) or not statically_known_true(rows >= 2):
        raise AssertionError("what is known of the number of rows")
    return x * rows


CODE = [
    checkpointed,
    checkpointed_reentrant,
    compiler_disabled,
    allowed_in_graph,
    compiled,
    autograd_function,
    vmapped_mask,
    vmapped_layer,
    asks_the_compiler,
]


@pytest.mark.parametrize("function", CODE, ids=lambda function: function.__name__)
def test_code_around_layers_that_is_transparent(function: Callable[..., Any]) -> None:
    check(function, 2, 9)


def test_code_that_torch_itself_refuses_to_export_says_where() -> None:
    def function(model: Applied, x: torch.Tensor) -> Any:
        return torch.compiler.disable(model.layer, recursive=False)(x)

    with pytest.raises(RuntimeError, match=r"torch\.compiler\.disable is not supported") as caught:
        captured(function)
    line = function.__code__.co_firstlineno + 1
    assert f"test_higher_order.py:{line}" in caught.value.__notes__[0]


def test_questions_about_sizes_get_the_answer_that_always_holds() -> None:
    _, program = captured(symbolic_questions)
    x = torch.randn(9, 3)
    torch.testing.assert_close(program.run({"x": x}), x * 9)
    with pytest.raises(GuardViolatedError, match=r"x\.size\(0\)"):
        program.run({"x": torch.ones(1, 3)})


def test_a_float_read_in_a_branch_is_refused() -> None:
    def function(model: Applied, x: torch.Tensor) -> Any:
        return torch.cond(x.sum() > 0, lambda x: x * float(x.max()), lambda x: x, (x,))

    with pytest.raises(DataDependentError, match="reads a float"):
        captured(function)


def test_torch_compiles_as_before_after_a_capture() -> None:
    from torch._dynamo import eval_frame

    before = eval_frame._stance
    captured(scan_rows)
    with pytest.raises(UnsupportedError):
        captured(cond_of_two_shapes)
    assert eval_frame._stance is before
    assert torch._ops.HigherOrderOperator.__call__.__module__ == "torch._ops"
