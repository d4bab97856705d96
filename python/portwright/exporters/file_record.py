"""The record of an export in a file: what the file takes, and who wrote it."""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from portwright import _core, tree
from portwright.errors import InvalidArgumentError


def check(record: _core.ExportRecord, inputs: Sequence[torch.Tensor]) -> None:
    """Checks the inputs' dtypes and sizes against the conditions in the record of an export.

    Raises:
        InvalidArgumentError: an input of another rank or dtype.
        GuardViolatedError: sizes that the model is not for.
    """
    record.check(
        [(str(tensor.dtype).removeprefix("torch."), list(tensor.shape)) for tensor in inputs]
    )


def checked_inputs(
    record: _core.ExportRecord, inputs: Mapping[str, Any]
) -> dict[str, torch.Tensor]:
    """The file's input tensors by name, from forward's keyword arguments.

    Raises:
        InvalidArgumentError: an input is missing, unexpected, or of another rank or dtype.
        GuardViolatedError: sizes that the model is not for.
    """
    for name, value in inputs.items():
        if isinstance(value, (bool, int, float, str)):
            raise InvalidArgumentError(
                f"'{name}' is {value!r}: numbers and strings are part of the exported model"
            )
    names = input_names(record)
    tensors, _ = tree.select(names, inputs)
    check(record, tensors)
    return dict(zip(names, tensors, strict=True))


def input_names(record: _core.ExportRecord) -> list[str]:
    """The names of the tensors that the file takes, in its order."""
    return [name for name, _, _ in record.program.user_inputs()]


def versions() -> dict[str, str]:
    """Of the libraries that take part in an export."""
    found = {}
    for name in ("portwright", "torch", "transformers"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found
