"""Files of ExecuTorch, read and written again: the runtime takes ours, and computes the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from portwright import _core, cli, errors

pytest.importorskip("executorch", reason="executorch, which writes and runs .pte files, is absent")

Inputs = tuple[torch.Tensor, ...]


class Layers(torch.nn.Module):
    """Constants of kernels, weights of a delegate, integers of sizes, and a list of tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(10, 8)
        self.convolution = torch.nn.Conv1d(8, 8, 3, padding=1)
        self.linear = torch.nn.Linear(8, 16)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.embedding(ids)
        x = self.convolution(x.transpose(1, 2)).transpose(1, 2)
        y = torch.relu(self.linear(x))
        return torch.cat([y, y + 1], 1)[:, 1:].flip(1)


class Counter(torch.nn.Module):
    """A state that begins at 3 and counts calls."""

    count: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.full((2,), 3.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.count.add_(1)
        return x * self.count


class Branches(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = torch.cond(x.sum() > 0, lambda x: x + 1, lambda x: x * 2, [x])
        return result


def written(model: torch.nn.Module, inputs: Inputs, path: Path, **options: Any) -> Path:
    """The model's file as ExecuTorch writes it."""
    from executorch.exir import ExecutorchBackendConfig, to_edge_transform_and_lower

    program = torch.export.export(
        model.eval(), inputs, dynamic_shapes=options.pop("dynamic_shapes", None)
    )
    edge = to_edge_transform_and_lower(program, partitioner=options.pop("partitioner", []))
    path.write_bytes(edge.to_executorch(ExecutorchBackendConfig(**options)).buffer)
    return path


def results(path: Path, calls: Sequence[Inputs]) -> list[torch.Tensor]:
    from executorch.runtime import Runtime, Verification

    verification = Verification.InternalConsistency
    program = Runtime.get().load_program(str(path), verification=verification)
    method = program.load_method("forward")
    return [method.execute(call)[0].clone() for call in calls]


def check(theirs: Path, calls: Sequence[Inputs]) -> Path:
    """Our file of theirs computes the same, and is read and written without a change."""
    ours = theirs.with_suffix(".ours.pte")
    facts = _core.read_pte(str(theirs)).write(str(ours))
    assert facts["file_bytes"] == ours.stat().st_size <= theirs.stat().st_size
    for expected, found in zip(results(theirs, calls), results(ours, calls), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert _core.read_pte(str(ours)).serialize() == ours.read_bytes()
    return ours


def partitioner() -> list[Any]:
    """ExecuTorch's own for XNNPACK."""
    pytest.importorskip("torchao", reason="torchao, which the partitioner needs, is absent")
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner

    return [XnnpackPartitioner()]


def ids(length: int) -> Inputs:
    return (torch.randint(0, 10, (2, length)),)


def test_kernels(tmp_path: Path) -> None:
    check(written(Layers(), ids(5), tmp_path / "x.pte"), [ids(5), ids(5)])


def test_a_delegate(tmp_path: Path) -> None:
    theirs = written(Layers(), ids(5), tmp_path / "x.pte", partitioner=partitioner())
    facts = json.loads(_core.inspect_pte(str(check(theirs, [ids(5)]))))
    assert facts["methods"]["forward"]["delegated"]["XnnpackBackend"]["delegates"] >= 1
    assert facts["sizes"]["named_data"] > 0


def test_dynamic_shapes(tmp_path: Path) -> None:
    theirs = written(
        Layers(),
        ids(5),
        tmp_path / "x.pte",
        dynamic_shapes=({1: torch.export.Dim("length", min=2, max=64)},),
        partitioner=partitioner(),
    )
    facts = json.loads(_core.inspect_pte(str(check(theirs, [ids(5), ids(64), ids(2)]))))
    (given,) = facts["methods"]["forward"]["inputs"]
    assert given == {"dtype": "i64", "dims": [2, 64], "shape": "dynamic", "memory": "planned"}


def test_states(tmp_path: Path) -> None:
    from executorch.exir.passes.init_mutable_pass import InitializedMutableBufferPass

    call = (torch.ones(2),)
    passes = [InitializedMutableBufferPass(["count"])]
    ours = check(written(Counter(), call, tmp_path / "x.pte", passes=passes), [call, call])
    assert [float(result[0]) for result in results(ours, [call, call])] == [4, 5]


def test_branches(tmp_path: Path) -> None:
    calls = [(torch.ones(3),), (-torch.ones(3),)]
    check(written(Branches(), calls[0], tmp_path / "x.pte"), calls)


def test_inspect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(Branches(), (torch.ones(3),), tmp_path / "x.pte")
    assert cli.main(["inspect", str(path)]) == cli.VERIFIED
    said = capsys.readouterr().out
    assert "f32  [3]  static  planned" in said
    assert "aten::add" in said
    path.write_bytes(path.read_bytes()[:-20])
    assert cli.main(["inspect", str(path)]) == cli.MISUSE


def test_a_cut_file_is_an_error(tmp_path: Path) -> None:
    path = written(Branches(), (torch.ones(3),), tmp_path / "x.pte")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(errors.PortwrightError, match=r"x\.pte is no \.pte file"):
        _core.read_pte(str(path))
