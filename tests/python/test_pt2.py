"""The .pt2 files and torch programs of DynamoExporter: what PyTorch makes of them."""

from __future__ import annotations

import copy
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import DynamicCache

import models
import portwright
from portwright import _core, pytree_context, pytrees
from portwright.errors import CorruptFileError, FileError, GuardViolatedError, UnsupportedError
from portwright.exporters import DynamoConfig, DynamoExporter
from portwright.verify import CAPTURE_TOLERANCE, compare


def exported(model: torch.nn.Module, inputs: dict[str, Any], **config: Any) -> Any:
    return DynamoExporter().export(model.eval(), inputs, DynamoConfig(dynamic=True, **config))


def loaded(program: Any, folder: Path) -> torch.export.ExportedProgram:
    path = folder / "model.pt2"
    assert program.save(path) == path.stat().st_size
    return torch.export.load(path)


@pytest.mark.parametrize("name", list(models.CASES))
def test_models_load_and_equal_eager_at_every_shape(name: str, tmp_path: Path) -> None:
    case = models.case(name)
    run = loaded(exported(case.model, case.inputs), tmp_path).module()
    for label, inputs in {"sample": case.inputs, **case.variants}.items():
        with torch.no_grad():
            expected = case.model(**copy.deepcopy(inputs))
        result = compare(label, inputs, run(**copy.deepcopy(inputs)), expected, CAPTURE_TOLERANCE)
        assert result.differences, "no output was compared"
        assert result.matches, result.problems


class Chunks(torch.nn.Module):
    """Data that decides a size, several results of one operator, and a buffer that is written."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: torch.Tensor, wanted: torch.Tensor) -> Any:
        self.seen += 1
        first, second = x.chunk(2, dim=-1)
        best, at = torch.topk(first, 2)
        return best * 0.5, at, second[wanted > 0], x.shape[0] * 2


class Sums(torch.nn.Module):
    """A loop over rows that carries, stacks, reads its round's number and a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(2))

    def forward(self, x: torch.Tensor) -> Any:
        total = torch.zeros(x.shape[1])
        rows = []
        for i in range(x.shape[0]):
            total = total * self.weight + x[i] * i + x.shape[0]
            rows.append(total * 2)
        return total, torch.stack(rows)


class Products(torch.nn.Module):
    """A loop in a loop, whose lengths are sizes."""

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        total = torch.zeros(())
        for i in range(x.shape[0]):
            for j in range(y.shape[0]):
                total = total * 0.5 + x[i] * y[j]
        return total


class Ragged(torch.nn.Module):
    """A loop whose rounds give pieces of different sizes."""

    def forward(self, x: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
        return torch.cat([x[:size] * 2 for size in sizes.tolist()])


LOOPS = {
    "sums": (Sums, [{"x": torch.randn(rows, 2)} for rows in (3, 5, 1)]),
    "products": (
        Products,
        [{"x": torch.randn(rows), "y": torch.randn(more)} for rows, more in ((3, 4), (5, 2))],
    ),
}


def described(value: Any) -> str:
    if torch.is_tensor(value):
        sizes = [str(size) for size in (*value.shape, *value.stride())]
        return f"{value.dtype} {sizes} {value.device} {value.requires_grad}"
    return f"{type(value).__name__} {value}"


@pytest.mark.parametrize("name", ["chunks", "sums", "products", *models.CASES])
def test_the_graph_is_the_one_that_torch_reads_from_the_file(name: str, tmp_path: Path) -> None:
    if name == "chunks":
        wanted = torch.tensor([1, 0, 2])
        program = exported(Chunks(), {"x": torch.randn(3, 8), "wanted": wanted})
    elif name in LOOPS:
        make, inputs = LOOPS[name]
        program = exported(make(), inputs[0])
    else:
        case = models.case(name)
        program = exported(case.model, case.inputs)
    other = loaded(program, tmp_path)
    assert str(program.graph_signature) == str(other.graph_signature)
    assert str(program.range_constraints) == str(other.range_constraints)
    values = same_graphs(program.graph_module, other.graph_module)
    tensors = [value for value in values if torch.is_tensor(value)]
    assert len({tensor.untyped_storage()._cdata for tensor in tensors}) == len(tensors) > 0


def same_graphs(ours: torch.fx.GraphModule, other: torch.fx.GraphModule) -> list[Any]:
    """Compares two graphs with those inside them; gives the values of ours."""
    values = []
    for mine, theirs in zip(ours.graph.nodes, other.graph.nodes, strict=True):
        assert (mine.op, mine.name, mine.target) == (theirs.op, theirs.name, theirs.target)
        assert (str(mine.args), str(mine.kwargs)) == (str(theirs.args), str(theirs.kwargs))
        assert mine.meta.keys() == theirs.meta.keys()
        for key in mine.meta:
            found, wanted = (torch.utils._pytree.tree_leaves(n.meta[key]) for n in (mine, theirs))
            assert list(map(described, found)) == list(map(described, wanted)), (mine, key)
        if mine.op == "get_attr":
            bodies = ours.get_submodule(mine.target), other.get_submodule(theirs.target)
            values += same_graphs(*bodies)
        elif mine.op != "output":
            values.append(mine.meta.get("val"))
    return values


@pytest.mark.parametrize("name", list(LOOPS))
@pytest.mark.parametrize("grad", [False, True])
def test_loops_run_any_number_of_rounds_from_files(name: str, grad: bool, tmp_path: Path) -> None:
    make, inputs = LOOPS[name]
    model = make()
    program = exported(model, inputs[0])
    assert _core.fits_pt2(program.program)
    runs = [program.module(), loaded(program, tmp_path).module()]
    runs.append(portwright.load(tmp_path / "model.pt2").module())
    runs.append(program.as_torch_program().module())
    for given in inputs:
        for run in runs:
            with torch.set_grad_enabled(grad):
                found = run(**given)
            torch.testing.assert_close(found, model(**given), check_stride=False)


def test_a_file_refuses_a_loop_without_rounds(tmp_path: Path) -> None:
    run = loaded(exported(Sums(), {"x": torch.randn(3, 2)}), tmp_path).module()
    with pytest.raises(
        (AssertionError, RuntimeError), match=r"captured for inputs with .* >= 1|>= "
    ):
        run(x=torch.randn(0, 2))


def test_loops_that_join_pieces_are_unrolled_in_files(tmp_path: Path) -> None:
    model = Ragged()
    program = exported(model, {"x": torch.randn(5, 2), "sizes": torch.tensor([2, 3])})
    assert not _core.fits_pt2(program.program)
    x, sizes = torch.randn(5, 2), torch.tensor([1, 3, 2])
    assert_same(program.module()(x=x, sizes=sizes), model(x, sizes))
    run = loaded(program, tmp_path).module()
    assert_same(run(x=x, sizes=sizes[:2]), model(x, sizes[:2]))
    with pytest.raises(RuntimeError):
        run(x=x, sizes=sizes)


class Longer(torch.nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return y[x.shape[0] :] * 2 if y.shape[0] >= x.shape[0] + 3 else y


def test_sizes_of_one_are_raised_to_where_the_guards_hold(tmp_path: Path) -> None:
    program = exported(Longer(), {"x": torch.randn(1), "y": torch.randn(4)})
    x, y = torch.randn(3), torch.randn(7)
    for other in (loaded(program, tmp_path), program.run_decompositions({})):
        assert_same(other.module()(x=x, y=y), Longer()(x, y))
        with pytest.raises((RuntimeError, AssertionError)):
            other.module()(x=x, y=y[:5])


def test_another_process_needs_only_portwright(tmp_path: Path) -> None:
    case = models.case("qwen3_decode")
    exported(case.model, case.inputs).save(tmp_path / "model.pt2")
    code = (
        "import sys, torch, portwright\n"
        "spec = torch.export.load(sys.argv[1]).call_spec\n"
        "print(spec.out_spec.type.__name__, spec.in_spec)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "model.pt2")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.startswith("CausalLMOutputWithPast")
    assert "DynamicCache" in printed


def test_a_tree_spec_cannot_choose_what_is_called() -> None:
    for context in (
        {"_t": "seq", "p": "os:system", "v": ["true"]},
        {"_t": "map", "p": "subprocess:Popen", "v": {}},
        {"_t": "obj", "p": "builtins:print", "s": {}},
        {"_t": "dtype", "n": "load"},
        {"_t": "unknown"},
    ):
        with pytest.raises(CorruptFileError):
            pytree_context.unflatten([], context)


class Pieces(torch.nn.Module):
    """List results, several results, constants, computed sizes, a buffer that counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(4, 8)
        self.register_buffer("calls", torch.zeros(1))
        self.register_buffer("scale", torch.ones(8), persistent=False)

    def forward(self, x: torch.Tensor, extra: dict[str, torch.Tensor]) -> dict[str, Any]:
        self.calls.add_(1)
        first, second = torch.split(self.linear(x) * self.scale, [4, 4], 1)
        values = torch.max(first, 1).values
        return {
            "sum": first + second * torch.tensor(3.0),
            "values": values,
            "ones": torch.ones(x.shape[0] * 2 + 1) + self.calls,
            "places": torch.nonzero(extra["ids"]),
        }


def pieces_inputs(batch: int = 3) -> dict[str, Any]:
    return {"x": torch.randn(batch, 4), "extra": {"ids": torch.arange(batch) % 3}}


def assert_same(actual: Any, expected: Any) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-6)


def test_a_loaded_file_gives_the_model_at_another_size(tmp_path: Path) -> None:
    model = Pieces().eval()
    program = loaded(exported(copy.deepcopy(model), pieces_inputs()), tmp_path).module()
    for batch in (3, 7):
        inputs = pieces_inputs(batch)
        assert_same(program(**inputs), model(**inputs))  # the buffer counts on both sides


def test_the_file_holds_signature_ranges_and_weights_but_no_pickle(tmp_path: Path) -> None:
    model = Pieces().eval()
    program = loaded(exported(model, pieces_inputs()), tmp_path)
    signature = program.graph_signature
    assert signature.parameters == ("linear.weight", "linear.bias")
    assert signature.buffers_to_mutate == {"add": "calls"}
    assert list(signature.non_persistent_buffers) == ["scale"]
    assert set(program.state_dict) == {"linear.weight", "linear.bias", "calls"}
    assert program.state_dict["linear.weight"].requires_grad
    assert_same(program.state_dict["linear.weight"], model.linear.weight)
    assert {str(symbol)[0] for symbol in program.range_constraints} == {"s", "u"}
    with zipfile.ZipFile(tmp_path / "model.pt2") as archive:
        assert archive.testzip() is None
        assert archive.read("archive/data/sample_inputs/model.pt") == b""
        assert not any(name.endswith((".pkl", ".pickle")) for name in archive.namelist())


def test_same_model_same_bytes(tmp_path: Path) -> None:
    program = exported(Pieces(), pieces_inputs())
    program.save(tmp_path / "a.pt2")
    program.save(tmp_path / "b.pt2")
    assert (tmp_path / "a.pt2").read_bytes() == (tmp_path / "b.pt2").read_bytes()


class Tied(torch.nn.Module):
    """A weight, its transposed view and a slice of it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(64, 64))
        self.register_buffer("turned", self.weight.detach().T)
        self.register_buffer("row", self.weight.detach()[3])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight + x @ self.turned + self.row


def test_weights_that_share_storage_are_written_once(tmp_path: Path) -> None:
    model = Tied().eval()
    inputs = {"x": torch.randn(2, 64)}
    program = loaded(exported(model, inputs), tmp_path)
    assert_same(program.module()(**inputs), model(**inputs))
    with zipfile.ZipFile(tmp_path / "model.pt2") as archive:
        sizes = [i.file_size for i in archive.infolist() if "/weights/weight_" in i.filename]
    assert sizes == [64 * 64 * 4]


class Bounded(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[0] > 5:
            return x * 2
        return x + x.shape[0]


def test_guards_are_checked_by_the_loaded_program(tmp_path: Path) -> None:
    program = loaded(exported(Bounded(), {"x": torch.randn(3, 2)}), tmp_path).module()
    assert_same(program(x=torch.ones(5, 2)), torch.full((5, 2), 6.0))
    with pytest.raises(RuntimeError):
        program(x=torch.ones(6, 2))


class Related(torch.nn.Module):
    """Takes one branch where the second size is at least twice the first."""

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x.sum() + y.sum() if y.shape[0] >= 2 * x.shape[0] else x.sum() - y.sum()


def test_a_guard_between_sizes_is_an_assertion_node(tmp_path: Path) -> None:
    inputs = {"x": torch.ones(2), "y": torch.ones(5)}
    program = loaded(exported(Related(), inputs), tmp_path)
    targets = [str(node.target) for node in program.graph.nodes]
    assert "aten._assert_scalar.default" in targets
    run = program.module()
    assert_same(run(x=torch.ones(3), y=torch.ones(6)), torch.tensor(9.0))
    with pytest.raises(RuntimeError, match="captured for inputs with"):
        run(x=torch.ones(3), y=torch.ones(5))


class Counted(torch.nn.Module):
    """Reads a number out of a tensor and decides on it."""

    def forward(self, x: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
        count = n.sum().item()
        return x * count if count > 2 else x


def test_values_from_data_are_bound_and_checked(tmp_path: Path) -> None:
    program = loaded(exported(Counted(), {"x": torch.ones(2), "n": torch.tensor([1, 2])}), tmp_path)
    run = program.module()
    assert_same(run(x=torch.ones(2), n=torch.tensor([2, 5])), torch.full((2,), 7.0))
    with pytest.raises(RuntimeError, match="captured for inputs with"):
        run(x=torch.ones(2), n=torch.tensor([1, 1]))


def native(path: Path, inputs: dict[str, Any]) -> list[torch.Tensor]:
    program, _ = _core.read_pt2(str(path))
    program.verify()
    leaves = [x for x in torch.utils._pytree.tree_leaves(inputs) if isinstance(x, torch.Tensor)]
    return list(_core.Interpreter(program).run(leaves))


@pytest.mark.parametrize("name", ["bert", "vit", "whisper_encoder", "qwen3"])
def test_what_torch_saved_is_read_and_runs_at_every_shape(name: str, tmp_path: Path) -> None:
    case = models.case(name)
    pytrees.register_class(DynamicCache)
    auto = {
        key: dict.fromkeys(range(value.dim()), torch.export.Dim.AUTO)
        if isinstance(value, torch.Tensor)
        else None
        for key, value in case.inputs.items()
    }
    program = torch.export.export(case.model, (), case.inputs, dynamic_shapes=auto)
    torch.export.save(program, tmp_path / "torch.pt2")
    for inputs in (case.inputs, *case.variants.values()):
        with torch.no_grad():
            expected = torch.utils._pytree.tree_leaves(case.model(**inputs))
        actual = native(tmp_path / "torch.pt2", inputs)
        assert len(actual) == len(expected)
        for value, reference in zip(actual, expected, strict=True):
            torch.testing.assert_close(value, reference, rtol=1e-4, atol=1e-5)


def test_our_own_file_is_read_back_and_written_again(tmp_path: Path) -> None:
    model = Pieces().eval()
    exported(copy.deepcopy(model), pieces_inputs()).save(tmp_path / "model.pt2")
    program, interface = _core.read_pt2(str(tmp_path / "model.pt2"))
    _core.write_pt2(program, interface, str(tmp_path / "again.pt2"))
    inputs = pieces_inputs(5)
    expected = copy.deepcopy(model)(**inputs)
    assert_same(torch.export.load(tmp_path / "again.pt2").module()(**inputs), expected)
    again = native(tmp_path / "model.pt2", inputs)
    assert_same(again, list(expected.values()))


def test_torchs_own_guards_are_read(tmp_path: Path) -> None:
    inputs = {"x": torch.ones(2), "y": torch.ones(5)}
    auto = {"x": {0: torch.export.Dim.AUTO}, "y": {0: torch.export.Dim.AUTO}}
    torch.export.save(
        torch.export.export(Related(), (), inputs, dynamic_shapes=auto), tmp_path / "torch.pt2"
    )
    assert native(tmp_path / "torch.pt2", {"x": torch.ones(3), "y": torch.ones(6)}) == [9.0]
    with pytest.raises(GuardViolatedError):
        native(tmp_path / "torch.pt2", {"x": torch.ones(3), "y": torch.ones(5)})


class InPlace(torch.nn.Module):
    """Writes to a buffer; torch.export keeps the in-place operator in its graph."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls.add_(1).mul_(2)
        with torch.no_grad():
            y = x * 2
        return y + self.calls


def test_writes_in_a_saved_graph_become_mutations(tmp_path: Path) -> None:
    model = InPlace()
    program = torch.export.export(model, (torch.ones(2),))
    torch.export.save(program, tmp_path / "torch.pt2")
    read, _ = _core.read_pt2(str(tmp_path / "torch.pt2"))
    assert [o["kind"] for o in read.outputs()] == ["buffer_mutation", "user"]
    assert_same(native(tmp_path / "torch.pt2", {"x": torch.ones(2)}), [torch.full((2,), 4.0)])


class Reinterpreted(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x.clone()
        y.view(torch.int32).add_(1)
        return y


def test_a_write_that_cannot_be_followed_names_the_line_and_the_way_out(tmp_path: Path) -> None:
    program = torch.export.export(Reinterpreted(), (torch.ones(2),))
    torch.export.save(program, tmp_path / "torch.pt2")
    with pytest.raises(UnsupportedError, match=r"run_decompositions[^$]*test_pt2\.py"):
        _core.read_pt2(str(tmp_path / "torch.pt2"))


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    exported(Bounded(), {"x": torch.ones(2, 2)}).save(tmp_path / "good.pt2")
    config = '{"config": {"w": {"path_name": "weight_0", "is_param": true, "use_pickle": true}}}'
    with (
        zipfile.ZipFile(tmp_path / "good.pt2") as good,
        zipfile.ZipFile(tmp_path / "bad.pt2", "w") as bad,
    ):
        for name in good.namelist():
            bad.writestr(name, config if "weights_config" in name else good.read(name))
    with pytest.raises(UnsupportedError, match="pickle"):
        _core.read_pt2(str(tmp_path / "bad.pt2"))


def test_the_result_is_torchs_program_and_filled_in_only_when_looked_at() -> None:
    program = exported(Pieces(), pieces_inputs())
    assert isinstance(program, torch.export.ExportedProgram)
    program.module()(**pieces_inputs())
    assert "_graph_module" not in vars(program)
    assert program.graph_signature.output_specs[0].kind.name == "BUFFER_MUTATION"
    assert "_graph_module" in vars(program)
    program.validate()
    assert program.verifier.dialect == "TRAINING"
    assert program.example_inputs[1].keys() == {"x", "extra"}
    assert program.module_call_graph[0].signature.forward_arg_names == ["x", "extra"]


def test_the_state_dict_is_the_models_own() -> None:
    model = Pieces().eval()
    program = exported(model, pieces_inputs())
    assert program.state_dict["linear.weight"] is model.linear.weight


def test_torchs_tools_take_the_result(tmp_path: Path) -> None:
    model = Pieces().eval()
    program = exported(copy.deepcopy(model), pieces_inputs())
    torch.export.save(program, tmp_path / "torch.pt2")
    decomposed = program.run_decompositions()
    again = torch.export.load(tmp_path / "torch.pt2")
    inputs = pieces_inputs(6)
    expected = copy.deepcopy(model)(**inputs)
    assert_same(again.module()(**inputs), expected)
    assert_same(decomposed.module()(**inputs), expected)


def test_torchs_onnx_exporter_takes_the_result() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU()).eval()
    program = exported(model, {"input": torch.randn(3, 4)})
    x = torch.randn(6, 4)
    (result,) = torch.onnx.export(program, verbose=False)(x)
    assert_same(result, model(x))


def test_an_edited_graph_is_what_runs_and_is_saved(tmp_path: Path) -> None:
    program = exported(Bounded(), {"x": torch.randn(3, 2)})
    node = next(n for n in program.graph.nodes if str(n.target) == "aten.add.Tensor")
    node.target = torch.ops.aten.mul.Tensor
    program.graph_module.recompile()
    x = torch.full((4, 2), 3.0)
    assert_same(program.module()(x=x), x * 4)
    assert_same(loaded(program, tmp_path).module()(x=x), x * 4)


class Odd(torch.nn.Module):
    def forward(self, x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        return x.to(dtype)


def test_what_the_format_cannot_hold_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    program = exported(Odd(), {"x": torch.ones(2), "dtype": torch.float64})
    with pytest.raises(UnsupportedError, match="dtype"):
        program.save(tmp_path / "odd.pt2")
    with pytest.raises(FileError):
        exported(Bounded(), {"x": torch.ones(2, 2)}).save(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_guards_of_the_native_module_still_hold() -> None:
    program = exported(Bounded(), {"x": torch.randn(3, 2)})
    with pytest.raises(GuardViolatedError):
        program.module()(x=torch.ones(6, 2))
