"""The six architectures: captured and exported, right at the sample shape and at all others."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

import models
from portwright.exporters import DynamoConfig, DynamoExporter, OnnxConfig, OnnxExporter
from portwright.verify import CAPTURE_TOLERANCE, RUNTIME_TOLERANCE, compare

NAMES = list(models.CASES)


def check(run: Any, case: models.Case, inputs: dict[str, Any], name: str, tolerance: float) -> None:
    with torch.no_grad():
        expected = case.model(**copy.deepcopy(inputs))
    result = compare(name, inputs, run(**copy.deepcopy(inputs)), expected, tolerance)
    assert result.differences, "no output was compared"
    assert result.matches, result.problems


@pytest.mark.parametrize("name", NAMES)
def test_capture_equals_eager_at_every_shape(name: str) -> None:
    case = models.case(name)
    run = DynamoExporter().export(case.model, case.inputs, DynamoConfig(dynamic=True)).module()
    for label, inputs in {"sample": case.inputs, **case.variants}.items():
        check(run, case, inputs, label, CAPTURE_TOLERANCE)


@pytest.mark.parametrize("opset", [18, 23])
@pytest.mark.parametrize("name", NAMES)
def test_onnx_equals_eager_at_every_shape(name: str, opset: int) -> None:
    case = models.case(name)
    config = OnnxConfig(dynamic=True, opset_version=opset)
    program = OnnxExporter().export(case.model, case.inputs, config)
    for label, inputs in {"sample": case.inputs, **case.variants}.items():
        check(program, case, inputs, label, RUNTIME_TOLERANCE)


@pytest.mark.parametrize("name", NAMES)
def test_static_onnx_equals_eager(name: str) -> None:
    case = models.case(name)
    program = OnnxExporter().export(case.model, case.inputs, OnnxConfig())
    check(program, case, case.inputs, "sample", RUNTIME_TOLERANCE)


@pytest.mark.parametrize("name", NAMES)
def test_passes_keep_the_results(name: str) -> None:
    case = models.case(name)
    program = OnnxExporter().export(case.model, case.inputs, {"dynamic": True, "optimize": False})
    check(program, case, case.inputs, "sample", RUNTIME_TOLERANCE)


def test_the_model_and_the_inputs_stay_as_they_were() -> None:
    case = models.case("qwen3_decode")
    before = copy.deepcopy(case.inputs)
    weights = {name: tensor.clone() for name, tensor in case.model.state_dict().items()}
    OnnxExporter().export(case.model, case.inputs, OnnxConfig(dynamic=True))
    assert (
        case.inputs["past_key_values"].get_seq_length()
        == before["past_key_values"].get_seq_length()
    )
    assert all(torch.equal(weights[n], t) for n, t in case.model.state_dict().items())


def test_minilm_gives_the_same_sentence_embeddings() -> None:
    from transformers import AutoModel, AutoTokenizer

    from portwright.demo import SENTENCES, minilm_directory

    directory = minilm_directory()
    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = AutoModel.from_pretrained(directory).eval()

    def embed(run: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        hidden = run(**inputs).last_hidden_state
        mask = inputs["attention_mask"][:, :, None].to(hidden.dtype)
        pooled = (hidden * mask).sum(1) / mask.sum(1)
        return torch.nn.functional.normalize(pooled, dim=1)

    batches = [dict(tokenizer(text, padding=True, return_tensors="pt")) for text in SENTENCES]
    program = OnnxExporter().export(model, batches[0], OnnxConfig(dynamic=True))
    for inputs in batches:
        with torch.no_grad():
            expected = embed(model, inputs)
        torch.testing.assert_close(embed(program, inputs), expected, atol=1e-5, rtol=1e-4)


def test_the_demo_verifies_and_reports(capsys: pytest.CaptureFixture[str]) -> None:
    from portwright import demo

    assert demo.main() == 0
    assert "verified against eager" in capsys.readouterr().out
