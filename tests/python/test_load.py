"""portwright.load: .pt2 files run by the engine, without torch.export."""

from __future__ import annotations

import copy
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

import models
import portwright
from portwright import DynamoConfig, DynamoExporter, errors
from portwright.verify import CAPTURE_TOLERANCE, compare


def saved(model: torch.nn.Module, inputs: dict[str, Any], path: Path) -> Path:
    DynamoExporter().export(model.eval(), inputs, DynamoConfig(dynamic=True)).save(path)
    return path


@pytest.mark.parametrize("name", list(models.CASES))
def test_a_loaded_model_equals_eager_at_every_shape(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = models.case(name)
    path = saved(case.model, case.inputs, tmp_path / "model.pt2")
    for loader in ("load", "export"):
        monkeypatch.delattr(torch.export, loader)
    program = portwright.load(path)
    run = program.module()
    for label, inputs in {"sample": case.inputs, **case.variants}.items():
        with torch.no_grad():
            expected = case.model(**copy.deepcopy(inputs))
        outputs = run(**copy.deepcopy(inputs))
        assert type(outputs) is type(expected)
        result = compare(label, inputs, outputs, expected, CAPTURE_TOLERANCE)
        assert result.differences
        assert result.matches, result.problems


class Scaled(torch.nn.Module):
    def forward(self, x: torch.Tensor, power: int, deep: list[dict[str, torch.Tensor]]) -> Any:
        return {"b": x**power, "a": (deep[0]["y"] + 1, x.shape[0] * 3, None)}


def scaled(batch: int) -> dict[str, Any]:
    return {"x": torch.randn(batch, 2), "power": 3, "deep": [{"y": torch.randn(batch)}]}


def test_containers_numbers_and_names_are_as_at_the_export(tmp_path: Path) -> None:
    program = portwright.load(saved(Scaled(), scaled(3), tmp_path / "model.pt2"))
    assert [item[0] for item in program.program.user_inputs()] == ["x", "deep.0.y"]
    inputs = scaled(5)
    outputs = program.module()(**inputs)
    expected = Scaled()(**inputs)
    torch.testing.assert_close(outputs["b"], expected["b"])
    assert outputs["a"][1:] == (15, None)
    with pytest.raises(errors.InvalidArgumentError, match="power"):
        program.module()(**{**inputs, "power": 2})


def test_a_loaded_program_is_a_program_of_torch_and_is_saved_again(tmp_path: Path) -> None:
    program = portwright.load(saved(Scaled(), scaled(3), tmp_path / "model.pt2"))
    assert isinstance(program, torch.export.ExportedProgram)
    program.validate()
    program.save(tmp_path / "model.pt2")  # over the file that it reads
    program.save(tmp_path / "again.pt2")
    inputs = scaled(4)
    expected = Scaled()(**inputs)["b"]
    torch.testing.assert_close(program.module()(**inputs)["b"], expected)
    again = torch.export.load(tmp_path / "again.pt2").module()(**inputs)
    torch.testing.assert_close(again["b"], expected)


def test_what_torch_saved_is_loaded_with_positional_arguments(tmp_path: Path) -> None:
    class Two(torch.nn.Module):
        def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x - y, x[0]

    auto = {0: torch.export.Dim.AUTO}
    x, y = torch.randn(3, 2), torch.randn(3, 2)
    program = torch.export.export(Two(), (x,), {"y": y}, dynamic_shapes={"x": auto, "y": auto})
    torch.export.save(program, tmp_path / "torch.pt2")
    outputs = portwright.load(tmp_path / "torch.pt2").module()(x=x, y=y)
    torch.testing.assert_close(outputs, Two()(x, y))


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(errors.FileError, match="missing"):
        portwright.load(tmp_path / "missing.pt2")
    good = saved(Scaled(), scaled(3), tmp_path / "model.pt2").read_bytes()
    bad = tmp_path / "bad.pt2"
    for content in (b"", b"no archive", good[: len(good) // 2], good[:-30]):
        bad.write_bytes(content)
        with pytest.raises(errors.CorruptFileError):
            portwright.load(bad)
    with zipfile.ZipFile(bad, "w") as archive:
        archive.writestr("archive/data.txt", "another kind")
    with pytest.raises(errors.CorruptFileError):
        portwright.load(bad)


def test_a_class_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = saved(Scaled(), scaled(3), tmp_path / "model.pt2")
    bad = tmp_path / "bad.pt2"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(bad, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b"builtins.list", b"another.class"))
    with pytest.raises(errors.CorruptFileError, match="containers"):
        portwright.load(bad)


class Patches(torch.nn.Module):
    """torch's guards on its sizes have max(), floor division and remainders."""

    def __init__(self) -> None:
        super().__init__()
        self.projection = torch.nn.Conv2d(3, 4, 3, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.projection(x)
        positions = torch.arange(y.shape[-1] * y.shape[-2])
        return y.flatten(2).transpose(1, 2) + positions[:, None]


def test_guards_of_torch_accept_and_refuse_what_torch_does(tmp_path: Path) -> None:
    auto = torch.export.Dim.AUTO
    model = Patches().eval()
    program = torch.export.export(
        model, (torch.randn(2, 3, 12, 12),), dynamic_shapes=({2: auto, 3: auto},)
    )
    assert any("max(" in guard for guard in program._guards_code)
    torch.export.save(program, tmp_path / "torch.pt2")
    ours = portwright.load(tmp_path / "torch.pt2").module()
    theirs = program.module()
    accepted = {}
    for height in range(2, 9):
        x = torch.randn(2, 3, height, 9)
        try:
            expected = theirs(x)
        except (AssertionError, RuntimeError):
            expected = None
        accepted[height] = expected is not None
        if expected is None:
            with pytest.raises(errors.GuardViolatedError):
                ours(x=x)
        else:
            torch.testing.assert_close(ours(x=x), expected)
    assert set(accepted.values()) == {True, False}


class Flagged(torch.nn.Module):
    """Reads bools out of tensors: torch's file has conditions, and numbers chosen by them."""

    def forward(self, x: torch.Tensor, flag: torch.Tensor) -> torch.Tensor:
        given = flag.item()
        torch._check((x > 0).all().item())
        return x * (torch.sym_ite(given, 5, 2) - x.shape[0])


def test_bools_that_data_decides(tmp_path: Path) -> None:
    auto = torch.export.Dim.AUTO
    model, x = Flagged(), torch.rand(3, 2) + 1
    program = torch.export.export(model, (x, torch.tensor(True)), dynamic_shapes=({0: auto}, None))
    assert "aten.item.default" in {str(node.target) for node in program.graph.nodes}
    torch.export.save(program, tmp_path / "torch.pt2")
    run = portwright.load(tmp_path / "torch.pt2").module()
    for size in (3, 4):
        for flag in (True, False):
            x = torch.rand(size, 2) + 1
            expected = x * ((5 if flag else 2) - size)
            torch.testing.assert_close(run(x=x, flag=torch.tensor(flag)), expected)
    with pytest.raises(errors.GuardViolatedError):
        run(x=-x, flag=torch.tensor(True))


class Scaling(torch.nn.Module):
    """Reads a float out of a tensor: torch's file computes with it, and asserts on it."""

    def forward(self, x: torch.Tensor, scale: torch.Tensor) -> tuple[torch.Tensor, ...]:
        given = scale.item()
        torch._check(given > 0.5)
        rows = x.shape[0]
        return x * given + rows, torch.full((2,), given * 2 + 1), x.clamp(max=given / rows)


def test_floats_that_data_decides(tmp_path: Path) -> None:
    auto = torch.export.Dim.AUTO
    model = Scaling()
    program = torch.export.export(
        model, (torch.randn(3, 2), torch.tensor(2.5)), dynamic_shapes=({0: auto}, None)
    )
    torch.export.save(program, tmp_path / "torch.pt2")
    loaded = portwright.load(tmp_path / "torch.pt2")
    loaded.save(tmp_path / "ours.pt2")
    theirs = torch.export.load(tmp_path / "ours.pt2").module()
    again = portwright.load(tmp_path / "ours.pt2").module()
    for size, scale in ((3, 2.5), (4, 0.7), (7, 1e6)):
        inputs = {"x": torch.randn(size, 2), "scale": torch.tensor(scale)}
        expected = model(**inputs)
        for run in (loaded.module(), theirs, again):
            torch.testing.assert_close(run(**inputs), expected, rtol=0, atol=0)
    with pytest.raises(errors.GuardViolatedError, match=r"0\.25"):
        loaded.module()(x=torch.randn(3, 2), scale=torch.tensor(0.25))
