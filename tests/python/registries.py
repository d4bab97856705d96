"""Keeps what a test registers to that test."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from portwright.exporters import (
    exporter_executorch,
    fx_fixes,
    model_state,
    onnx_extensions,
    patching,
    preparers,
)


@contextlib.contextmanager
def restored() -> Iterator[None]:
    """Puts the exporters' registries back as they were."""
    tables: list[Any] = [
        patching._PATCHES,
        preparers._EXPORT_INPUT_PREPARERS,
        model_state._STATEFUL_CACHE_ATTRS,
        fx_fixes._FX_NODE_FIXES,
        fx_fixes._FX_PROGRAM_FIXES,
        onnx_extensions._ONNX_TRANSLATION_TABLE,
        onnx_extensions._IR_FIXES,
        exporter_executorch._BACKEND_PREPARE,
    ]
    before = [_copy(table) for table in tables]
    try:
        yield
    finally:
        for table, old in zip(tables, before, strict=True):
            table.clear()
            table.extend(old) if isinstance(table, list) else table.update(old)


def _copy(table: Any) -> Any:
    if isinstance(table, list):
        return list(table)
    return {k: list(v) if isinstance(v, list) else v for k, v in table.items()}
