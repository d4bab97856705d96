"""ExecutorchProgram: an export for ExecuTorch in memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import IO, Any

from portwright import _core, tree
from portwright.capture import CapturedProgram
from portwright.errors import FileError, InvalidArgumentError
from portwright.exporters.executorch_runtime import Method
from portwright.exporters.exported_program import ExportedProgram


class ExecutorchProgram:
    """A model as a program for ExecuTorch's runtime: call it, look at it, save it.

    >>> program.write_to_file("model.pte")
    >>> outputs = program(**inputs)  # in ExecuTorch's runtime
    """

    def __init__(
        self, lowered: _core.ExecutorchExport, captured: CapturedProgram, backend: str
    ) -> None:
        self._lowered = lowered
        self._captured = captured
        self._backend = backend
        self._method: Method | None = None

    @property
    def captured(self) -> CapturedProgram:
        """The capture that the program was lowered from."""
        return self._captured

    @property
    def exported_program(self) -> ExportedProgram:
        """The captured program as PyTorch's."""
        return ExportedProgram(self._captured)

    @property
    def notes(self) -> list[str]:
        """What the capture narrowed or fixed and which bounds were taken."""
        return [*self._captured.notes, *self._lowered.notes]

    @property
    def conditions(self) -> list[dict[str, Any]]:
        """What the program needs of sizes: `text`, `kind`, `source`, `module`. The runtime checks
        bounds only; calls of this object and of `portwright.load`'s check all."""
        return self._captured.program.guards()

    @property
    def methods(self) -> Sequence[str]:
        return ("forward",)

    @property
    def backend(self) -> str:
        return self._backend

    @property
    def input_names(self) -> list[str]:
        return list(self._captured.input_names)

    @property
    def output_names(self) -> list[str]:
        return list(self._captured.output_names)

    @property
    def arena_sizes(self) -> list[int]:
        """Bytes of planned memory: activations at 1, mutable buffers at 2."""
        return list(self._lowered.arena_sizes)

    @property
    def call_counts(self) -> dict[str, int]:
        """How often each kernel is called, and "delegate" for the calls of delegates."""
        return dict(self._lowered.call_counts())

    @property
    def buffer(self) -> bytes:
        """The file's bytes, weights inside."""
        return self._lowered.serialize()

    def write_to_file(self, file: str | os.PathLike[str] | IO[bytes]) -> dict[str, Any]:
        """Writes the .pte file.

        A path is written aside and renamed: an existing file stays whole when this fails.

        Args:
            file: the path, or a binary file that is open for writing.

        Returns:
            For a path `model_path`, `record_path` (`<stem>.export.json`: dims and their bounds,
            conditions, notes; the file holds it, too) and the bytes of the parts: `file_bytes`,
            `program_bytes`, `weight_bytes`, `delegate_bytes`. For an open file `file_bytes`.

        Raises:
            FileError: the path cannot be written or the disk is full.
        """
        if isinstance(file, (str, os.PathLike)):
            return self.save(file)
        if not hasattr(file, "write"):
            raise InvalidArgumentError(
                f"write_to_file takes a path or a file that is open for writing, not {file!r}"
            )
        data = self.buffer
        file.write(data)
        return {"file_bytes": len(data)}

    def save(self, path: str | os.PathLike[str]) -> dict[str, Any]:
        """Writes the .pte file and its record beside it; see `write_to_file`."""
        path = os.fspath(path)
        if os.path.isdir(path):
            raise FileError(f"'{path}' is a directory: give the path of the .pte file")
        return {"model_path": path, **self._lowered.write(path)}

    def __call__(self, **inputs: Any) -> Any:
        """Runs the program in ExecuTorch's runtime on the CPU.

        Returns:
            The model's own output structure (a ModelOutput with its cache rebuilt), of CPU tensors.

        Raises:
            InvalidArgumentError: an input is missing, unexpected, or of another rank or dtype.
            GuardViolatedError: sizes that the model was not captured for, or above the bounds that
                memory is planned for.
            PortwrightError: the runtime refuses.
        """
        leaves = tree.match(self._captured.input_tree, inputs)
        symbols = self._captured.interpreter.known_symbols(leaves)
        self._lowered.check_bounds(symbols)
        return self._captured.output_tree.unflatten(
            self.load()(leaves),
            # numbers that other data decides are not among the outputs: None
            lambda number: _core.value_of_number(number.node, symbols),
        )

    def load(self) -> Method:
        """The method in ExecuTorch's runtime, loaded with full verification; calls load it, too.

        Raises:
            UnsupportedError: the package executorch is not there.
            PortwrightError: the runtime refuses the program.
        """
        if self._method is None:
            self._method = Method(self.buffer)
        return self._method

    def release(self) -> None:
        """Unloads the method; the next call loads it again."""
        self._method = None
