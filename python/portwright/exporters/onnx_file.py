"""A .onnx file that was exported before, run with the conditions of its export."""

from __future__ import annotations

import os
from typing import Any

import torch

from portwright import _core
from portwright.exporters import file_record
from portwright.exporters.onnx_session import Initializer, open_on_cpu, run, write_back


class ONNXFile:
    """A model on disk: call it with forward's arguments.

    Sizes, ranges and conditions that the ONNX format cannot hold are in the file's metadata; they
    are checked before ONNX Runtime runs.

    Args:
        path: a .onnx file that Portwright wrote.
        initializer: opens the session; default is ONNX Runtime's CPU provider.

    Raises:
        FileError: the file cannot be read.
        CorruptFileError: it is damaged, or no ONNX model.
        UnsupportedError: another tool wrote it, so that its conditions are not known.
    """

    def __init__(
        self, path: str | os.PathLike[str], initializer: Initializer = open_on_cpu
    ) -> None:
        self._path = os.fspath(path)
        self._record = _core.read_onnx_record(self._path)
        self._initializer = initializer
        self._session: Any = None

    @property
    def path(self) -> str:
        return self._path

    @property
    def input_names(self) -> list[str]:
        return file_record.input_names(self._record)

    @property
    def output_names(self) -> list[str]:
        return [item.name for item in self.session.get_outputs()]

    @property
    def conditions(self) -> list[dict[str, Any]]:
        """What the model's code decided: `text`, `kind`, `source`, `module`, `about_data`.

        Conditions about data (`about_data`) cannot be checked before a run.
        """
        return self._record.program.guards()

    @property
    def session(self) -> Any:
        """The onnxruntime.InferenceSession, opened at the first look."""
        if self._session is None:
            self._session = self._initializer(self._path)
        return self._session

    def module(self) -> ONNXFile:
        """Itself: `load(path).module()(**inputs)` runs files of all formats."""
        return self

    def __call__(self, **inputs: Any) -> dict[str, torch.Tensor]:
        """Runs the model.

        Args:
            inputs: forward's keyword arguments; containers are taken apart, so a cache may be given
                as such or as tensors by their names.

        Returns:
            The output tensors by name. Inputs that forward writes to are written.

        Raises:
            InvalidArgumentError: an input is missing, unexpected, or of another rank or dtype.
            GuardViolatedError: sizes that the model was not captured for.
        """
        given = file_record.checked_inputs(self._record, inputs)
        outputs = dict(zip(self.output_names, run(self.session, given), strict=True))
        mutations = self._record.new_values
        write_back(mutations, outputs, given)
        only_written = {f"{name}_mutated" for name in mutations}
        return {name: value for name, value in outputs.items() if name not in only_written}
