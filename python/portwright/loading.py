"""Files that were exported before."""

from __future__ import annotations

import os

from portwright.exporters.executorch_file import ExecutorchFile
from portwright.exporters.exported_program import ExportedProgram
from portwright.exporters.onnx_file import ONNXFile
from portwright.torch_import import read_file


def load(path: str | os.PathLike[str]) -> ExportedProgram | ONNXFile | ExecutorchFile:
    """What a file holds: `load(path).module()(**inputs)` runs it, its conditions checked.

    A `.onnx` file that Portwright wrote is an `ONNXFile`, which ONNX Runtime runs, a `.pte` file
    an `ExecutorchFile`, which ExecuTorch's runtime runs. Any other is a .pt2 file that
    `ExportedProgram.save` or `torch.export.save` wrote: an `ExportedProgram`. The engine reads it,
    torch.export does not: nothing is unpickled, weights stay in the file, which must not change
    meanwhile.

    Raises:
        FileError: the file cannot be read.
        CorruptFileError: it is damaged, or of another format.
        UnsupportedError: it holds pickles, or what the engine cannot run; says what. A .onnx or
            .pte file was not written by Portwright.
    """
    path = os.fspath(path)
    if path.endswith(".onnx"):
        return ONNXFile(path)
    if path.endswith(".pte"):
        return ExecutorchFile(path)
    return ExportedProgram(read_file(path))
