"""What PyTorch's and ExecuTorch's own tools make of the programs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

import models
from portwright import DynamoConfig, DynamoExporter, ExecutorchConfig, ExecutorchExporter


@pytest.mark.parametrize("name", list(models.CASES))
@pytest.mark.parametrize("dynamic", [False, True])
def test_torchs_verifier_passes(name: str, dynamic: bool) -> None:
    case = models.case(name)
    program = DynamoExporter().export(case.model, case.inputs, DynamoConfig(dynamic=dynamic))
    program.validate()
    program.graph.lint()


@pytest.mark.skipif(shutil.which("g++") is None, reason="AOTInductor needs g++")
def test_aot_inductor_compiles_the_program(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU()).eval()
    config = DynamoConfig(dynamic=True)
    program = DynamoExporter().export(model, {"input": torch.randn(3, 4)}, config)
    package = str(tmp_path / "model.pt2")
    torch._inductor.aoti_compile_and_package(program, package_path=package)
    run = torch._inductor.aoti_load_package(package)
    x = torch.randn(6, 4)
    torch.testing.assert_close(run(input=x), model(x), rtol=1e-4, atol=1e-5)


def test_executorch_lowers_the_program(tmp_path: Path) -> None:
    pytest.importorskip("executorch.exir")
    from executorch.exir import to_edge

    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU()).eval()
    inputs = {"input": torch.randn(3, 4)}
    to_edge(DynamoExporter().export(model, inputs)).exported_program().validate()
    program = ExecutorchExporter().export(model, inputs, ExecutorchConfig(backend="xnnpack"))
    with open(tmp_path / "model.pte", "wb") as file:
        program.write_to_file(file)

    from executorch.runtime import Runtime

    method = Runtime.get().load_program(tmp_path / "model.pte").load_method("forward")
    (result,) = method.execute([inputs["input"]])
    torch.testing.assert_close(result, model(inputs["input"]), rtol=1e-4, atol=1e-5)
