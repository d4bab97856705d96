"""What a failed capture says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from portwright.capture import capture
from portwright.errors import DataDependentError


class Block(nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(x)


def broken(x: torch.Tensor) -> Any:
    raise KeyError("no such table")


def to_numpy(x: torch.Tensor) -> Any:
    return torch.from_numpy(x.numpy())


def test_what_forward_raises_is_kept_and_says_where() -> None:
    model = nn.Sequential(nn.Identity(), Block(broken)).eval()
    with pytest.raises(KeyError, match="no such table") as caught:
        capture(model, {"input": torch.ones(2)})
    (note,) = caught.value.__notes__
    line = broken.__code__.co_firstlineno + 1
    assert f"test_failures.py:{line} in module 1" in note


def test_reading_a_tensors_memory_is_refused_with_a_way_out() -> None:
    model = nn.Sequential(Block(to_numpy)).eval()
    with pytest.raises(DataDependentError, match="Keep to tensor operations") as caught:
        capture(model, {"input": torch.ones(2)})
    assert caught.value.module_path == "0"
    assert caught.value.source_line == to_numpy.__code__.co_firstlineno + 1
    assert isinstance(caught.value.__cause__, RuntimeError)
