"""ExecutorchExporter: configs, bounds, state, loops, files, and models on ExecuTorch's runtime."""

from __future__ import annotations

import copy
import io
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.export import Dim
from transformers import DynamicCache, GenerationConfig

import generative
import models
from portwright import cli
from portwright.errors import (
    FileError,
    GuardViolatedError,
    InvalidArgumentError,
    MissingLoweringError,
    PortwrightError,
    UnsupportedError,
)
from portwright.exporters import (
    AutoExportConfig,
    AutoHfExporter,
    ExecutorchConfig,
    ExecutorchExporter,
    ExecutorchProgram,
)
from portwright.exporters import exporter_executorch as module
from portwright.exporters.executorch_runtime import Method
from portwright.verify import RUNTIME_TOLERANCE, verify
from portwright.verify_generation import verify_generation

pytest.importorskip("executorch", reason="executorch, whose runtime runs .pte files, is absent")

BACKENDS = ["portable", "xnnpack"]


class Perceptron(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = torch.nn.Linear(8, 16), torch.nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.first(x)))  # type: ignore[no-any-return]


def _export(model: torch.nn.Module, inputs: dict[str, Any], **config: Any) -> ExecutorchProgram:
    program = ExecutorchExporter().export(model.eval(), inputs, ExecutorchConfig(**config))
    assert isinstance(program, ExecutorchProgram)
    return program


def _rows(count: int) -> torch.Tensor:
    return torch.randn(count, 8, generator=torch.Generator().manual_seed(count))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["bert", "gpt2", "qwen3", "vit", "whisper_encoder"])
def test_models_equal_eager_at_all_sizes(name: str, backend: str) -> None:
    case = models.case(name)
    program = _export(case.model, case.inputs, dynamic=True, backend=backend)
    for given in [case.inputs, *case.variants.values()]:
        with torch.no_grad():
            expected = case.model(**copy.deepcopy(given))
        actual = program(**copy.deepcopy(given))
        for ours, eager in zip(_tensors(actual), _tensors(expected), strict=True):
            torch.testing.assert_close(ours, eager, atol=2e-4, rtol=1e-3)


def _tensors(result: Any) -> list[torch.Tensor]:
    from portwright import tree

    return [tensor for _, tensor in tree.flatten(result)[0]]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_dynamic_cache_goes_in_and_comes_out(backend: str) -> None:
    case = models.case("qwen3")

    def step(past: int, batch: int) -> dict[str, Any]:
        cache = DynamicCache(config=case.model.config)
        with torch.no_grad():
            case.model(input_ids=torch.randint(1, 99, (batch, past)), past_key_values=cache)
        return {
            "input_ids": torch.randint(1, 99, (batch, 1)),
            "attention_mask": torch.ones(batch, past + 1, dtype=torch.int64),
            "past_key_values": cache,
        }

    program = _export(case.model, step(6, 2), dynamic=True, backend=backend, upper_bounds=32)
    for past, batch in ((6, 2), (9, 3), (1, 1)):
        given = step(past, batch)
        with torch.no_grad():
            expected = case.model(**copy.deepcopy(given))
        actual = program(**copy.deepcopy(given))
        assert actual.past_key_values.get_seq_length() == past + 1
        for ours, eager in zip(_tensors(actual), _tensors(expected), strict=True):
            torch.testing.assert_close(ours, eager, atol=2e-4, rtol=1e-3)


class Written(torch.nn.Module):
    def forward(self, cache: torch.Tensor, x: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        before = cache.reshape(2, 32)[:, :2]
        cache.index_copy_(1, at, x)
        return cache.sum(1) + before.sum()


@pytest.mark.parametrize("backend", BACKENDS)
def test_inputs_are_written_in_place(backend: str) -> None:
    x, at = torch.randn(2, 1, 4), torch.tensor([3])
    program = _export(Written(), {"cache": torch.zeros(2, 8, 4), "x": x, "at": at}, backend=backend)
    ours, eager = torch.ones(2, 8, 4), torch.ones(2, 8, 4)
    torch.testing.assert_close(program(cache=ours, x=x, at=at), Written()(eager, x, at))
    assert torch.equal(ours, eager)
    assert ours[:, 3].equal(x[:, 0])


class Counter(torch.nn.Module):
    total: torch.Tensor
    log: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("total", torch.full((3,), 2.0))
        self.register_buffer("log", torch.zeros(8, 3))

    def forward(self, x: torch.Tensor, at: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        first = self.log[0] * 1
        self.total.add_(x.sum(0))
        self.log.index_copy_(0, at, x[:1])
        return self.total * 2, self.log + first


@pytest.mark.parametrize("backend", BACKENDS)
def test_buffers_keep_what_is_written_to_them(backend: str) -> None:
    model = Counter()
    inputs = {"x": torch.randn(2, 3), "at": torch.tensor([0])}
    program = _export(model, inputs, dynamic=True, backend=backend)
    assert program.arena_sizes[2] >= 4 * (3 + 24)
    eager = copy.deepcopy(model)
    for step in range(3):
        x, at = torch.randn(1 + step, 3), torch.tensor([step])
        for ours, theirs in zip(program(x=x, at=at), eager(x, at), strict=True):
            torch.testing.assert_close(ours, theirs)
    assert model.total.equal(torch.full((3,), 2.0))


def test_memory_of_buffers_is_the_runtimes() -> None:
    inputs = {"x": torch.randn(2, 3), "at": torch.tensor([0])}
    with pytest.raises(UnsupportedError, match="alloc_mutable_buffers=True"):
        _export(Counter(), inputs, alloc_mutable_buffers=False)


def test_another_release_of_the_runtime_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    from executorch.extension.pybindings import portable_lib

    monkeypatch.setattr(module._core, "executorch_version", lambda: "0.0.1")
    _export(Perceptron(), {"x": _rows(5)}, backend="portable")
    monkeypatch.setattr(portable_lib, "_get_operator_names", lambda: ["aten::linear.out"])
    with pytest.raises(MissingLoweringError, match=r"no kernels for aten::relu.out: install"):
        _export(Perceptron(), {"x": _rows(5)}, backend="portable")


class Recurrent(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rows, state = [], x[0] * 0
        for row in x:
            state = torch.tanh(state + row)
            rows.append(state * 2)
        return torch.stack(rows), state


@pytest.mark.parametrize("backend", BACKENDS)
def test_loops_run_as_often_as_the_input_has_rows(backend: str) -> None:
    program = _export(Recurrent(), {"x": _rows(5)}, dynamic=True, backend=backend)
    assert program.call_counts["executorch_prim::et_copy_index.tensor"] == 1
    for rows in (5, 1, 3, 10):
        for ours, eager in zip(program(x=_rows(rows)), Recurrent()(_rows(rows)), strict=True):
            torch.testing.assert_close(ours, eager)


def test_bounds_are_taken_and_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "portwright"):
        program = _export(Perceptron(), {"x": _rows(5)}, dynamic=True, backend="portable")
    assert "x.size(0) <= 10" in caplog.text
    assert program(x=_rows(10)).shape == (10, 4)
    said = r"\(x.size\(0\)\) is 11, and memory is planned for at most 10: .*upper_bounds"
    with pytest.raises(GuardViolatedError, match=said):
        program(x=_rows(11))
    with pytest.raises(PortwrightError, match="maximum capacity"):
        program.load()([_rows(11)])


@pytest.mark.parametrize("bounds", [64, {"x.size(0)": 64}])
def test_bounds_of_ones_own(bounds: Any, caplog: pytest.LogCaptureFixture) -> None:
    model = Perceptron()
    with caplog.at_level(logging.WARNING, "portwright"):
        program = _export(model, {"x": _rows(5)}, dynamic=True, upper_bounds=bounds)
    assert "ExecuTorch plans memory" not in caplog.text
    torch.testing.assert_close(program(x=_rows(64)), model(_rows(64)), atol=1e-5, rtol=1e-5)


def test_a_dim_has_its_own_bound() -> None:
    model = Perceptron()
    program = _export(model, {"x": _rows(5)}, dynamic_shapes={"x": {0: Dim("rows", max=7)}})
    assert not program.notes
    torch.testing.assert_close(program(x=_rows(7)), model(_rows(7)), atol=1e-5, rtol=1e-5)
    with pytest.raises(GuardViolatedError, match="rows"):
        program(x=_rows(8))


def test_a_bound_of_all_leaves_a_dims_own() -> None:
    model = Perceptron()
    shapes = {"x": {0: Dim("rows", max=12)}}
    program = _export(model, {"x": _rows(5)}, dynamic_shapes=shapes, upper_bounds=6)
    torch.testing.assert_close(program(x=_rows(12)), model(_rows(12)), atol=1e-5, rtol=1e-5)


def test_inputs_that_are_expanded() -> None:
    x = torch.tensor([[1.0], [float("nan")]]).expand(2, 3)
    program = _export(Plus(), {"x": x}, backend="portable")
    torch.testing.assert_close(program(x=x), x + 1, equal_nan=True)


class Reversed(torch.nn.Module):
    """A write of a copy of what is written to, which the lowering does not make."""

    def forward(self, cache: torch.Tensor) -> torch.Tensor:
        cache[torch.tensor([3, 2, 1, 0])] = cache.clone()
        return cache * 2


def test_a_write_that_reads_its_own_memory() -> None:
    ours, eager = torch.arange(4.0), torch.arange(4.0)
    program = _export(Reversed(), {"cache": torch.arange(4.0)}, backend="portable")
    torch.testing.assert_close(program(cache=ours), Reversed()(eager))
    assert ours.equal(eager)


def test_the_engine_lowers_for_its_own_backends() -> None:
    program = _export(Plus(), {"x": _rows(3)})
    with pytest.raises(InvalidArgumentError, match="not for 'cuda'"):
        module.lower(program.captured, ExecutorchConfig(backend="cuda"))


def test_bounds_that_cannot_be() -> None:
    with pytest.raises(InvalidArgumentError, match="below its size in the sample inputs, 5"):
        _export(Perceptron(), {"x": _rows(5)}, dynamic=True, upper_bounds=4)
    with pytest.raises(InvalidArgumentError, match=r"no dynamic dim 'y'.*x.size\(0\)"):
        _export(Perceptron(), {"x": _rows(5)}, dynamic=True, upper_bounds={"y": 4})
    for bad in (0, -1, True, "many", {"x": 2.5}):
        with pytest.raises(InvalidArgumentError, match="positive int"):
            ExecutorchConfig(upper_bounds=bad)  # type: ignore[arg-type]


class Plus(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 1


@pytest.mark.parametrize(("options", "planned"), [({}, 320), ({"alloc_graph_input": False}, 160)])
def test_planned_memory_is_the_inputs_and_outputs(options: Any, planned: int) -> None:
    program = _export(Plus(), {"x": _rows(5)}, backend="portable", **options)
    assert sum(program.arena_sizes) == planned
    assert program(x=_rows(5)).equal(_rows(5) + 1)


def test_the_caller_can_bring_all_memory() -> None:
    config = {"alloc_graph_input": False, "alloc_graph_output": False}
    program = _export(Plus(), {"x": _rows(5)}, backend="portable", **config)
    assert sum(program.arena_sizes) == 0
    assert program(x=_rows(5)).equal(_rows(5) + 1)


def test_files(tmp_path: Path) -> None:
    model = Perceptron()
    program = _export(model, {"x": _rows(5)})
    path = tmp_path / "model.pte"
    facts = program.write_to_file(path)
    assert facts["file_bytes"] == path.stat().st_size
    assert path.read_bytes() == program.buffer
    held = io.BytesIO()
    program.write_to_file(held)
    assert held.getvalue() == program.buffer
    torch.testing.assert_close(Method(str(path))([_rows(5)])[0], model(_rows(5)))
    assert program.methods == ("forward",)


def test_files_that_cannot_be_written(tmp_path: Path) -> None:
    program = _export(Perceptron(), {"x": _rows(5)})
    with pytest.raises(FileError, match="is a directory"):
        program.save(tmp_path)
    with pytest.raises(FileError, match="nowhere"):
        program.save(tmp_path / "nowhere" / "model.pte")
    with pytest.raises(InvalidArgumentError, match="open for writing"):
        program.write_to_file(3)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_a_damaged_file_is_refused() -> None:
    data = _export(Perceptron(), {"x": _rows(5)}).buffer
    with pytest.raises(PortwrightError, match="cannot load"):
        Method(data[:200])


class Rare(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gammas = torch.lgamma(x)
        return gammas + torch.special.i0(x)


def test_all_missing_operators_are_named_with_their_lines() -> None:
    with pytest.raises(MissingLoweringError) as caught:
        _export(Rare(), {"x": _rows(5)})
    text = str(caught.value)
    assert "aten.lgamma.default" in text
    assert "i0" in text
    assert text.count("test_executorch.py:") == 2


def test_backends_by_name() -> None:
    with pytest.raises(InvalidArgumentError, match="xnnpack, portable, cuda"):
        _export(Perceptron(), {"x": _rows(5)}, backend="other")
    assert set(module._BACKEND_PREPARE) == {"xnnpack", "portable", "cuda"}
    model, inputs, partitioners = module.prepare_for_xnnpack(
        Perceptron().half(), {"x": _rows(5).half()}
    )
    assert next(model.parameters()).dtype == torch.float32
    assert inputs["x"].dtype == torch.float32
    assert partitioners == [module.NativePartitioner("xnnpack")]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_cuda_without_a_gpu_says_so() -> None:
    with pytest.raises(UnsupportedError, match="torch sees none"):
        _export(Perceptron(), {"x": _rows(5)}, backend="cuda")


def test_auto_classes() -> None:
    config = AutoExportConfig.from_dict({"export_format": "executorch", "backend": "portable"})
    exporter = AutoHfExporter.from_config(config)
    program = exporter.export(Perceptron().eval(), {"x": _rows(5)}, config)
    assert program.backend == "portable"


def test_experts_are_put_back() -> None:
    from transformers import MixtralConfig, MixtralForCausalLM

    torch.manual_seed(0)
    model = MixtralForCausalLM(
        MixtralConfig(
            vocab_size=99,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=1,
            num_attention_heads=4,
            num_key_value_heads=2,
            num_local_experts=4,
        )
    ).eval()
    before = model.get_experts_implementation()
    inputs = {"input_ids": torch.randint(1, 99, (2, 6))}
    program = _export(model, inputs, dynamic=True)
    assert model.get_experts_implementation() == before
    for result in verify(program.captured, model, inputs, program):
        assert result.matches, result


class Extremes(torch.nn.Module):
    """Constants that only their bits tell apart, and integers that no double holds."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        largest = torch.iinfo(torch.int64).max
        marked = torch.where(x.long() > 0, largest - 1, -largest)
        return (
            torch.where(x > 0, x, float("nan")),
            torch.where(x > 0, x, 0.0),
            torch.where(x > 0, x, -0.0),
            torch.where(x > 0, x, 1.0),
            marked,
        )


def test_constants_are_exact() -> None:
    x = torch.tensor([[2.0, -1.0, 0.0]])
    for ours, eager in zip(
        _export(Extremes(), {"x": x}, backend="portable")(x=x), Extremes()(x), strict=True
    ):
        bits = torch.int64 if eager.dtype == torch.int64 else torch.int32
        assert ours.view(bits).equal(eager.view(bits))


def test_decisions_on_data_are_refused() -> None:
    class Decides(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + 1 if (x > 0).any().item() else x

    with pytest.raises(PortwrightError, match="ExecuTorch has no assertions"):
        _export(Decides(), {"x": _rows(3)})
    program = _export(Decides(), {"x": _rows(3)}, allow_data_assumptions=True)
    torch.testing.assert_close(program(x=_rows(3)), Decides()(_rows(3)))


def test_the_command_line_exports_and_verifies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import json

    models.case("bert").model.save_pretrained(tmp_path / "bert")
    arguments = ["export", str(tmp_path / "bert"), "--to", "executorch", "-o", str(tmp_path)]
    assert cli.main([*arguments, "--dynamic", "--upper-bound", "64", "--json"]) == cli.VERIFIED
    report = json.loads(capsys.readouterr().out)
    assert report["verified"] is True
    assert len(report["runs"]) >= 4
    assert report["delegate_calls"] > 0
    assert (tmp_path / "model.pte").stat().st_size == report["files"]["file_bytes"]
    assert cli.main([*arguments, "--no-verify"]) == cli.VERIFIED
    assert "bytes of planned memory" in capsys.readouterr().out.replace("\n", " ")
    assert cli.main([*arguments, "--opset", "20"]) == cli.MISUSE
    assert "--opset is an option of --to onnx" in capsys.readouterr().err


def _generates(name: str, **options: Any) -> None:
    """generate() with the exported steps, beside eager's."""
    model, inputs = generative.case(name)
    config = {"dynamic": True, "upper_bounds": 48}
    result = verify_generation(
        ExecutorchExporter(), model, inputs, config, tolerance=RUNTIME_TOLERANCE, **options
    )
    assert result.problem == ""


@pytest.mark.parametrize("name", ["qwen3", "t5", "mamba", "llava"])
def test_generate(name: str) -> None:
    _generates(name)


def test_generate_with_a_cache_of_fixed_size() -> None:
    config = GenerationConfig(cache_implementation="static", max_cache_len=32)
    _generates("qwen3", generation_config=config)
