"""The field numbers that the writer uses are those of onnx.proto."""

from __future__ import annotations

import re
from pathlib import Path

import onnx

HEADER = Path(__file__).parents[2] / "src" / "onnx" / "proto_fields.h"


def test_field_numbers_are_onnx_protos() -> None:
    constants = re.findall(r"uint32_t k(\w+) = (\d+);", HEADER.read_text())
    assert len(constants) > 40
    for name, number in constants:
        *path, field = _split(name)
        message = onnx.DESCRIPTOR if hasattr(onnx, "DESCRIPTOR") else onnx.onnx_ml_pb2.DESCRIPTOR
        descriptor = message.message_types_by_name[path[0]]
        for nested in path[1:]:
            descriptor = descriptor.nested_types_by_name[nested]
        assert descriptor.fields_by_name[field].number == int(number), name


def _split(name: str) -> list[str]:
    """Messages (capitalised) and the field, whose name has underscores too."""
    parts = name.split("_")
    messages = [part for part in parts if part[0].isupper()]
    return [*messages, "_".join(parts[len(messages) :])]
