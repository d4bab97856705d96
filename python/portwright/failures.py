"""What a failed capture tells: where in the model it was."""

from __future__ import annotations

import re
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import Any

import torch

from portwright.errors import DataDependentError, PortwrightError

# What torch says when it is asked for the memory of a tensor that has none.
_NO_STORAGE = re.compile(r"doesn't have storage|access storage of|data pointer of Tensor")


def explained(error: Exception, module_paths: dict[int, str], roots: Sequence[str]) -> Exception:
    """The error to raise for what forward raised: itself, with a note that says where.

    Args:
        error: as it was caught.
        module_paths: `nn.Module` path by `id(module)`.
        roots: path prefixes of code that is not the model's.
    """
    if isinstance(error, PortwrightError) and error.source_file:
        return error
    file, line, module = _place(error, module_paths, roots)
    where = f"{file}:{line}" + (f" in module {module}" if module else "")
    if isinstance(error, PortwrightError):
        if file:
            error.source_file, error.source_line, error.module_path = file, line, module
            error.add_note(f"at {where}")
        return error
    if isinstance(error, RuntimeError) and _NO_STORAGE.search(str(error)):
        refusal = DataDependentError(
            "the model reads a tensor's memory while it is traced (numpy(), tolist() of floats, "
            "data_ptr()), and the data only exists at run time. Keep to tensor operations, or "
            f"compute it outside the model and pass it in\n  at {where}"
        )
        refusal.source_file, refusal.source_line, refusal.module_path = file, line, module
        refusal.__cause__ = error
        return refusal
    error.add_note(
        f"raised by the model while Portwright traced it, at {where}. If it runs in eager with the "
        "same inputs, what it does there cannot be traced: see the lines above"
    )
    return error


def _place(
    error: Exception, module_paths: dict[int, str], roots: Sequence[str]
) -> tuple[str, int, str]:
    """File and line of the model's innermost frame, and the path of its innermost module."""
    file, line, module = "", 0, ""
    trace = error.__traceback__
    while trace is not None:
        frame: FrameType = trace.tb_frame
        name = frame.f_code.co_filename
        if not name.startswith(("<", *roots)):
            file, line = name, trace.tb_lineno
        owner: Any = frame.f_locals.get("self")
        if isinstance(owner, torch.nn.Module) and id(owner) in module_paths:
            module = module_paths[id(owner)]
        trace = trace.tb_next
    return file, line, module


def described(error: BaseException) -> str:
    """Message, notes and innermost line of an error, for reports."""
    places = traceback.extract_tb(error.__traceback__)
    where = f" [{places[-1].filename}:{places[-1].lineno}]" if places else ""
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    return (str(error) or type(error).__name__)[:2000] + notes + where
