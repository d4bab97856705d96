"""The Python surface: configs, errors, ONNXProgram, files."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

import models
import portwright
from portwright import errors
from portwright.differences import compare_tensors
from portwright.exporters import (
    OnnxConfig,
    OnnxExporter,
    base,
)
from portwright.exporters.utils import get_leaf_tensors, patch_model_config, prepare_for_export
from portwright.verify import verify


class Scale(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.arange(512.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight


def scale() -> tuple[torch.nn.Module, dict[str, Any]]:
    return Scale().eval(), {"x": torch.randn(3, 512)}


def test_an_unknown_option_names_the_nearest() -> None:
    model, inputs = scale()
    with pytest.raises(errors.InvalidArgumentError, match="did you mean 'dynamic'"):
        OnnxExporter().export(model, inputs, {"dynamik": True})


@pytest.mark.parametrize(
    ("values", "message"),
    [({"dynamic": "yes"}, "dynamic"), ({"opset_version": "18"}, "opset_version")],
)
def test_an_option_of_the_wrong_type_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.InvalidArgumentError, match=message):
        OnnxConfig.from_dict(values)


@pytest.mark.parametrize("opset", [17, 29])
def test_opsets_outside_the_range_are_refused(opset: int) -> None:
    model, inputs = scale()
    with pytest.raises(errors.InvalidArgumentError, match="18"):
        OnnxExporter().export(model, inputs, OnnxConfig(opset_version=opset))


def test_labels_are_refused() -> None:
    model, inputs = scale()
    with pytest.raises(errors.InvalidArgumentError, match="labels"):
        OnnxExporter().export(model, {**inputs, "labels": torch.zeros(3)})


def test_a_missing_input_is_named() -> None:
    model, inputs = scale()
    program = OnnxExporter().export(model, inputs)
    with pytest.raises(errors.InvalidArgumentError, match="missing input 'x'"):
        program()


@pytest.mark.parametrize("kind", ["flash_attention_2", "flex_attention"])
def test_flash_and_flex_attention_are_refused(kind: str) -> None:
    case = models.case("bert")
    case.model.config._attn_implementation_internal = kind
    with pytest.raises(errors.UnsupportedError, match="sdpa"):
        OnnxExporter().export(case.model, case.inputs)


def test_missing_lowerings_are_listed_at_once() -> None:
    class Model(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.special.bessel_j1(x) + torch.special.bessel_j0(x).sum()

    with pytest.raises(errors.MissingLoweringError) as raised:
        OnnxExporter().export(Model().eval(), {"x": torch.randn(3, 3)})
    assert "bessel_j0" in str(raised.value)
    assert "bessel_j1" in str(raised.value)
    assert "test_exporters.py:" in str(raised.value)


def test_a_call_outside_the_guards_is_refused() -> None:
    case = models.case("bert")
    program = OnnxExporter().export(case.model, case.inputs, OnnxConfig(dynamic=True))
    with pytest.raises(errors.GuardViolatedError, match="64"):
        program(**models._text(1, 65))


def test_static_programs_refuse_other_sizes() -> None:
    model, inputs = scale()
    program = OnnxExporter().export(model, inputs)
    with pytest.raises(errors.GuardViolatedError):
        program(x=torch.randn(4, 512))


def test_the_decode_step_rebuilds_its_cache() -> None:
    case = models.case("qwen3_decode")
    program = OnnxExporter().export(case.model, case.inputs, OnnxConfig(dynamic=True))
    outputs = program(**case.inputs)
    assert type(outputs).__name__ == "CausalLMOutputWithPast"
    assert outputs.past_key_values.get_seq_length() == 8
    assert program.input_names[2:4] == ["past_key_values.0.key", "past_key_values.0.value"]


def test_node_names_follow_the_modules() -> None:
    case = models.case("qwen3")
    proto = OnnxExporter().export(case.model, case.inputs).model_proto
    assert "/model/layers.0/self_attn/q_proj/MatMul" in {node.name for node in proto.graph.node}


def test_symbolic_dims_are_named() -> None:
    case = models.case("qwen3")
    batch, seq = torch.export.Dim("batch", max=32), torch.export.Dim("seq", min=2, max=64)
    spec = {0: batch, 1: seq}
    program = OnnxExporter().export(
        case.model,
        case.inputs,
        OnnxConfig(dynamic_shapes={"input_ids": spec, "attention_mask": spec}),
    )
    dims = program.model_proto.graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_param for dim in dims] == ["batch", "seq"]


def test_files(tmp_path: Path) -> None:
    import onnx

    model, inputs = scale()
    program = OnnxExporter().export(
        model, inputs, OnnxConfig(dynamic=True, output_path=tmp_path / "a.onnx")
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.export.json", "a.onnx", "a.onnx_data"]
    onnx.checker.check_model(str(tmp_path / "a.onnx"), full_check=True)
    program.save(tmp_path / "b.onnx", external_data=False)
    assert not (tmp_path / "b.onnx_data").exists()
    onnx.checker.check_model(str(tmp_path / "b.onnx"), full_check=True)


def test_without_weights_they_are_inputs(tmp_path: Path) -> None:
    import onnxruntime

    model, inputs = scale()
    program = OnnxExporter().export(model, inputs, OnnxConfig(export_params=False))
    assert program.input_names == ["x", "weight"]
    program.save(tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"))
    weight = torch.randn(512)
    (result,) = session.run(None, {"x": inputs["x"].numpy(), "weight": weight.numpy()})
    torch.testing.assert_close(torch.from_numpy(result), inputs["x"] * weight)
    with pytest.raises(errors.InvalidArgumentError, match="export_params"):
        program(**inputs)


def test_initializers_can_be_inputs_too(tmp_path: Path) -> None:
    import onnxruntime

    model, inputs = scale()
    config = OnnxConfig(keep_initializers_as_inputs=True, output_path=tmp_path / "m.onnx")
    OnnxExporter().export(model, inputs, config)
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"))
    (result,) = session.run(None, {"x": inputs["x"].numpy()})
    torch.testing.assert_close(torch.from_numpy(result), model(**inputs))
    (zeros,) = session.run(None, {"x": inputs["x"].numpy(), "weight": torch.zeros(512).numpy()})
    assert not zeros.any()


def test_an_unwritable_output_is_one_error(tmp_path: Path) -> None:
    model, inputs = scale()
    program = OnnxExporter().export(model, inputs)
    with pytest.raises(errors.FileError, match="missing"):
        program.save(tmp_path / "missing" / "m.onnx")
    with pytest.raises(errors.FileError, match="directory"):
        program.save(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    import resource
    import signal

    model, inputs = scale()
    program = OnnxExporter().export(model, inputs)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, limits[1]))
        with pytest.raises(errors.FileError):
            program.save(tmp_path / "m.onnx")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []


def test_version_drift_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    class Drifted(OnnxExporter):
        tested_versions = {"numpy": "0.0.1"}  # noqa: RUF012

    base._warned.discard("numpy")
    with caplog.at_level(logging.WARNING, logger="portwright"):
        Drifted()
        Drifted()
    assert sum("numpy" in record.message for record in caplog.records) == 1


def test_prepare_for_export_takes_the_flags_out() -> None:
    case = models.case("bert")
    inputs = {**case.inputs, "use_cache": False, "return_dict": True, "position_ids": None}
    _, prepared, flags = prepare_for_export(case.model, inputs)
    assert flags == {"use_cache": False, "return_dict": True}
    assert set(prepared) == {"input_ids", "attention_mask"}


def test_patch_model_config_restores() -> None:
    case = models.case("qwen3")
    with pytest.raises(KeyError), patch_model_config(case.model, {"use_cache": False}):
        assert case.model.config.use_cache is False
        raise KeyError
    assert case.model.config.use_cache is True


def test_get_leaf_tensors_names_caches() -> None:
    inputs = models.case("gpt2_decode").inputs
    assert list(get_leaf_tensors(inputs))[2] == "past_key_values.0.key"


def test_verify_tries_other_sizes() -> None:
    case = models.case("qwen3")
    program = OnnxExporter().export(case.model, case.inputs, OnnxConfig(dynamic=True))
    results = verify(program.captured, case.model, case.inputs, program)
    assert len(results) >= 5
    assert all(result.matches for result in results), [r.problems for r in results]


def test_verify_finds_a_wrong_artifact() -> None:
    model, inputs = scale()
    program = OnnxExporter().export(model, inputs, OnnxConfig(dynamic=True))
    with torch.no_grad():
        model.weight.mul_(1.01)  # the artifact shares the weights only until it was loaded
        program(**inputs)
        model.weight.mul_(1.01)
    assert not all(r.matches for r in verify(program.captured, model, inputs, program))


def test_the_comparison_rule() -> None:
    b = torch.tensor([1.0, 2.0, 3.0])
    assert compare_tensors(b + 1e-4, b, 1e-3) is None
    assert compare_tensors(b + 1e-1, b, 1e-3) is not None
    assert compare_tensors(torch.tensor([1.0, float("nan"), 3.0]), b, 1e-3) is not None
    assert compare_tensors(b.double(), b, 1e-3) is not None
    assert compare_tensors(b[:2], b, 1e-3) is not None
    assert compare_tensors(torch.tensor([1, 2]), torch.tensor([1, 3]), 1e-3) is not None


def test_the_package_names_its_version() -> None:
    assert portwright.__version__ == "0.1.0"


class _Decides(torch.nn.Module):
    """Takes one of two ways by what is in the input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 1 if (x > 0).all() else x - 1


def test_onnx_refuses_a_decision_on_data_unless_it_is_allowed() -> None:
    inputs = {"x": torch.ones(3, 2)}
    with pytest.raises(errors.DataDependentError, match="allow_data_assumptions"):
        OnnxExporter().export(_Decides().eval(), inputs)
    program = OnnxExporter().export(_Decides().eval(), inputs, {"allow_data_assumptions": True})
    assert torch.equal(program(x=torch.ones(3, 2)), torch.full((3, 2), 2.0))
