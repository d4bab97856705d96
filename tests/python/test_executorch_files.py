""".pte files beside what the format cannot hold: the record of the export, and its conditions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.export import Dim

import models
import portwright
from portwright import ExecutorchConfig, ExecutorchExporter, ExecutorchFile, _core, cli, errors
from portwright.exporters import ExecutorchProgram

pytest.importorskip("executorch", reason="executorch, whose runtime runs .pte files, is absent")

BACKENDS = ["portable", "xnnpack"]


class Rows(torch.nn.Module):
    """Takes at most 8 columns, an even number of rows, and as many of both inputs."""

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
        if x.shape[1] > 8:
            raise ValueError("too wide")
        if x.shape[0] % 2 == 0:
            x = x + 1
        return {"sum": x + y, "total": x.sum(0)}


class Sum(torch.nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x + y


def rows(batch: int, width: int) -> dict[str, torch.Tensor]:
    return {"x": torch.randn(batch, width), "y": torch.randn(batch, width)}


def export(model: torch.nn.Module, inputs: dict[str, Any], **changes: Any) -> ExecutorchProgram:
    config = ExecutorchConfig(**{"dynamic": True, **changes})
    program = ExecutorchExporter().export(model.eval(), inputs, config)
    assert isinstance(program, ExecutorchProgram)
    return program


def saved(folder: Path, **changes: Any) -> Path:
    export(Rows(), rows(4, 3), **changes).save(folder / "model.pte")
    return folder / "model.pte"


def test_the_record_lies_beside_the_model_and_in_it(tmp_path: Path) -> None:
    program = export(Rows(), rows(4, 3), upper_bounds={"x.size(0)": 16})
    facts = program.save(tmp_path / "model.pte")
    assert facts["record_path"] == str(tmp_path / "model.export.json")
    record = json.loads((tmp_path / "model.export.json").read_text())
    assert record["format"] == "executorch"
    assert "opset" not in record
    batch, width = record["inputs"][0]["dims"]
    assert record["inputs"] == [
        {"name": name, "dtype": "float32", "dims": [batch, width]} for name in ("x", "y")
    ]
    assert record["outputs"] == [
        {"name": "sum", "dtype": "float32", "dims": [batch, width]},
        {"name": "total", "dtype": "float32", "dims": [width]},
    ]
    dims = {item["name"]: item for item in record["dims"]}
    assert dims[batch]["bound"] == 16
    assert dims[width]["bound"] == 6
    assert dims[width]["max"] == 8
    assert all("bound" not in item for item in record["dims"] if "is" in item)
    even = next(item for item in record["conditions"] if "mod" in item["condition"])
    assert even["file"].endswith("test_executorch_files.py")
    assert record["notes"] == program.notes
    assert record["versions"]["torch"] == torch.__version__
    assert record["model"] == "model.pte"
    assert record["bytes"]["file"] == facts["file_bytes"] == (tmp_path / "model.pte").stat().st_size
    inside = {key: value for key, value in record.items() if key not in ("model", "bytes")}
    data = (tmp_path / "model.pte").read_bytes()
    start = data.index(b'{\n "format"')
    assert json.JSONDecoder().raw_decode(data[start:].decode(errors="replace"))[0] == inside


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_loaded_file_runs_and_checks_its_conditions(backend: str, tmp_path: Path) -> None:
    program = portwright.load(saved(tmp_path, backend=backend))
    assert isinstance(program, ExecutorchFile)
    assert program.input_names == ["x", "y"]
    assert program.output_names == ["sum", "total"]
    assert any("mod" in item["text"] for item in program.conditions)
    for batch, width in ((4, 3), (8, 6), (2, 5)):
        inputs = rows(batch, width)
        outputs = program.module()(**inputs)
        torch.testing.assert_close(outputs, Rows()(**inputs))
    for batch, width, words in ((4, 9, "8"), (3, 3, "mod"), (4, 7, "at most 6"), (10, 3, "most 8")):
        with pytest.raises(errors.GuardViolatedError, match=words):
            program(**rows(batch, width))
    with pytest.raises(errors.GuardViolatedError, match=r"input 'y' has size 6 in dim 0"):
        program(x=torch.randn(4, 3), y=torch.randn(6, 3))
    with pytest.raises(errors.InvalidArgumentError, match="dtype"):
        program(x=torch.randn(4, 3).double(), y=torch.randn(4, 3))
    with pytest.raises(errors.InvalidArgumentError, match="missing input 'y'"):
        program(x=torch.randn(4, 3))
    with pytest.raises(errors.InvalidArgumentError, match="'z' is 3"):
        program(**rows(4, 3), z=3)


def test_it_refuses_exactly_what_the_program_in_memory_refuses(tmp_path: Path) -> None:
    program = export(Rows(), rows(4, 3), backend="portable")
    program.save(tmp_path / "model.pte")
    loaded = portwright.load(tmp_path / "model.pte")
    refused = 0
    for batch in (1, 2, 4, 5, 8, 10):
        for width in (1, 6, 7, 9):
            for other in (batch, batch + 1):
                inputs = {"x": torch.randn(batch, width), "y": torch.randn(other, width)}
                messages = []
                for run in (program, loaded):
                    try:
                        run(**inputs)
                        messages.append("")
                    except errors.GuardViolatedError as error:
                        messages.append(str(error))
                assert messages[0] == messages[1]
                refused += messages[0] != ""
    assert refused == 48 - 3 * 2


def test_a_bound_names_its_dim(tmp_path: Path) -> None:
    named = {"x": {0: Dim("batch")}, "y": {0: Dim("batch")}}
    program = export(Sum(), rows(4, 3), dynamic=False, dynamic_shapes=named, upper_bounds=12)
    program.save(tmp_path / "model.pte")
    said = r"dim 'batch' \(x\.size\(0\)\) is 14, and memory is planned for at most 12: .*upper_bou"
    for run in (program, portwright.load(tmp_path / "model.pte")):
        with pytest.raises(errors.GuardViolatedError, match=said):
            run(**rows(14, 3))
        run(**rows(12, 3))


def test_a_bound_of_what_a_dim_is_derived_from(tmp_path: Path) -> None:
    half = Dim("half")
    shapes = {"x": {0: 2 * half}, "y": {0: 2 * half}}
    program = export(Sum(), rows(4, 3), dynamic=False, dynamic_shapes=shapes, upper_bounds=5)
    program.save(tmp_path / "model.pte")
    for run in (program, portwright.load(tmp_path / "model.pte")):
        with pytest.raises(errors.GuardViolatedError, match=r"'half'.* is 6, .*at most 5:"):
            run(**rows(12, 3))
        run(**rows(10, 3))


def test_a_loaded_decode_step_takes_its_cache(tmp_path: Path) -> None:
    case = models.case("qwen3_decode")
    export(case.model, case.inputs).save(tmp_path / "model.pte")
    outputs = portwright.load(tmp_path / "model.pte")(**case.inputs)
    with torch.no_grad():
        expected = case.model(**case.inputs)
    torch.testing.assert_close(outputs["logits"], expected.logits, rtol=1e-3, atol=1e-4)
    assert outputs["present.0.key"].shape == expected.past_key_values.layers[0].keys.shape


class Written(torch.nn.Module):
    def forward(self, cache: torch.Tensor, x: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        cache.index_copy_(1, at, x)
        return cache.sum(1)


@pytest.mark.parametrize("backend", BACKENDS)
def test_inputs_are_written(backend: str, tmp_path: Path) -> None:
    inputs = {"cache": torch.zeros(2, 8, 4), "x": torch.randn(2, 1, 4), "at": torch.tensor([3])}
    export(Written(), inputs, dynamic=False, backend=backend).save(tmp_path / "model.pte")
    ours, eager = torch.ones(8, 2, 4).transpose(0, 1), torch.ones(2, 8, 4)
    outputs = portwright.load(tmp_path / "model.pte")(**{**inputs, "cache": ours})
    assert len(outputs) == 1
    torch.testing.assert_close(
        next(iter(outputs.values())), Written()(eager, inputs["x"], inputs["at"])
    )
    assert torch.equal(ours, eager)


def test_files_without_a_record_are_not_run(tmp_path: Path) -> None:
    from executorch.exir import to_edge_transform_and_lower

    captured = torch.export.export(Rows(), (torch.randn(4, 3), torch.randn(4, 3)))
    with open(tmp_path / "other.pte", "wb") as file:
        to_edge_transform_and_lower(captured).to_executorch().write_to_file(file)
    with pytest.raises(errors.UnsupportedError, match=r"no record.*ExecuTorch's own Runtime"):
        portwright.load(tmp_path / "other.pte")
    data = saved(tmp_path).read_bytes()
    for content in (b"", b"no program", data[:200], data[: len(data) // 2]):
        (tmp_path / "bad.pte").write_bytes(content)
        with pytest.raises((errors.CorruptFileError, errors.UnsupportedError)):
            portwright.load(tmp_path / "bad.pte")
    (tmp_path / "bad.pte").write_bytes(data.replace(b'"conditions"', b'"conditionz"'))
    with pytest.raises(errors.CorruptFileError, match="record"):
        portwright.load(tmp_path / "bad.pte")
    with pytest.raises(errors.FileError):
        portwright.load(tmp_path / "missing.pte")


def test_a_file_that_is_read_and_written_keeps_its_record(tmp_path: Path) -> None:
    _core.read_pte(str(saved(tmp_path))).write(str(tmp_path / "again.pte"))
    again = portwright.load(tmp_path / "again.pte")
    inputs = rows(4, 3)
    torch.testing.assert_close(again(**inputs), Rows()(**inputs))


def test_inspect_shows_the_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(tmp_path)
    assert cli.main(["inspect", str(path), "--json"]) == cli.VERIFIED
    facts = json.loads(capsys.readouterr().out)
    assert any("mod" in item["condition"] for item in facts["export"]["conditions"])
    assert {item["bound"] for item in facts["export"]["dims"] if "bound" in item} == {6, 8}
    assert cli.main(["inspect", str(path)]) == cli.VERIFIED
