"""ExecuTorch's runtime beside torch: methods that are loaded and run."""

from __future__ import annotations

import contextlib
import io
import os
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from portwright.errors import PortwrightError, UnsupportedError

_KEPT_LINES = 5  # of the runtime's log in an error
_NOISE = ("with type id", "cpuinfo_utils")
_STDERR = threading.RLock()  # the process has one


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
        with _reported("load"):
            if isinstance(program, str):
                self._module = runtime._load_for_executorch(
                    program, program_verification=verification
                )
            else:
                self._module = runtime._load_for_executorch_from_buffer(
                    program, program_verification=verification
                )
            self._module.method_meta(name)

    def __call__(self, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Runs the method on CPU tensors; the outputs are copies.

        Raises:
            PortwrightError: the runtime reports an error, as for sizes above the bounds.
        """
        own = [tensor.detach().contiguous() for tensor in inputs]
        with _reported("run"):
            results: list[torch.Tensor] = self._module.run_method(self._name, own)
        for given, used in zip(inputs, own, strict=True):
            if used.data_ptr() != given.data_ptr() and not _same(used, given):
                given.copy_(used)  # what the method wrote to
        return results


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.allclose(a, b, rtol=0, atol=0, equal_nan=a.is_floating_point())


def _runtime() -> Any:
    try:
        from executorch.extension.pybindings import portable_lib
    except ImportError as error:
        raise UnsupportedError(
            f"to run a .pte file here, install ExecuTorch: pip install executorch ({error})"
        ) from error
    return portable_lib


@contextlib.contextmanager
def _reported(action: str) -> Iterator[None]:
    """Keeps the runtime's log, which goes to the process's stderr or Python's, for the error."""
    said = io.StringIO()
    with _STDERR, os.fdopen(os.memfd_create("executorch"), "rb", buffering=0) as log:
        saved = os.dup(2)
        os.dup2(log.fileno(), 2)
        try:
            with contextlib.redirect_stderr(said):
                yield
        except RuntimeError as error:
            log.seek(0)
            text = log.read().decode(errors="replace") + said.getvalue()
            lines = [line for line in text.splitlines() if not any(part in line for part in _NOISE)]
            shown = "".join(f"\n  {line}" for line in lines[-_KEPT_LINES:])
            raise PortwrightError(
                f"ExecuTorch cannot {action} the program: {error}{shown}"
            ) from error
        finally:
            os.dup2(saved, 2)
            os.close(saved)
