"""The registry of input preparers: what is computed from the sample inputs before the export."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any

import torch

from portwright import usage
from portwright.errors import InvalidArgumentError

Preparer = Callable[[torch.nn.Module, MutableMapping[str, Any]], None]

_EXPORT_INPUT_PREPARERS: dict[tuple[str, ...], Preparer] = {}


def register_export_input_preparer(*markers: str) -> Callable[[Preparer], Preparer]:
    """Registers `preparer(model, inputs)`, which writes precomputed arguments of forward (positions
    of patches, lengths of audio chunks, ...) into `inputs`, so that they become inputs of the
    program. `prepare_for_export` calls it when every marker is an input that is not None.

    Raises:
        InvalidArgumentError: no marker.
    """
    if not markers:
        raise InvalidArgumentError(
            "register_export_input_preparer takes the names of the inputs that it needs, for "
            'example "grid_thw"'
        )

    def register(preparer: Preparer) -> Preparer:
        _EXPORT_INPUT_PREPARERS[markers] = preparer
        return preparer

    return register


def run_preparers(model: torch.nn.Module, inputs: MutableMapping[str, Any]) -> list[str]:
    """Runs the preparers whose markers are among the inputs; gives the names of those that ran."""
    ran = []
    with torch.no_grad():
        for markers, preparer in list(_EXPORT_INPUT_PREPARERS.items()):
            if all(inputs.get(marker) is not None for marker in markers):
                preparer(model, inputs)
                name = getattr(preparer, "__name__", str(preparer))
                usage.note("preparer", f"{preparer.__module__}:{name}")
                ran.append(name)
    return ran
