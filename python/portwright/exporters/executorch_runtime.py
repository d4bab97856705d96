"""ExecuTorch's runtime beside torch: methods that are loaded and run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from portwright.errors import PortwrightError, UnsupportedError


class Method:
    """A method of a .pte file in ExecuTorch's runtime, loaded with full verification.

    Raises:
        UnsupportedError: the package executorch is not there.
        PortwrightError: the runtime refuses the file; says what it reports.
    """

    def __init__(self, program: bytes | str, name: str = "forward") -> None:
        runtime = _runtime()
        verification = runtime.Verification.InternalConsistency
        self._name = name
        self._program = program  # the runtime reads the bytes where they are
        try:
            with _quiet():
                if isinstance(program, str):
                    self._module = runtime._load_for_executorch(
                        program, program_verification=verification
                    )
                else:
                    self._module = runtime._load_for_executorch_from_buffer(
                        program, program_verification=verification
                    )
                self._module.method_meta(name)
        except RuntimeError as error:
            raise PortwrightError(f"ExecuTorch cannot load the program: {error}") from error

    def __call__(self, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Runs the method on CPU tensors; the outputs are copies.

        Raises:
            PortwrightError: the runtime reports an error, as for sizes above the bounds.
        """
        own = [tensor.detach().contiguous() for tensor in inputs]
        try:
            results: list[torch.Tensor] = self._module.run_method(self._name, own)
        except RuntimeError as error:
            raise PortwrightError(f"ExecuTorch cannot run the program: {error}") from error
        for given, used in zip(inputs, own, strict=True):
            if used.data_ptr() != given.data_ptr():  # what the method wrote to
                given.copy_(used)
        return results


def _runtime() -> Any:
    try:
        from executorch.extension.pybindings import portable_lib
    except ImportError as error:
        raise UnsupportedError(
            f"to run a .pte file here, install ExecuTorch: pip install executorch ({error})"
        ) from error
    return portable_lib


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Loading prints its log to stderr, whatever Python's is."""
    saved = os.dup(2)
    with open(os.devnull, "w") as null:
        os.dup2(null.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
