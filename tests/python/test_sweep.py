"""What a sweep's rows say of the extension points that a case used, and their count."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from portwright.exporters.patching import _PATCHES, register_patch
from portwright.exporters.preparers import (
    _EXPORT_INPUT_PREPARERS,
    register_export_input_preparer,
)
from portwright.sweep import summary
from portwright.sweep_worker import run_case


@pytest.fixture(autouse=True)
def registries() -> Iterator[None]:
    patches = {backend: list(items) for backend, items in _PATCHES.items()}
    preparers = dict(_EXPORT_INPUT_PREPARERS)
    yield
    for registry, before in ((_PATCHES, patches), (_EXPORT_INPUT_PREPARERS, preparers)):
        registry.clear()
        registry.update(before)  # type: ignore[arg-type]


class Doubled(nn.Module):
    def twice(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2

    def forward(self, x: torch.Tensor, scale: Any = None, fail: Any = None) -> torch.Tensor:
        x = self.twice(x)
        return x * float(x.sum()) if fail is not None else x


def row(**inputs: torch.Tensor) -> dict[str, Any]:
    zoo = SimpleNamespace(
        build=lambda case: (Doubled().eval(), {"x": torch.ones(2), **inputs}, {}),
        variant_inputs=lambda case, model: {"x": torch.ones(3)},
    )
    return run_case(zoo, "doubled", "capture", dynamic=True)


def test_rows_name_the_patches_and_preparers_that_were_used() -> None:
    @register_patch("dynamo", f"{__name__}.Doubled.twice", f"{__name__}.Doubled.extra_repr")
    def sum_twice(original: Any) -> Any:
        return lambda self, x: x + x

    @register_export_input_preparer("scale")
    def prepare_scale(model: nn.Module, inputs: Any) -> None:
        inputs["scale"] = inputs["scale"] * 1

    name = f"{__name__}:{__name__}.Doubled.twice"
    plain, scaled = row(), row(scale=torch.ones(1))
    assert (plain["status"], plain["patches"], plain["preparers"]) == ("right", [name], [])
    assert scaled["patches"] == [name]
    assert scaled["preparers"] == [f"{__name__}:prepare_scale"]
    failed = row(fail=torch.ones(1))
    assert (failed["reason"], failed["patches"]) == ("DataDependentError", [name])
    _PATCHES.clear()
    unpatched = row()
    assert (unpatched["patches"], unpatched["preparers"]) == ([], [])
    lines = summary([plain, scaled, failed, unpatched]).splitlines()
    assert "3 cases used patches, each in so many:" in lines and f"    3  {name}" in lines
    assert "1 cases used preparers, each in so many:" in lines
    assert f"    1  {__name__}:prepare_scale" in lines


def test_a_sweep_without_extensions_says_so() -> None:
    lines = summary([{"id": "a", "status": "right", "reason": "", "detail": ""}]).splitlines()
    assert lines[-2:] == ["0 cases used patches", "0 cases used preparers"]
