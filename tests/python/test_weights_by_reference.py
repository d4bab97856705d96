"""ONNX models whose external data is the checkpoint's own .safetensors files."""

from __future__ import annotations

import json
import os
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import onnx
from portwright import cli
from portwright.errors import CorruptFileError, InvalidArgumentError, UnsupportedError
from portwright.exporters import OnnxConfig, OnnxExporter

VOCABULARY = 300


def config(**changes: Any) -> Any:
    return transformers.Qwen3Config(
        **{
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "vocab_size": VOCABULARY,
            "tie_word_embeddings": True,
            **changes,
        }
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    transformers.Qwen3ForCausalLM(config()).save_pretrained(tmp_path / "qwen")
    return tmp_path / "qwen"


def loaded(folder: Path, **arguments: Any) -> torch.nn.Module:
    return transformers.Qwen3ForCausalLM.from_pretrained(folder, **arguments).eval()


def inputs() -> dict[str, torch.Tensor]:
    ids = torch.randint(0, VOCABULARY, (2, 6))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def exported(model: torch.nn.Module, **fields: Any) -> Any:
    model.config.use_cache = False
    return OnnxExporter().export(
        model, inputs(), OnnxConfig(dynamic=True, weights="reference", **fields)
    )


def external(path: Path) -> dict[str, str]:
    """The file of each initializer that has one."""
    graph = onnx.load(str(path), load_external_data=False).graph
    return {
        item.name: entry.value
        for item in graph.initializer
        for entry in item.external_data
        if entry.key == "location"
    }


def assert_runs(program: Any, model: torch.nn.Module) -> None:
    given = inputs()
    with torch.no_grad():
        expected = model(**given).logits
    torch.testing.assert_close(program(**given).logits, expected, rtol=1e-3, atol=1e-4)


def test_nothing_is_copied(folder: Path) -> None:
    model = loaded(folder)
    program = exported(model)
    path = folder / "model.onnx"
    facts = program.save(path)
    assert facts["copied"] == [] and facts["data_path"] == "" and facts["data_bytes"] == 0
    assert set(external(path).values()) == {"model.safetensors"} == set(facts["referenced"])
    assert not os.path.exists(f"{path}_data")
    onnx.checker.check_model(str(path), full_check=True)
    assert_runs(program, model)


def test_shards_and_a_model_above_the_checkpoint(tmp_path: Path) -> None:
    torch.manual_seed(0)
    folder = tmp_path / "parts"
    transformers.Qwen3ForCausalLM(config()).save_pretrained(folder, max_shard_size="30KB")
    model = loaded(folder)
    program = exported(model, output_path=tmp_path / "model.onnx")
    files = set(external(tmp_path / "model.onnx").values())
    assert len(files) > 1 and all(name.startswith("parts/model-") for name in files)
    assert_runs(program, model)


def test_what_was_changed_after_loading_is_copied(folder: Path) -> None:
    model = loaded(folder)
    with torch.no_grad():
        model.get_parameter("model.layers.1.mlp.up_proj.weight").mul_(2)
    program = exported(model)
    facts = program.save(folder / "model.onnx")
    assert facts["copied"] == ["model.layers.1.mlp.up_proj.weight"]
    assert_runs(program, model)


def test_weights_that_are_no_longer_mapped_are_found_by_name(folder: Path) -> None:
    model = loaded(folder)
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()
    facts = exported(model).save(folder / "model.onnx")
    assert facts["copied"] == []


def test_a_cast_model_shares_nothing_with_its_checkpoint(folder: Path) -> None:
    program = exported(loaded(folder).double())
    with pytest.raises(InvalidArgumentError, match="byte for byte"):
        program.save(folder / "model.onnx")
    assert not (folder / "model.onnx").exists()


def test_other_folders_and_links_are_refused(folder: Path, tmp_path: Path) -> None:
    program = exported(loaded(folder))
    other = tmp_path / "elsewhere"
    other.mkdir()
    with pytest.raises(InvalidArgumentError, match=r"folder.*weights=\"copy\""):
        program.save(other / "model.onnx")
    assert list(other.iterdir()) == []

    hub = tmp_path / "hub"
    shutil.copytree(folder, hub)
    (hub / "model.safetensors").unlink()
    (hub / "model.safetensors").symlink_to(folder / "model.safetensors")
    with pytest.raises(InvalidArgumentError, match="link"):
        exported(loaded(hub)).save(hub / "model.onnx")


def test_a_model_of_no_checkpoint_is_refused(tmp_path: Path) -> None:
    program = exported(transformers.Qwen3ForCausalLM(config()).eval())
    with pytest.raises(InvalidArgumentError, match="from_pretrained"):
        program.save(tmp_path / "model.onnx")


@pytest.mark.parametrize("fields", [{"external_data": False}, {"export_params": False}])
def test_references_are_external_data(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match="external_data=True"):
        OnnxConfig(weights="reference", **fields)


def test_an_edited_model_has_no_references(folder: Path) -> None:
    program = exported(loaded(folder))
    assert program.model.graph
    with pytest.raises(UnsupportedError, match="onnx_ir"):
        program.save(folder / "model.onnx")


def header(text: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(text) if length is None else length) + text


HOSTILE = {
    "empty": b"",
    "truncated": header(b"{}", 1 << 20),
    "endless": header(b"{}", (1 << 64) - 1),
    "no JSON": header(b"{{{{"),
    "deep": header(b"[" * 5000),
    "no object": header(b"[1]"),
    "outside": header(
        json.dumps({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    ),
    "backwards": header(
        json.dumps({"w": {"dtype": "F32", "shape": [4], "data_offsets": [16, 0]}}).encode()
    ),
    "overflow": header(
        json.dumps({"w": {"dtype": "F32", "shape": [1 << 62, 8], "data_offsets": [0, 0]}}).encode()
    ),
    "negative": header(
        json.dumps({"w": {"dtype": "F32", "shape": [-1], "data_offsets": [-4, 0]}}).encode()
    ),
    "no entry": header(json.dumps({"w": 3}).encode()),
}


@pytest.mark.parametrize("name", list(HOSTILE))
def test_a_hostile_checkpoint_is_an_error(name: str, folder: Path) -> None:
    program = exported(loaded(folder))
    (folder / "other.safetensors").write_bytes(HOSTILE[name])
    with pytest.raises(CorruptFileError, match="safetensors"):
        program.save(folder / "model.onnx")
    assert not (folder / "model.onnx").exists()


def test_the_command_line_refers_to_the_checkpoint(folder: Path) -> None:
    command = ["export", str(folder), "--task", "text-generation", "--weights", "reference"]
    assert cli.main([*command, "-o", str(folder), "--json"]) == 0
    assert not (folder / "model.onnx_data").exists()
    assert cli.main([*command, "-o", str(folder.parent / "other"), "--json"]) == cli.MISUSE
