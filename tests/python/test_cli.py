"""The command line, with its exit codes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import models
from portwright import cli


@pytest.fixture
def bert_directory(tmp_path: Path) -> str:
    models.case("bert").model.save_pretrained(tmp_path / "bert")
    return str(tmp_path / "bert")


def run_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = cli.main([*arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_export_verifies(
    bert_directory: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    code, report = run_json(capsys, "export", bert_directory, "-o", out, "--dynamic")
    assert code == cli.VERIFIED
    assert report["verified"] is True
    assert len(report["runs"]) >= 4
    code, facts = run_json(capsys, "inspect", f"{out}/model.onnx")
    assert code == cli.VERIFIED
    assert {item["name"] for item in facts["inputs"]} == {"input_ids", "attention_mask"}


def test_a_named_dim(
    bert_directory: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, report = run_json(
        capsys,
        "export",
        bert_directory,
        "-o",
        str(tmp_path),
        "--dim",
        "input_ids:0=batch:1:8",
        "--dim",
        "attention_mask:0=batch:1:8",
        "--no-verify",
    )
    assert code == cli.VERIFIED
    assert report["verified"] is None


def test_random_weights_from_a_config(
    bert_directory: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["export", bert_directory, "-o", str(tmp_path), "--config-only", "--opset", "18"]
    code, report = run_json(capsys, *arguments)
    assert code == cli.VERIFIED
    assert report["opset"] == 18


@pytest.mark.parametrize("dim", ["input_ids", "input_ids:0", "input_ids:x=batch", "a:0=b:5:1"])
def test_a_dim_that_makes_no_sense_is_misuse(bert_directory: str, tmp_path: Path, dim: str) -> None:
    assert cli.main(["export", bert_directory, "-o", str(tmp_path), "--dim", dim]) == cli.MISUSE


def test_a_model_that_does_not_load_is_misuse(tmp_path: Path) -> None:
    assert cli.main(["export", str(tmp_path / "none"), "-o", str(tmp_path)]) == cli.MISUSE


def test_an_unwritable_output_is_a_failed_export(bert_directory: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code = cli.main(["export", bert_directory, "-o", str(tmp_path / "file" / "out")])
    assert code == cli.FAILED


def test_a_failed_capture_leaves_a_reproducer(
    bert_directory: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from transformers.models.bert.modeling_bert import BertPooler

    monkeypatch.delenv("PORTWRIGHT_REPRODUCER", raising=False)
    monkeypatch.setattr(BertPooler, "forward", lambda self, x: x[:, 0] * float(x.sum()))
    folder = tmp_path / "failed"
    arguments = ["export", bert_directory, "-o", str(tmp_path), "--reproducer", str(folder)]
    assert cli.main(arguments) == cli.FAILED
    message = capsys.readouterr().err
    assert "reads a float" in message and str(folder / "BertModel.ir") in message
    assert "aten.sum.default" in (folder / "BertModel.ir").read_text()
    assert "PORTWRIGHT_REPRODUCER" not in os.environ


def test_inspecting_garbage_is_misuse(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"\xff" * 100)
    assert cli.main(["inspect", str(tmp_path / "x.onnx")]) == cli.MISUSE


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        cli.main(["export", "--help"])
    assert raised.value.code == 0
    assert "exit codes" in capsys.readouterr().out
