"""Writes src/pt2/aten.schemas from the installed PyTorch: what torch-free code knows of ATen."""

from __future__ import annotations

from pathlib import Path

import torch

TARGET = Path(__file__).parent.parent / "src" / "pt2" / "aten.schemas"


def schemas() -> list[str]:
    """The schemas of all ATen overloads that write to no operand, without their namespace."""
    found = []
    for name in torch._C._dispatch_get_all_op_names():
        namespace, _, operator = name.partition("::")
        if namespace != "aten":
            continue
        try:
            schema = torch._C._get_schema(name.partition(".")[0], operator.partition(".")[2])
        except RuntimeError:  # registered without a schema
            continue
        if not schema.is_mutable:
            found.append(str(schema).removeprefix("aten::"))
    return sorted(found)


if __name__ == "__main__":
    TARGET.write_text("\n".join(schemas()) + "\n")
    print(f"{len(schemas())} schemas of torch {torch.__version__}")
