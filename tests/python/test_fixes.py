"""Fixes, translations and IR fixes that users register: what they see and what becomes of it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from onnxscript import FLOAT

import models
import registries
from portwright import DynamoConfig, DynamoExporter, OnnxConfig, OnnxExporter, errors
from portwright.exporters import fx_fixes, onnx_extensions, utils
from portwright.exporters.exporter_onnx import _IR_FIXES, _ONNX_TRANSLATION_TABLE
from portwright.exporters.utils import register_fx_node_fix, register_fx_program_fix
from portwright.verify import CAPTURE_TOLERANCE, compare

aten = torch.ops.aten


@pytest.fixture(autouse=True)
def _registries() -> Iterator[None]:
    """What a test registers is gone after it."""
    with registries.restored():
        yield


class Pair(torch.nn.Module):
    """Two outputs in a dict, in another order than torch's pytrees take, and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(4, 4)
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, y: torch.Tensor, x: torch.Tensor) -> dict[str, Any]:
        self.calls.add_(1)
        return {"z": torch.relu(self.linear(x)), "a": y + self.calls, "n": x.shape[0] * 2}


def pair(batch: int = 3) -> dict[str, Any]:
    return {"x": torch.randn(batch, 4), "y": torch.randn(batch, 2)}


def export(model: torch.nn.Module, inputs: dict[str, Any], **config: Any) -> Any:
    return DynamoExporter().export(model.eval(), inputs, DynamoConfig(dynamic=True, **config))


def relu_to_gelu(gm: torch.fx.GraphModule, node: torch.fx.Node) -> bool:
    if node.target is not aten.relu.default:
        return False
    with gm.graph.inserting_after(node):
        gelu = gm.graph.call_function(aten.gelu.default, node.args)
    node.replace_all_uses_with(gelu)
    return True


def test_an_edit_is_what_runs_is_saved_and_is_looked_at(tmp_path: Path) -> None:
    register_fx_node_fix("dynamo")(relu_to_gelu)
    model = Pair()
    program = export(copy.deepcopy(model), pair())
    assert "aten.relu.default" not in program.program.op_counts()
    assert "relu" not in {node.name for node in program.graph.nodes}
    program.validate()
    program.save(tmp_path / "model.pt2")
    reloaded = torch.export.load(tmp_path / "model.pt2").module()
    inputs = pair(7)
    expected = torch.nn.functional.gelu(model.linear(inputs["x"]))
    for calls, run in enumerate((program.module(), reloaded), start=1):
        outputs = run(**inputs)
        torch.testing.assert_close(outputs["z"], expected)
        assert list(outputs) == ["z", "a", "n"]
        assert outputs["n"] == 14
        # the first run counts in the model's own buffer, the file was written before it
        torch.testing.assert_close(outputs["a"], inputs["y"] + 1)
        assert calls


def test_names_order_and_guards_survive_the_way_back() -> None:
    class Bounded(torch.nn.Module):
        def forward(self, b: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
            return b.relu() + a if a.shape[0] <= 5 else b - a

    inputs = {"b": torch.randn(3), "a": torch.randn(3)}
    plain = export(Bounded(), inputs)
    register_fx_node_fix("dynamo")(lambda gm, node: False)
    fixed = export(Bounded(), inputs)
    assert [i[0] for i in fixed.program.user_inputs()] == ["b", "a"]
    assert [i[0] for i in plain.program.user_inputs()] == ["b", "a"]
    for program in (plain, fixed):
        with pytest.raises(errors.GuardViolatedError):
            program.module()(b=torch.randn(6), a=torch.randn(6))


@pytest.mark.parametrize("name", ["qwen3_decode", "vit", "bert"])
def test_a_model_with_a_fix_equals_eager_at_every_shape(name: str) -> None:
    register_fx_node_fix("dynamo")(lambda gm, node: False)
    case = models.case(name)
    run = export(case.model, case.inputs).module()
    for label, inputs in {"sample": case.inputs, **case.variants}.items():
        with torch.no_grad():
            expected = case.model(**copy.deepcopy(inputs))
        result = compare(label, inputs, run(**copy.deepcopy(inputs)), expected, CAPTURE_TOLERANCE)
        assert result.differences
        assert result.matches, result.problems


class Scaled(torch.nn.Module):
    """aten.addcmul is one operator, and a product and a sum after decompositions."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.addcmul(x, x, x, value=2).relu()


def test_node_fixes_run_again_after_decompositions() -> None:
    seen: list[Any] = []

    @register_fx_node_fix("dynamo")
    def products_to_sums(gm: torch.fx.GraphModule, node: torch.fx.Node) -> bool:
        seen.append(node.target)
        if node.target is not aten.mul.Tensor or not isinstance(node.args[1], torch.fx.Node):
            return False
        with gm.graph.inserting_after(node):
            total = gm.graph.call_function(aten.add.Tensor, node.args)
        node.replace_all_uses_with(total)
        return True

    x = torch.randn(3, 4)
    program = export(Scaled(), {"x": x})
    torch.testing.assert_close(program.module()(x=x), (x + 2 * x * x).relu())
    assert aten.mul.Tensor not in seen
    decomposed = program.run_decompositions()
    assert aten.mul.Tensor in seen
    decomposed.validate()
    torch.testing.assert_close(decomposed.module()(x=x), (x + (2 * x + x)).relu())
    # those that were registered when it was exported
    with registries.restored():
        fx_fixes._FX_NODE_FIXES.clear()
        again = program.run_decompositions()
    torch.testing.assert_close(again.module()(x=x), decomposed.module()(x=x))


def test_fixes_that_spoil_a_decomposed_program_are_refused() -> None:
    @register_fx_node_fix("dynamo")
    def spoil(gm: torch.fx.GraphModule, node: torch.fx.Node) -> bool:
        if node.target is aten.mul.Tensor:
            node.target = torch.ops.aten.mul_.Tensor
        return False

    x = torch.randn(3, 4)
    program = export(Scaled(), {"x": x})
    torch.testing.assert_close(program.module()(x=x), (x + 2 * x * x).relu())
    with pytest.raises(errors.InvalidArgumentError, match="node fixes leave"):
        program.run_decompositions()


def test_loops_are_unrolled_for_fixes() -> None:
    class Sums(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            total = torch.zeros(x.shape[1])
            for i in range(x.shape[0]):
                total = total * 0.5 + x[i]
            return total.relu()

    register_fx_node_fix("dynamo")(relu_to_gelu)
    x = torch.randn(3, 2)
    result = export(Sums(), {"x": x}).module()(x=x)
    torch.testing.assert_close(result, torch.nn.functional.gelu((x[0] * 0.5 + x[1]) * 0.5 + x[2]))


def test_the_first_fix_that_consumes_a_node_is_its_last() -> None:
    seen: list[str] = []

    @register_fx_node_fix("dynamo")
    def first(gm: torch.fx.GraphModule, node: torch.fx.Node) -> bool:
        seen.append(f"first {node.name}")
        return node.name == "relu"

    @register_fx_node_fix("dynamo")
    def second(gm: torch.fx.GraphModule, node: torch.fx.Node) -> bool:
        seen.append(f"second {node.name}")
        return False

    export(torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Sigmoid()), {"input": torch.randn(2)})
    assert seen == ["first relu", "first sigmoid", "second sigmoid"]


def test_a_program_fix_sees_the_weights_and_runs_first() -> None:
    order = []

    @register_fx_node_fix("dynamo")
    def node_fix(gm: torch.fx.GraphModule, node: torch.fx.Node) -> bool:
        order.append("node")
        return False

    @register_fx_program_fix("dynamo")
    def double(program: torch.export.ExportedProgram) -> None:
        order.append("program")
        program.state_dict["weight"] = torch.nn.Parameter(program.state_dict["weight"] * 2)

    model = torch.nn.Linear(2, 2, bias=False)
    x = torch.randn(3, 2)
    result = export(model, {"input": x}).module()(input=x)
    torch.testing.assert_close(result, model(x) * 2)
    assert order[0] == "program"


def test_an_invalid_edit_is_named() -> None:
    @register_fx_node_fix("dynamo")
    def break_it(gm: torch.fx.GraphModule, node: torch.fx.Node) -> bool:
        node.target = torch.nn.functional.relu
        return True

    with pytest.raises(errors.InvalidArgumentError, match="valid"):
        export(torch.nn.ReLU(), {"input": torch.randn(2)})


def test_no_view_is_built_without_fixes(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise AssertionError("a view was built")

    monkeypatch.setattr(fx_fixes.ExportedProgram, "as_torch_program", fail)
    monkeypatch.setattr(onnx_extensions, "IrModel", fail)
    register_fx_node_fix("executorch")(relu_to_gelu)
    model, inputs = torch.nn.ReLU(), {"input": torch.randn(2)}
    export(model, inputs).module()(**inputs)
    OnnxExporter().export(model, inputs).model_proto  # noqa: B018


def test_onnx_has_its_own_fixes_and_takes_those_of_dynamo() -> None:
    register_fx_node_fix("onnx")(relu_to_gelu)
    model, x = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Tanh()), torch.randn(3, 4)
    program = OnnxExporter().export(model, {"input": x}, OnnxConfig(dynamic=True))
    gelu = torch.nn.functional.gelu
    for batch in (3, 5):
        x = torch.randn(batch, 4)
        torch.testing.assert_close(program(input=x), torch.tanh(gelu(x)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(export(model, {"input": x}).module()(input=x), model(x))


def test_the_registries_are_where_the_page_has_them() -> None:
    register_fx_node_fix("onnx")(relu_to_gelu)
    assert utils._FX_NODE_FIXES["onnx"] == [relu_to_gelu]
    assert "cached_rotary_positional_embedding" in utils._STATEFUL_CACHE_ATTRS
    assert utils._PATCHES["dynamo"]
    assert utils._FX_PROGRAM_FIXES.get("onnx", []) == []


class Bessel(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.special.bessel_j0(x) + torch.clamp(x, min=-0.5) + x.shape[0]


def bessel(x: Any) -> Any:
    """The start of its series: good below 1."""
    from onnxscript import opset18 as op

    y = op.Mul(x, x) * -0.25
    return op.Add(1.0, y * (y * (y * (y / 576.0 + 1 / 36.0) + 0.25) + 1.0))


def run_bessel(program: Any) -> None:
    for batch in (3, 5):
        x = torch.rand(batch, 4) - 0.5
        expected = torch.special.bessel_j0(x) + torch.clamp(x, min=-0.5) + batch
        torch.testing.assert_close(program(x=x), expected, rtol=1e-4, atol=1e-5)


def test_a_translation_gives_a_missing_lowering(tmp_path: Path) -> None:
    inputs, config = {"x": torch.rand(3, 4)}, OnnxConfig(dynamic=True)
    with pytest.raises(errors.MissingLoweringError, match="bessel_j0"):
        OnnxExporter().export(Bessel(), inputs, config)
    _ONNX_TRANSLATION_TABLE[aten.special_bessel_j0.default] = bessel
    program = OnnxExporter().export(Bessel(), inputs, config)
    run_bessel(program)
    for external in (True, False):
        program.save(tmp_path / "model.onnx", external_data=external)
        run_bessel(program)
    domains = {node.domain for node in program.model_proto.graph.node}
    assert domains == {""}
    assert [item.domain for item in program.model_proto.opset_import] == [""]
    assert not list(tmp_path.glob(".*"))


def test_a_translation_replaces_a_lowering_and_gets_numbers_and_none() -> None:
    from onnxscript import opset18 as op

    got: list[Any] = []

    def clamp(self: Any, minimum: Any = None, maximum: Any = None) -> Any:
        got.append((len(self.shape), minimum, maximum))
        return op.Max(self, minimum)

    _ONNX_TRANSLATION_TABLE["aten.clamp.default"] = clamp
    _ONNX_TRANSLATION_TABLE[aten.special_bessel_j0] = bessel
    program = OnnxExporter().export(Bessel(), {"x": torch.rand(3, 4)}, OnnxConfig(dynamic=True))
    assert got == [(2, -0.5, None)]
    run_bessel(program)


def test_a_scripted_function_becomes_a_function_of_the_model() -> None:
    from onnxscript import opset18 as op
    from onnxscript import script, values

    @script(values.Opset("example", 1))
    def bessel_j0(x: FLOAT[...]) -> FLOAT[...]:
        y = op.Mul(op.Mul(x, x), op.Constant(value_float=-0.25))
        return op.Constant(value_float=1.0) + y + y * y * op.Constant(value_float=0.25)

    _ONNX_TRANSLATION_TABLE[aten.special_bessel_j0.default] = bessel_j0
    program = OnnxExporter().export(Bessel(), {"x": torch.rand(3, 4)}, OnnxConfig(dynamic=True))
    x = torch.rand(5, 4) * 0.2
    expected = torch.special.bessel_j0(x) + x + 5
    torch.testing.assert_close(program(x=x), expected, rtol=1e-4, atol=1e-5)
    assert [function.name for function in program.model_proto.functions] == ["bessel_j0"]
    seen = []
    _IR_FIXES.append(lambda graph: seen.append(type(graph).__name__))
    onnx_extensions.apply_onnx_ir_fixes(program)
    assert seen == ["Graph", "Function"]


def test_a_wrong_translation_is_named() -> None:
    inputs = {"x": torch.rand(3, 4)}
    _ONNX_TRANSLATION_TABLE[aten.special_bessel_j0.default] = lambda x: (x, x)
    with pytest.raises(errors.InvalidArgumentError, match="2 results"):
        OnnxExporter().export(Bessel(), inputs)
    _ONNX_TRANSLATION_TABLE[aten.special_bessel_j0.default] = "Bessel"  # type: ignore[assignment]
    with pytest.raises(errors.InvalidArgumentError, match="Bessel"):
        OnnxExporter().export(Bessel(), inputs)


def test_an_ir_fix_edits_the_model_that_runs_and_is_saved(tmp_path: Path) -> None:
    import onnx

    def to_sigmoid(graph: Any) -> None:
        for node in graph:
            if node.op_type == "Tanh":
                node.op_type = "Sigmoid"

    _IR_FIXES.append(to_sigmoid)
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Tanh()).eval()
    x = torch.randn(3, 64)
    path = tmp_path / "model.onnx"
    config = OnnxConfig(dynamic=True, output_path=path)
    program = OnnxExporter().export(model, {"input": x}, config)
    torch.testing.assert_close(program(input=x), torch.sigmoid(model[0](x)), rtol=1e-4, atol=1e-5)
    written = sorted(item.name for item in tmp_path.iterdir())
    assert written == ["model.export.json", "model.onnx", "model.onnx_data"]
    onnx.checker.check_model(path)
    assert program.input_names == ["input"]
    assert program.node_count == len(onnx.load(path).graph.node)
