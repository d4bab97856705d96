"""ONNX files beside what the format cannot hold: the record of the export, and its conditions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import models
import onnx
import portwright
from portwright import OnnxConfig, OnnxExporter, cli, errors


class Rows(torch.nn.Module):
    """Takes at most 8 columns, an even number of rows, and as many of both inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(512))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
        if x.shape[1] > 8:
            raise ValueError("too wide")
        if x.shape[0] % 2 == 0:
            x = x + 1
        return {"sum": x + y, "scaled": x.sum() * self.weight}


def rows(batch: int, width: int) -> dict[str, torch.Tensor]:
    return {"x": torch.randn(batch, width), "y": torch.randn(batch, width)}


def saved(folder: Path, **changes: Any) -> Path:
    path = folder / "model.onnx"
    config = OnnxConfig(dynamic=True, output_path=path, **changes)
    OnnxExporter().export(Rows(), rows(4, 3), config)
    return path


def test_the_record_lies_beside_the_model_and_in_it(tmp_path: Path) -> None:
    path = saved(tmp_path)
    record = json.loads((tmp_path / "model.export.json").read_text())
    assert record["format"] == "onnx"
    assert record["opset"] == onnx.load(path).opset_import[0].version
    dims = record["inputs"][0]["dims"]
    assert record["inputs"] == [
        {"name": "x", "dtype": "float32", "dims": dims},
        {"name": "y", "dtype": "float32", "dims": dims},
    ]
    assert [item["name"] for item in record["outputs"]] == ["sum", "scaled"]
    assert record["outputs"][0]["dims"] == dims
    ranges = {item["name"]: (item.get("min"), item.get("max")) for item in record["dims"]}
    assert ranges[dims[1]][1] == 8
    even = next(item for item in record["conditions"] if "mod" in item["condition"])
    assert even["file"].endswith("test_onnx_files.py")
    assert even["line"] > 0
    assert record["model"] == "model.onnx"
    assert record["weights"] == {
        "file": "model.onnx_data",
        "bytes": 2048,
        "copied": ["weight"],
        "referenced": {},
    }
    assert record["versions"]["torch"] == torch.__version__
    assert any("is limited" in note for note in record["notes"])
    metadata = {item.key: item.value for item in onnx.load(path).metadata_props}
    inside = json.loads(metadata["portwright.export"])
    assert inside == {key: record[key] for key in inside}


def test_a_loaded_file_runs_and_refuses_what_it_was_not_captured_for(tmp_path: Path) -> None:
    path = saved(tmp_path)
    program = portwright.load(path)
    assert program.input_names == ["x", "y"]
    for batch, width in ((4, 3), (2, 8), (10, 1)):
        inputs = rows(batch, width)
        outputs = program.module()(**inputs)
        torch.testing.assert_close(outputs["sum"], inputs["x"] + 1 + inputs["y"])
    for batch, width, words in ((4, 9, "8"), (3, 3, "mod")):
        with pytest.raises(errors.GuardViolatedError, match=words) as caught:
            program(**rows(batch, width))
        assert caught.value.source_file.endswith("test_onnx_files.py")
    with pytest.raises(errors.GuardViolatedError, match=r"input 'y' has size 6 in dim 0"):
        program(x=torch.randn(4, 3), y=torch.randn(6, 3))
    with pytest.raises(errors.InvalidArgumentError, match="dtype"):
        program(x=torch.randn(4, 3).double(), y=torch.randn(4, 3))
    with pytest.raises(errors.InvalidArgumentError, match="rank"):
        program(x=torch.randn(4), y=torch.randn(4, 3))
    with pytest.raises(errors.InvalidArgumentError, match="missing input 'y'"):
        program(x=torch.randn(4, 3))
    with pytest.raises(errors.InvalidArgumentError, match="'z' is 3"):
        program(**rows(4, 3), z=3)


def test_it_refuses_exactly_what_the_program_in_memory_refuses(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    program = OnnxExporter().export(Rows(), rows(4, 3), OnnxConfig(dynamic=True, output_path=path))
    loaded = portwright.load(path)
    for batch in range(1, 6):
        for width in (1, 8, 9):
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


def test_a_loaded_decode_step_takes_its_cache(tmp_path: Path) -> None:
    case = models.case("qwen3_decode")
    path = tmp_path / "model.onnx"
    OnnxExporter().export(case.model, case.inputs, OnnxConfig(dynamic=True, output_path=path))
    outputs = portwright.load(path)(**case.inputs)
    with torch.no_grad():
        expected = case.model(**case.inputs)
    torch.testing.assert_close(outputs["logits"], expected.logits, rtol=1e-3, atol=1e-4)
    assert outputs["present.0.key"].shape == expected.past_key_values.layers[0].keys.shape


def test_models_without_a_record_are_not_run(tmp_path: Path) -> None:
    model = onnx.load(saved(tmp_path))
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(errors.UnsupportedError, match="onnxruntime"):
        portwright.load(tmp_path / "other.onnx")
    damaged = (
        "{}",
        "[",
        '{"dims": [{"name": "s0"}]}',
        '{"dims": 1, "conditions": [], "inputs": 0}',
    )
    for record in damaged:
        onnx.helper.set_model_props(model, {"portwright.export": record})
        onnx.save(model, tmp_path / "other.onnx")
        with pytest.raises(errors.CorruptFileError):
            portwright.load(tmp_path / "other.onnx")
    (tmp_path / "other.onnx").write_bytes(b"no model")
    with pytest.raises(errors.CorruptFileError):
        portwright.load(tmp_path / "other.onnx")
    with pytest.raises(errors.FileError):
        portwright.load(tmp_path / "missing.onnx")


def test_weights_that_are_inputs_are_in_the_record(tmp_path: Path) -> None:
    saved(tmp_path, export_params=False)
    record = json.loads((tmp_path / "model.export.json").read_text())
    assert record["weight_inputs"] == [{"name": "weight", "dtype": "float32", "dims": [512]}]


def test_weights_become_inputs_when_it_is_saved(tmp_path: Path) -> None:
    """As with torch.onnx.ONNXProgram; the program itself stays as it was exported."""
    program = OnnxExporter().export(Rows(), rows(4, 3), OnnxConfig(dynamic=True))
    program.save(tmp_path / "bare.onnx", include_initializers=False)
    bare = onnx.load(tmp_path / "bare.onnx").graph
    assert [item.name for item in bare.input] == ["x", "y", "weight"]
    assert "weight" not in {item.name for item in bare.initializer}
    program.save(tmp_path / "both.onnx", keep_initializers_as_inputs=True)
    both = onnx.load(tmp_path / "both.onnx").graph
    assert "weight" in {item.name for item in both.input}
    assert "weight" in {item.name for item in both.initializer}
    assert program.input_names == ["x", "y"]
    program(**rows(4, 3))
    assert program.model.graph is not None
    with pytest.raises(errors.UnsupportedError, match="export_params"):
        program.save(tmp_path / "edited.onnx", include_initializers=False)


def test_the_program_behind_it_is_torchs() -> None:
    program = OnnxExporter().export(Rows(), rows(4, 3), OnnxConfig(dynamic=True))
    assert isinstance(program.exported_program, torch.export.ExportedProgram)
    inputs = rows(6, 2)
    outputs = program.exported_program.module()(**inputs)
    torch.testing.assert_close(outputs["sum"], program(**inputs)["sum"])


def test_the_command_line_prints_conditions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models.case("qwen3").model.save_pretrained(tmp_path / "qwen3")
    arguments = ["export", str(tmp_path / "qwen3"), "-o", str(tmp_path), "--dynamic", "--no-verify"]
    assert cli.main(arguments) == cli.VERIFIED
    text = " ".join(capsys.readouterr().out.split())
    assert "conditions on sizes, which portwright.load checks" in text


def test_inspect_shows_the_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(tmp_path)
    assert cli.main(["inspect", str(path), "--json"]) == cli.VERIFIED
    facts = json.loads(capsys.readouterr().out)
    assert any("mod" in item["condition"] for item in facts["export"]["conditions"])
    assert facts["metadata"] == {}
    assert cli.main(["inspect", str(path)]) == cli.VERIFIED
    assert "test_onnx_files.py" in capsys.readouterr().out


def test_compare_reports_each_output() -> None:
    model, inputs = Rows(), rows(4, 3)
    program = OnnxExporter().export(model, inputs, OnnxConfig(dynamic=True))
    for other in (None, model):
        report = program.compare(rows(6, 2), other)
        assert report.matches, str(report)
        assert [item.name for item in report.outputs] == ["sum", "scaled"]
        assert report.outputs[0].elements == 12
    changed = Rows()
    with torch.no_grad():
        changed.weight.copy_(model.weight)
        changed.weight[:5] += 1
    report = program.compare(inputs, changed)
    assert not report.matches
    assert report.outputs[0].problem is None
    assert 0 < report.outputs[1].outside <= 5
    assert report.outputs[1].largest_absolute > 0
    assert "of 512" in str(report)


def test_sessions_are_opened_by_the_caller(tmp_path: Path) -> None:
    import onnxruntime

    opened = []

    def initializer(path: str) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        opened.append(path)
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    program = OnnxExporter().export(Rows(), rows(4, 3), OnnxConfig(dynamic=True))
    program.initialize_inference_session(initializer)
    program(**rows(4, 3))
    assert len(opened) == 1
    program.release()
    program.save(tmp_path / "model.onnx")
    program(**rows(2, 3))
    assert opened[1:] == [str(tmp_path / "model.onnx")]
    loaded = portwright.ONNXFile(tmp_path / "model.onnx", initializer)
    loaded(**rows(2, 3))
    assert len(opened) == 3
