"""Dynamic shapes as torch.export states them, and what a program does with other sizes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.export import AdditionalInputs, Dim, ShapesCollection

import models
from portwright.capture import CapturedProgram, capture
from portwright.errors import GuardViolatedError, InvalidArgumentError
from portwright.exporters import DynamoConfig, DynamoExporter, OnnxConfig, OnnxExporter
from portwright.verify import compare


class Lambda(nn.Module):
    """A module whose forward is a function of up to two inputs, named x and y."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function
        self.eval()

    def forward(self, x: Any, y: Any = None) -> Any:
        return self.function(x) if y is None else self.function(x, y)


def traced(function: Callable[..., Any], specs: Any, *inputs: Any, **options: Any) -> Any:
    """The function captured with inputs x and y, and `specs` for them in order."""
    named = dict(zip("xy", inputs, strict=False))
    shapes = dict(zip("xy", specs, strict=False)) if isinstance(specs, tuple) else specs
    return capture(Lambda(function), named, dynamic_shapes=shapes, **options)


def symbols(program: CapturedProgram) -> dict[str, dict[str, Any]]:
    return {item["name"]: item for item in program.program.symbols()}


def where(condition: Callable[..., Any]) -> Callable[..., Any]:
    """A function that decides on a condition of its inputs' sizes."""
    return lambda *tensors: tensors[0] + 1 if condition(*tensors) else tensors[0] - 1


def rows(count: int, width: int = 3) -> torch.Tensor:
    return torch.randn(count, width)


# What specs mean.


def test_every_kind_of_dim() -> None:
    batch = Dim("batch", min=2, max=64)
    program = traced(
        lambda x, y: (x * 2, y * 2),
        (
            {0: batch, 1: Dim.AUTO, 2: Dim.DYNAMIC, 3: Dim.STATIC, 4: 2, 5: None},
            (2 * batch, batch + 1, 4 * batch - 3, Dim.AUTO(min=2, max=9)),
        ),
        torch.zeros(3, 4, 5, 6, 2, 2),
        torch.zeros(6, 4, 9, 4),
    )
    assert [shape for _, _, shape in program.program.user_inputs()] == [
        ["batch", "s0", "s1", 6, 2, 2],
        ["2*batch", "batch + 1", "4*batch - 3", "s2"],
    ]
    assert (symbols(program)["batch"]["lo"], symbols(program)["batch"]["hi"]) == (2, 64)
    assert (symbols(program)["s2"]["lo"], symbols(program)["s2"]["hi"]) == (2, 9)


def test_automatic_names_leave_room_for_named_dims() -> None:
    specs = ({0: Dim.AUTO, 1: Dim("s0")}, {0: Dim.AUTO})
    program = traced(lambda x, y: (x, y), specs, rows(2), rows(5))
    assert [shape for _, _, shape in program.program.user_inputs()] == [["s1", "s0"], ["s2", 3]]


def test_a_dim_that_stands_only_in_a_derived_one() -> None:
    half = Dim("half")
    program = traced(lambda x: x.reshape(-1, 2, 3).sum(1), ({0: 2 * half},), rows(4))
    x = rows(10)
    torch.testing.assert_close(program.run({"x": x}), x.reshape(-1, 2, 3).sum(1))
    with pytest.raises(GuardViolatedError, match=r"'x' has size 9 in dim 0.* needs 2\*half there"):
        program.run({"x": rows(9)})


def test_specs_of_nested_inputs() -> None:
    batch = Dim("batch")
    program = capture(
        Lambda(lambda x: x["a"] + x["b"][0] + x["b"][1]),
        {"x": {"a": rows(2), "b": [rows(2), rows(2)], "flag": True}},
        dynamic_shapes={"x": {"a": {0: batch}, "b": [(batch, None), {0: batch}], "flag": None}},
    )
    shapes = {name: shape for name, _, shape in program.program.user_inputs()}
    assert shapes == {"x.a": ["batch", 3], "x.b.0": ["batch", 3], "x.b.1": ["batch", 3]}


@pytest.mark.parametrize("form", ["one", "per tensor", "keys and values", "lists", "pairs"])
def test_specs_of_caches(form: str) -> None:
    case = models.case("qwen3_decode")
    batch, past = Dim("batch"), Dim("past")
    spec = {0: batch, 2: past}
    layers = len(case.inputs["past_key_values"].layers)
    forms = {
        "one": spec,
        "per tensor": [spec] * (2 * layers),
        "keys and values": {"key_cache": [spec] * layers, "value_cache": [spec] * layers},
        "lists": [[spec] * layers, [spec] * layers],
        "pairs": [[spec, spec] for _ in range(layers)],
    }
    program = capture(
        case.model,
        case.inputs,
        dynamic_shapes={
            "input_ids": {0: batch},
            "attention_mask": {0: batch, 1: Dim.AUTO},
            "past_key_values": forms[form],
        },
    )
    shapes = {name: shape for name, _, shape in program.program.user_inputs()}
    caches = [shape for name, shape in shapes.items() if name.startswith("past_key_values")]
    assert len(caches) == 2 * layers
    assert all((shape[0], shape[2]) == ("batch", "past") for shape in caches)


def test_shapes_collection_and_additional_inputs() -> None:
    x, y = rows(2), rows(5)
    collection = ShapesCollection()
    collection[x] = {0: Dim("batch")}
    program = capture(Lambda(lambda x, y: (x, y)), {"x": x, "y": y}, dynamic_shapes=collection)
    assert [shape for _, _, shape in program.program.user_inputs()] == [["batch", 3], [5, 3]]
    collection[rows(1)] = {0: Dim.AUTO}
    with pytest.raises(InvalidArgumentError, match="ShapesCollection"):
        capture(Lambda(lambda x, y: (x, y)), {"x": x, "y": y}, dynamic_shapes=collection)

    more = AdditionalInputs()
    more.add((), {"x": rows(4), "y": rows(5)})
    program = capture(Lambda(lambda x, y: (x, y)), {"x": x, "y": y}, dynamic_shapes=more)
    assert [shape for _, _, shape in program.program.user_inputs()] == [["s0", 3], [5, 3]]


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        ({"z": {0: Dim.AUTO}}, "names inputs that are not given: z"),
        ({"x": {7: Dim.AUTO}}, "names dim 7, the tensor has rank 2"),
        ({"x": {0: "batch"}}, r"'batch' for x\.size\(0\)"),
        ({"x": {0: 5}}, r"fixes x\.size\(0\) at 5"),
        ({"x": (Dim.AUTO,)}, "one entry for each of its 2 dims"),
        ({"x": Dim.AUTO}, "must be a dict of dim to Dim"),
        ({"x": {0: Dim("batch", min=8)}}, "outside Dim"),
        ({"x": {0: Dim.AUTO(min=8)}}, "outside DimHint"),
        ({"x": {0: 3 * Dim("batch")}}, r"which is not 3\*batch"),
        ({"x": {0: Dim("batch")}, "y": {0: Dim("batch")}}, "'batch' is 4 at .* but 5"),
        (
            {"x": {0: Dim("batch")}, "y": {0: Dim("batch", max=9)}},
            "two Dims named 'batch' with different limits",
        ),
        (({0: Dim.AUTO},), "has 1 entries, the inputs are x, y"),
        ("batch", "must be a dict by input name"),
    ],
)
def test_wrong_specs_are_one_clear_error(specs: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        capture(Lambda(lambda x, y: (x, y)), {"x": rows(4), "y": rows(5)}, dynamic_shapes=specs)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"a": None, "c": None}, "dict with keys of a, b"),
        ([None], "dict with keys of a, b"),
        ({"b": [None]}, r"'x\.b' must be a list of 2 specs"),
        ({"n": Dim.DYNAMIC}, r"'x\.n', which is 3"),
    ],
)
def test_wrong_nested_specs_name_the_place(spec: Any, message: str) -> None:
    inputs = {"x": {"a": rows(2), "b": [rows(2), rows(2)], "n": 3}}
    with pytest.raises(InvalidArgumentError, match=message):
        capture(Lambda(lambda x: x["a"]), inputs, dynamic_shapes={"x": spec})


# Explicit Dims that the model narrows.


def violation(condition: Callable[..., Any], specs: Any, *inputs: Any) -> str:
    with pytest.raises(GuardViolatedError) as error:
        traced(where(condition), specs, *inputs)
    return str(error.value)


@pytest.mark.parametrize(
    ("condition", "guard", "fixes"),
    [
        (lambda x: x.shape[0] <= 32, "d <= 32", ["d = Dim('d', max=32)"]),
        (lambda x: x.shape[0] >= 3, "d >= 3", ["d = Dim('d', min=3)"]),
        (lambda x: 2 <= x.shape[0] <= 32, "d <= 32", ["d = Dim('d', min=2, max=32)"]),
        (lambda x: x.shape[0] == 8, "d == 8", ["d = 8"]),
        (lambda x: x.shape[0] % 4 == 0, "mod(d, 4) == 0", ["_d = Dim('_d')", "d = 4*_d"]),
        (
            lambda x: (x.shape[0] + 2) % 5 == 0,
            "mod(d + 2, 5) == 0",
            ["_d = Dim('_d', min=1)", "d = 5*_d - 2"],
        ),
        (lambda x: x.shape[0] != 9, "d != 9", []),
    ],
)
def test_a_narrowed_dim_is_an_error_with_fixes(
    condition: Callable[..., Any], guard: str, fixes: list[str]
) -> None:
    text = violation(condition, ({0: Dim("d")},), rows(8))
    assert f"d = x.size(0): {guard} at " in text
    assert "test_dims.py" in text
    stated = text.partition("Suggested fixes:\n")[2].split("\n")[:-1]
    assert [line.strip() for line in stated] == fixes


@pytest.mark.parametrize(
    ("condition", "sizes", "fix"),
    [
        (lambda x, y: x.shape[0] == y.shape[0], (4, 4), "b = a"),
        (lambda x, y: x.shape[0] == 2 * y.shape[0], (8, 4), "a = 2*b"),
        (lambda x, y: x.shape[0] == y.shape[0] + 1, (5, 4), "b = a - 1"),
    ],
)
def test_dims_that_must_be_related(
    condition: Callable[..., Any], sizes: tuple[int, int], fix: str
) -> None:
    text = violation(condition, ({0: Dim("a")}, {0: Dim("b")}), rows(sizes[0]), rows(sizes[1]))
    assert "Constraints violated (" in text
    assert f"Suggested fixes:\n  {fix}\n" in text


def test_suggested_fixes_are_accepted() -> None:
    root = Dim("_d", min=1)
    program = traced(where(lambda x: (x.shape[0] + 2) % 5 == 0), ({0: 5 * root - 2},), rows(8))
    assert not program.program.guards()
    torch.testing.assert_close(program.run({"x": torch.zeros(3, 3)}), torch.ones(3, 3))


def test_deferred_conditions_are_checked_by_the_program() -> None:
    program = traced(
        where(lambda x: x.shape[0] <= 32 and x.shape[0] % 4 == 0),
        ({0: Dim("batch")},),
        rows(8),
        prefer_deferred_runtime_asserts_over_guards=True,
    )
    assert {guard["kind"] for guard in program.program.guards()} == {"assert"}
    assert program.run({"x": rows(12)}).shape == (12, 3)
    with pytest.raises(GuardViolatedError, match=r"(?s)batch.*33 .*x\.size\(0\)|batch.* is 33"):
        program.run({"x": rows(33)})
    with pytest.raises(GuardViolatedError, match=r"(?s)mod\(batch, 4\) == 0.*x\.size\(0\)"):
        program.run({"x": rows(10)})


def test_what_no_dim_can_state_is_checked_by_the_program() -> None:
    """torch.export makes such conditions runtime asserts by itself."""
    program = traced(
        where(lambda x, y: (x.shape[0] + y.shape[0]) % 4 == 0),
        ({0: Dim("a")}, {0: Dim("b")}),
        rows(4),
        rows(8),
    )
    assert any("is left to run time: the model needs" in note for note in program.notes)
    assert program.run({"x": rows(1), "y": rows(7)}).shape == (1, 3)
    with pytest.raises(GuardViolatedError, match=r"(?s)mod\(b \+ a, 4\) == 0.*test_dims\.py"):
        program.run({"x": rows(1), "y": rows(2)})


def test_dynamic_dims_may_be_narrowed_but_not_fixed() -> None:
    specs = ({0: Dim.DYNAMIC},)
    program = traced(where(lambda x: x.shape[0] <= 32), specs, rows(4))
    assert symbols(program)["s0"]["hi"] == 32
    text = violation(lambda x: x.shape[0] == 4, specs, rows(4))
    assert "x.size(0) is 4: the model needs s0 == 4 at " in text


# What a program refuses.


def test_refusals_name_the_dim_and_the_models_line() -> None:
    auto = {0: Dim.AUTO, 1: Dim.AUTO}
    program = traced(lambda x, y: x + y, (auto, auto), rows(4), rows(4))
    with pytest.raises(GuardViolatedError, match=r"(?s)'y' has size 2 in dim 0.*test_dims\.py"):
        program.run({"x": rows(4), "y": rows(2)})
    program = traced(where(lambda x: x.shape[0] * x.shape[1] > 6), (auto,), rows(4))
    with pytest.raises(GuardViolatedError, match=r"(?s)x\.size\(0\).*x\.size\(1\).*test_dims\.py"):
        program.run({"x": rows(2)})


def test_numbers_read_from_data_are_checked() -> None:
    def function(x: torch.Tensor) -> torch.Tensor:
        count = x[0].item()
        return x + 1 if count > 2 else x

    program = capture(Lambda(function), {"x": torch.tensor([5, 1])}, dynamic=True)
    assert program.run({"x": torch.tensor([3, 1])}).tolist() == [4, 2]
    with pytest.raises(GuardViolatedError, match=r"(?s)>= 3.*test_dims\.py"):
        program.run({"x": torch.tensor([1, 1])})


def test_inputs_that_are_no_tensors_stay_as_they_were() -> None:
    model = Lambda(lambda x, y: x * y)
    program = capture(model, {"x": rows(2), "y": 3}, dynamic=True)
    assert any(note.startswith("y stays 3") for note in program.notes)
    x = rows(4)
    torch.testing.assert_close(program.run({"x": x, "y": 3}), x * 3)
    with pytest.raises(InvalidArgumentError, match="y"):
        program.run({"x": x, "y": 4})


# Sizes of 0 and 1 in the sample.


def run_at(program: CapturedProgram, function: Callable[..., Any], *inputs: torch.Tensor) -> None:
    actual = program.run(dict(zip("xy", inputs, strict=False)))
    torch.testing.assert_close(actual, function(*inputs))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.softmax(x @ x.transpose(0, 1), -1) @ x,
        lambda x: x.transpose(0, 1).contiguous().view(-1),
        lambda x: x.unsqueeze(1).expand(-1, 4, -1).reshape(x.shape[0] * 4, -1),
        lambda x: torch.cat([x, x[:, :1], x[-1:].expand(x.shape[0], -1)], 1),
        lambda x: nn.functional.pad(x, (1, 1)).cumsum(0).flip(0),
        lambda x: torch.einsum("ij,kj->ik", x, x),
        lambda x: x + torch.arange(x.shape[0])[:, None] + torch.zeros(1, x.shape[1]),
        lambda x: nn.functional.max_pool1d(x[None], 1)[0],
        lambda x: torch.stack([x, x]).permute(2, 0, 1).flatten(1),
    ],
)
@pytest.mark.parametrize("sample", [(1, 3), (1, 1), (3, 1)])
def test_a_sample_size_of_1_stays_dynamic(
    function: Callable[..., Any], sample: tuple[int, int]
) -> None:
    program = traced(function, ({0: Dim.AUTO, 1: Dim.AUTO},), torch.randn(sample))
    for sizes in (sample, (2, 3), (5, 4), (1, 1), (1, 6)):
        run_at(program, function, torch.randn(sizes))


def test_a_sample_size_of_0_stays_dynamic() -> None:
    def grow(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, y], 1).softmax(1)

    auto = {0: Dim.AUTO, 1: Dim.AUTO}
    program = traced(grow, (auto, auto), torch.randn(1, 0), rows(1))
    run_at(program, grow, torch.randn(1, 0), rows(1))
    run_at(program, grow, torch.randn(4, 6), rows(4, 2))


def test_a_size_of_1_that_is_broadcast_is_fixed_and_said() -> None:
    program = traced(lambda x, y: x + y, ({0: Dim.AUTO}, {0: Dim.AUTO}), rows(1), rows(4))
    assert any("x.size(0) is fixed at 1: the model needs s0 == 1" in n for n in program.notes)
    run_at(program, torch.add, rows(1), rows(7))
    with pytest.raises(GuardViolatedError, match=r"'x' has size 7 in dim 0"):
        program.run({"x": rows(7), "y": rows(7)})


def test_two_sizes_of_1_that_meet_are_equal() -> None:
    program = traced(lambda x, y: x + y, ({0: Dim.AUTO}, {0: Dim.AUTO}), rows(1), rows(1))
    run_at(program, torch.add, rows(6), rows(6))
    with pytest.raises(GuardViolatedError, match=r"'y' has size 1 in dim 0"):
        program.run({"x": rows(6), "y": rows(1)})


@pytest.mark.parametrize("dims", [(), (0,)])
def test_squeeze_decides_on_1(dims: tuple[int, ...]) -> None:
    auto = ({0: Dim.AUTO},)
    fixed = traced(lambda x: x.squeeze(*dims), auto, rows(1))
    assert fixed.run({"x": rows(1)}).shape == (3,)
    with pytest.raises(GuardViolatedError):
        fixed.run({"x": rows(2)})
    kept = traced(lambda x: x.squeeze(*dims), auto, rows(2))
    assert kept.run({"x": rows(5)}).shape == (5, 3)
    with pytest.raises(GuardViolatedError, match="s0 != 1"):
        kept.run({"x": rows(1)})


def test_branches_on_1_are_said() -> None:
    program = traced(where(lambda x: x.shape[0] == 1), ({0: Dim.AUTO},), rows(1))
    assert any("x.size(0) is fixed at 1" in n and "test_dims.py" in n for n in program.notes)
    with pytest.raises(GuardViolatedError):
        program.run({"x": rows(2)})


def test_what_only_works_with_1_is_captured_with_it_and_said() -> None:
    def only_one(x: torch.Tensor) -> torch.Tensor:
        if torch.fx.experimental.symbolic_shapes.guard_or_false(x.shape[0] == 1):
            return x * 2
        raise ValueError("needs one row")

    program = traced(only_one, ({0: Dim.AUTO},), rows(1))
    assert program.notes[0] == "kept at 1: x.size(0); with other sizes, needs one row"
    run_at(program, only_one, rows(1))


def _decode(batch: int, length: int, past: int) -> dict[str, Any]:
    case = models.case("qwen3_decode")
    inputs = models._decode(case.model, batch, past)
    inputs["input_ids"] = torch.randint(1, 90, (batch, length))
    inputs["attention_mask"] = torch.ones(batch, past + length, dtype=torch.int64)
    return {key: inputs[key] for key in case.inputs if key in inputs}


def _pixels(batch: int) -> dict[str, Any]:
    inputs = models.case("vit").inputs
    return {**inputs, "pixel_values": torch.randn(batch, *inputs["pixel_values"].shape[1:])}


SMALL_SAMPLES: dict[str, tuple[str, dict[str, Any], list[dict[str, Any]]]] = {
    "bert": ("bert", models._text(1, 1), [models._text(2, 7), models._text(1, 5)]),
    "gpt2": ("gpt2", models._text(1, 1), [models._text(2, 7), models._text(5, 1)]),
    "qwen3": ("qwen3", models._text(1, 1), [models._text(2, 7), models._text(1, 5)]),
    "qwen3 decode": ("qwen3_decode", _decode(1, 1, 5), [_decode(2, 1, 3), _decode(5, 3, 1)]),
    "vit": ("vit", _pixels(1), [_pixels(2), _pixels(5)]),
}


@pytest.mark.parametrize("name", SMALL_SAMPLES)
@pytest.mark.parametrize("stage", ["capture", "onnx", "pt2"])
def test_models_from_samples_of_1_run_at_other_sizes(name: str, stage: str, tmp_path: Path) -> None:
    case, sample, others = SMALL_SAMPLES[name]
    model = models.case(case).model
    exporter = OnnxExporter() if stage == "onnx" else DynamoExporter()
    exported = exporter.export(model, copy.deepcopy(sample), {"dynamic": True})
    run = exported if stage == "onnx" else exported.module()
    if stage == "pt2":
        exported.save(tmp_path / "model.pt2")
        run = torch.export.load(tmp_path / "model.pt2").module()
    for inputs in (sample, *others):
        with torch.no_grad():
            expected = model(**copy.deepcopy(inputs))
        result = compare(name, inputs, run(**copy.deepcopy(inputs)), expected, 1e-3)
        assert result.matches, result.problems


# Through the exporters.


def test_dims_through_the_exporters() -> None:
    batch, length = Dim("batch", max=32), Dim("length", max=64)
    spec = {0: batch, 1: length}
    case = models.case("bert")
    shapes = {"input_ids": spec, "attention_mask": spec}
    inputs = {key: case.inputs[key] for key in shapes}
    exported = DynamoExporter().export(
        case.model, copy.deepcopy(inputs), DynamoConfig(dynamic_shapes=shapes)
    )
    found = {name: shape for name, _, shape in exported.program.user_inputs()}
    assert found["input_ids"] == ["batch", "length"]
    with pytest.raises(GuardViolatedError, match="batch"):
        exported.module()(**models._text(33, 5))

    onnx = OnnxExporter().export(
        case.model, copy.deepcopy(inputs), OnnxConfig(dynamic_shapes=shapes)
    )
    named = {
        item.name: [dim.dim_param for dim in item.type.tensor_type.shape.dim]
        for item in onnx.model_proto.graph.input
    }
    assert named == {"input_ids": ["batch", "length"], "attention_mask": ["batch", "length"]}
