"""A .pte file that was exported before, run with the conditions of its export."""

from __future__ import annotations

import os
from typing import Any

import torch

from portwright import _core
from portwright.exporters import file_record
from portwright.exporters.executorch_runtime import Method


class ExecutorchFile:
    """A .pte file on disk: call it with forward's arguments.

    Sizes, bounds and conditions are in the file's named data; they are checked before ExecuTorch
    runs.

    Args:
        path: a .pte file that Portwright wrote.

    Raises:
        FileError: the file cannot be read.
        CorruptFileError: it is damaged, or no .pte file.
        UnsupportedError: another tool wrote it, so that its conditions are not known.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        self._record = _core.read_pte_record(self._path)
        self._method: Method | None = None

    @property
    def path(self) -> str:
        return self._path

    @property
    def input_names(self) -> list[str]:
        return file_record.input_names(self._record)

    @property
    def output_names(self) -> list[str]:
        return list(self._record.outputs)

    @property
    def conditions(self) -> list[dict[str, Any]]:
        """What the model's code decided: `text`, `kind`, `source`, `module`, `about_data`."""
        return self._record.program.guards()

    def module(self) -> ExecutorchFile:
        """Itself: `load(path).module()(**inputs)` runs files of all formats."""
        return self

    def __call__(self, **inputs: Any) -> dict[str, torch.Tensor]:
        """Runs the model in ExecuTorch's runtime on the CPU.

        Args:
            inputs: forward's keyword arguments; containers are taken apart, so a cache may be given
                as such or as tensors by their names.

        Returns:
            The output tensors by name. Inputs that forward writes to are written.

        Raises:
            InvalidArgumentError: an input is missing, unexpected, or of another rank or dtype.
            GuardViolatedError: sizes that the model was not captured for, or above the bounds that
                memory is planned for.
            UnsupportedError: the package executorch is not there.
            PortwrightError: the runtime refuses.
        """
        given = file_record.checked_inputs(self._record, inputs)
        if self._method is None:
            self._method = Method(self._path)
        return dict(zip(self.output_names, self._method(list(given.values())), strict=True))
