"""Reproducers: the graph up to where a capture failed, as text that `Program.parse` reads."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import tempfile
from collections.abc import Iterator
from typing import Any

import torch

from portwright import _core, tree

# Names the directory that reproducers are written to when `capture()` is given none.
VARIABLE = "PORTWRIGHT_REPRODUCER"


class Reproducer:
    """Writes what a capture has recorded, if it fails and a directory was asked for."""

    def __init__(
        self,
        directory: str | os.PathLike[str] | None,
        model: torch.nn.Module,
        inputs: dict[str, Any],
    ) -> None:
        """None for `directory` takes the environment variable PORTWRIGHT_REPRODUCER."""
        self._directory = os.fspath(directory or os.environ.get(VARIABLE, ""))
        self._name = type(model).__name__
        self._inputs = inputs
        self._tracer: _core.Tracer | None = None

    def watch(self, tracer: _core.Tracer) -> None:
        """Takes the tracer of a new attempt; only the last one's graph is written."""
        self._tracer = tracer

    def write(self, error: Exception) -> None:
        """Writes `<class of the model>.ir`, in place of an older one, and notes on `error` where
        it is. Where it cannot be written, the note says why: the error itself stays the news."""
        if not self._directory or self._tracer is None:
            return
        path = os.path.join(self._directory, f"{self._name}.ir")
        try:
            text = self._header(error) + self._tracer.unfinished().text()
            os.makedirs(self._directory, exist_ok=True)
            _write_aside(path, text)
        except Exception as problem:  # whatever it is, it must not hide the model's own error
            error.add_note(f"the reproducer cannot be written: {problem}")
        else:
            error.add_note(f"the graph up to the failure is in {path}")

    def _header(self, error: Exception) -> str:
        versions = [f"{name} {_version(name)}" for name in ("portwright", "torch", "transformers")]
        lines = [
            f"The graph of {self._name} up to where its capture failed.",
            "Program.parse() reads this file; its output is the result of the last operator.",
            "",
            *f"{type(error).__name__}: {error}".splitlines(),
            *(line for note in getattr(error, "__notes__", []) for line in note.splitlines()),
            "",
            f"{', '.join(versions)}, Python {platform.python_version()}",
            "sample inputs:",
            *(f"  {name}: {_described(tensor)}" for name, tensor in tree.flatten(self._inputs)[0]),
        ]
        return "".join(f"# {line}".rstrip() + "\n" for line in lines)


@contextlib.contextmanager
def reproducers_in(directory: str | None) -> Iterator[None]:
    """For the block, captures that are given no directory write reproducers to this one."""
    before = os.environ.get(VARIABLE)
    if directory is not None:
        os.environ[VARIABLE] = directory
    try:
        yield
    finally:
        os.environ.pop(VARIABLE, None)
        if before is not None:
            os.environ[VARIABLE] = before


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def _described(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"


def _write_aside(path: str, text: str) -> None:
    """Writes a file beside its final name and renames it when it is whole."""
    descriptor, aside = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".reproducer-")
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(aside, path)
    except BaseException:
        os.unlink(aside)
        raise
