"""What a failed capture says, and the reproducer that it leaves."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.export import Dim

from portwright import _core
from portwright.capture import capture
from portwright.errors import (
    DataDependentError,
    GuardViolatedError,
    InvalidArgumentError,
    UnsupportedError,
)
from portwright.reproducer import Reproducer


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


def test_an_operators_refusal_names_operands_dims_and_a_way_out() -> None:
    @torch.library.custom_op("portwright_test::every_other", mutates_args=())
    def every_other(x: torch.Tensor) -> torch.Tensor:
        return x[::2].clone()

    @every_other.register_fake
    def _(x: torch.Tensor) -> torch.Tensor:
        return x.new_empty(int(x.shape[0]) ** 3 % 17)

    model = nn.Sequential(nn.Identity(), Block(every_other)).eval()
    with pytest.raises(UnsupportedError, match="is no simple expression") as caught:
        capture(model, {"input": torch.ones(5, 3)}, dynamic=True)
    text = str(caught.value)
    assert "of portwright_test.every_other.default(f32[s0, s1])" in text
    assert "where s0 = 5 is input.size(0), s1 = 3 is input.size(1)" in text
    assert "Dim.STATIC" in text
    assert caught.value.module_path == "1" and "in module 1" in text


def test_an_operator_without_a_meta_kernel_is_told_to_register_one() -> None:
    library = torch.library.Library("portwright_test", "FRAGMENT")
    library.define("unknown_shape(Tensor x) -> Tensor")
    library.impl("unknown_shape", lambda x: x.clone(), "CPU")
    model = Block(torch.ops.portwright_test.unknown_shape).eval()
    with pytest.raises(UnsupportedError, match=r"torch\.library\.register_fake") as caught:
        capture(model, {"x": torch.ones(2)})
    assert "portwright_test.unknown_shape.default(f32[2])" in str(caught.value)


def test_what_a_meta_kernel_says_is_passed_on_without_its_stack() -> None:
    @torch.library.custom_op("portwright_test::no_fake", mutates_args=())
    def no_fake(x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    with pytest.raises(UnsupportedError, match=r"no_fake\.register_fake") as caught:
        capture(Block(no_fake).eval(), {"x": torch.ones(2)})
    assert "portwright_test.no_fake.default(f32[2])" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 3


def float_of_sum(x: torch.Tensor) -> Any:
    return x * float(x.sum())


def test_a_float_read_from_a_tensor_names_the_tensor_and_where_it_was_made() -> None:
    with pytest.raises(DataDependentError, match="reads a float") as caught:
        capture(Block(float_of_sum).eval(), {"x": torch.ones(2, 3)}, dynamic=True)
    line = float_of_sum.__code__.co_firstlineno + 1
    text = str(caught.value)
    assert "the result f32[] of aten.sum.default at " in text and f"test_failures.py:{line}" in text
    assert "Keep it as a tensor, or compute it outside the model" in text


def test_constant_sizes_that_disagree_are_an_error_as_in_eager() -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        capture(Block(lambda x: x @ torch.ones(4, 2)).eval(), {"x": torch.ones(2, 3)})
    assert "3" in str(caught.value) and "4" in str(caught.value)
    assert "f32[2, 3]" in str(caught.value)


def fails_late(x: torch.Tensor) -> Any:
    y = (x * 2).relu()
    return y * float(y.sum())


def failing(directory: Any, **options: Any) -> DataDependentError:
    model, inputs = Block(fails_late).eval(), {"x": torch.ones(5, 3)}
    with pytest.raises(DataDependentError) as caught:
        capture(model, inputs, dynamic=True, reproducer=directory, **options)
    return caught.value


def test_a_reproducer_holds_the_graph_up_to_the_failure(tmp_path: Path) -> None:
    error = failing(tmp_path / "new" / "folder")
    path = tmp_path / "new" / "folder" / "Block.ir"
    assert f"the graph up to the failure is in {path}" in error.__notes__
    assert [item.name for item in path.parent.iterdir()] == ["Block.ir"]
    text = path.read_text()
    header = text[: text.index("program {")]
    assert "# DataDependentError: the model reads a float" in header
    assert f"test_failures.py:{fails_late.__code__.co_firstlineno + 2}" in header
    assert f"torch {torch.__version__}" in header
    assert f"transformers {importlib.metadata.version('transformers')}" in header
    assert f"portwright {importlib.metadata.version('portwright')}" in header
    assert "#   x: float32[5, 3]" in header
    program = _core.Program.parse(text)
    assert "aten.sum.default" in program.text() and 'from "x.size(0)"' in program.text()
    x = torch.randn(7, 3)
    (last,) = _core.Interpreter(program).run([x])
    torch.testing.assert_close(last, (x * 2).relu().sum())


def test_a_reproducer_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    (tmp_path / "Block.ir").write_text("something else")
    failing(tmp_path)
    assert (tmp_path / "Block.ir").read_text().startswith("# The graph of Block")


def test_the_environment_names_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTWRIGHT_REPRODUCER", str(tmp_path))
    failing(None)
    assert (tmp_path / "Block.ir").exists()


def test_without_a_directory_or_a_failure_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PORTWRIGHT_REPRODUCER", raising=False)
    assert not hasattr(failing(None), "__notes__")
    capture(Block(torch.relu).eval(), {"x": torch.ones(2)}, reproducer=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["file", "file/folder"])
def test_a_directory_that_cannot_be_written_leaves_the_failure_itself(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    error = failing(tmp_path / name)
    assert any(note.startswith("the reproducer cannot be written: ") for note in error.__notes__)
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_reproducer_that_cannot_be_renamed_leaves_no_half_of_it(tmp_path: Path) -> None:
    (tmp_path / "Block.ir").mkdir()
    error = failing(tmp_path)
    assert any("cannot be written" in note for note in error.__notes__)
    assert [item.name for item in tmp_path.iterdir()] == ["Block.ir"]


def test_a_bug_of_the_reproducer_does_not_hide_the_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Any, error: Exception) -> str:
        raise KeyError("no such value")

    monkeypatch.setattr(Reproducer, "_header", broken)
    error = failing(tmp_path)
    assert "reads a float" in str(error)
    assert "the reproducer cannot be written: 'no such value'" in error.__notes__


def test_the_reproducer_of_a_failure_in_a_loop_is_that_of_the_last_attempt(tmp_path: Path) -> None:
    def rows(x: torch.Tensor) -> Any:
        total = x.new_zeros(3)
        for row in x:
            total = total + row * float(row.sum())
        return total

    with pytest.raises(DataDependentError):
        capture(Block(rows).eval(), {"x": torch.ones(5, 3)}, dynamic=True, reproducer=tmp_path)
    program = _core.Program.parse((tmp_path / "Block.ir").read_text())
    assert "aten.sum.default" in program.text()


def test_what_breaks_an_explicit_dim_writes_the_whole_graph(tmp_path: Path) -> None:
    def fixed(x: torch.Tensor) -> Any:
        return x + torch.ones(5, 3)

    shapes = {"x": {0: Dim("rows", min=2, max=9)}}
    with pytest.raises(GuardViolatedError, match="rows == 5"):
        capture(
            Block(fixed).eval(), {"x": torch.ones(5, 3)}, dynamic_shapes=shapes, reproducer=tmp_path
        )
    assert "aten.add.Tensor" in (tmp_path / "Block.ir").read_text()
