"""Configs, formats and the auto classes: the names and defaults of the exporters page."""

from __future__ import annotations

import dataclasses
import importlib
import logging
from typing import Any

import pytest
import torch

from portwright import errors
from portwright.exporters import (
    AutoExportConfig,
    AutoHfExporter,
    DynamoConfig,
    DynamoExporter,
    ExecutorchConfig,
    ExecutorchExporter,
    ExportFormat,
    OnnxConfig,
    OnnxExporter,
    base,
    exporter_executorch,
)

SHARED: dict[str, Any] = {
    "dynamic": False,
    "strict": False,
    "dynamic_shapes": None,
    "prefer_deferred_runtime_asserts_over_guards": False,
}
# The page's fields in its order; weights, ort_fusions and the like are ours.
FIELDS: list[tuple[type[DynamoConfig], dict[str, Any]]] = [
    (DynamoConfig, {"export_format": ExportFormat.DYNAMO, **SHARED}),
    (
        OnnxConfig,
        {
            "export_format": ExportFormat.ONNX,
            **SHARED,
            "output_path": None,
            "opset_version": None,
            "external_data": True,
            "weights": "copy",
            "optimize": True,
            "ort_fusions": None,
            "last_token_logits": False,
            "export_params": True,
            "keep_initializers_as_inputs": False,
            "bfloat16_in_float32": True,
            "allow_data_assumptions": False,
        },
    ),
    (
        ExecutorchConfig,
        {
            "export_format": ExportFormat.EXECUTORCH,
            **SHARED,
            "backend": "xnnpack",
            "dtype": None,
            "upper_bounds": None,
            "alloc_graph_input": True,
            "alloc_graph_output": True,
            "alloc_mutable_buffers": True,
            "allow_data_assumptions": False,
        },
    ),
]


@pytest.mark.parametrize(("config", "fields"), FIELDS)
def test_fields_and_defaults_are_the_pages(
    config: type[DynamoConfig], fields: dict[str, Any]
) -> None:
    assert config().to_dict() == fields
    assert [field.name for field in dataclasses.fields(config)] == list(fields)


@pytest.mark.parametrize(("config", "fields"), FIELDS)
def test_a_dict_gives_the_config_again(config: type[DynamoConfig], fields: dict[str, Any]) -> None:
    shapes = {"x": {0: torch.export.Dim("batch", max=8)}}
    changed = config(dynamic=True, dynamic_shapes=shapes)
    assert config.from_dict(changed.to_dict()) == changed
    again = AutoExportConfig.from_dict(changed.to_dict())
    assert type(again) is config
    assert again == changed
    changed.to_dict()["dynamic_shapes"].clear()
    assert changed.dynamic_shapes == shapes


def test_a_format_is_given_by_name() -> None:
    config = AutoExportConfig.from_dict({"export_format": "executorch", "backend": "cuda"})
    assert config == ExecutorchConfig(backend="cuda")
    assert config.export_format is ExportFormat.EXECUTORCH


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AutoExportConfig.from_dict({"dynamic": True}), "no 'export_format'"),
        (lambda: AutoExportConfig.from_dict({"export_format": "tflite"}), "dynamo, onnx, execut"),
        (lambda: AutoHfExporter.from_config({"export_format": "tflite"}), "dynamo, onnx, execut"),
        (lambda: AutoHfExporter.from_config("onnx"), "not str"),  # type: ignore[arg-type]
        (lambda: DynamoConfig(export_format="tflite"), "unknown export format"),  # type: ignore[arg-type]
        (lambda: OnnxConfig(export_format=ExportFormat.DYNAMO), "OnnxConfig is for"),
        (lambda: DynamoConfig.from_dict({"dynamc": True}), "did you mean 'dynamic'"),
        (lambda: ExecutorchConfig(backend=3), "backend"),  # type: ignore[arg-type]
        (lambda: DynamoConfig(dynamic_shapes=[1]), "dynamic_shapes"),  # type: ignore[arg-type]
    ],
)
def test_mistakes_are_named(make: Any, message: str) -> None:
    with pytest.raises(errors.InvalidArgumentError, match=message):
        make()


def test_the_auto_exporter_takes_a_config_or_a_dict() -> None:
    assert type(AutoHfExporter.from_config(OnnxConfig())) is OnnxExporter
    assert type(AutoHfExporter.from_config({"export_format": "dynamo"})) is DynamoExporter


def test_the_auto_classes_work_together() -> None:
    config = AutoExportConfig.from_dict({"export_format": "dynamo", "dynamic": True})
    inputs = {"input": torch.randn(2, 3)}
    model = torch.nn.Linear(3, 4).eval()
    exported = AutoHfExporter.from_config(config).export(model, inputs, config=config)  # type: ignore[arg-type]
    torch.testing.assert_close(exported.module()(**inputs), model(inputs["input"]))


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("auto", ["AutoExportConfig", "AutoHfExporter"]),
        ("configs", ["DynamoConfig", "ExecutorchConfig", "ExportFormat", "OnnxConfig"]),
        ("exporter_dynamo", ["DynamoConfig", "DynamoExporter"]),
        ("exporter_executorch", ["ExecutorchConfig", "ExecutorchExporter", "prepare_for_xnnpack"]),
        ("exporter_onnx", ["OnnxConfig", "OnnxExporter"]),
        ("utils", ["get_leaf_tensors", "prepare_for_export"]),
    ],
)
def test_names_are_where_the_page_has_them(module: str, names: list[str]) -> None:
    found = importlib.import_module(f"portwright.exporters.{module}")
    assert set(names) <= set(vars(found))


def test_another_version_is_logged_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "_warned", set())
    tested = {**OnnxExporter.tested_versions, "torch": "2.0.0", "not-installed": "1.0"}
    monkeypatch.setattr(OnnxExporter, "tested_versions", tested)
    with caplog.at_level(logging.WARNING, "portwright"):
        OnnxExporter()
        OnnxExporter()
    messages = [r.getMessage() for r in caplog.records if "is tested with 2.0.0" in r.getMessage()]
    assert len(messages) == 1
    assert messages[0].startswith("torch 2.13")
    assert "not-installed" not in caplog.text


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ExecutorchExporter, "required_packages", ("no-such-package",))
    with pytest.raises(ImportError, match="pip install no-such-package"):
        AutoHfExporter.from_config(ExecutorchConfig())


def test_an_unknown_backend_lists_those_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ExecutorchExporter, "required_packages", ())
    with pytest.raises(errors.InvalidArgumentError, match="xnnpack, portable, cuda"):
        ExecutorchExporter().export(torch.nn.ReLU(), {}, {"backend": "tpu"})


def test_cuda_needs_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(errors.UnsupportedError, match="GPU"):
        exporter_executorch.prepare_for_cuda(torch.nn.ReLU(), {})
