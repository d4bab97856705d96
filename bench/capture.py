"""Capture against torch.export.export(strict=False): time and memory, as ratios.

python bench/capture.py          all cases
python bench/capture.py CASE     one of qwen3-0.6b, qwen3, bert, vit
"""

from __future__ import annotations

import json
import sys

import torch

import common

CASES = ["qwen3-0.6b", "qwen3", "bert", "vit"]


def run(case: str, side: str) -> None:
    """One measurement in this process; prints it as JSON."""
    if case.startswith("qwen3"):
        model, inputs = common.qwen3(large=case == "qwen3-0.6b")
    else:
        model, inputs = common.tiny(case)
    if side == "portwright":
        from portwright.exporters import DynamoConfig, DynamoExporter

        exporter = DynamoExporter()
        warm = torch.nn.Linear(2, 2).eval()
        exporter.export(warm, {"input": torch.randn(2, 2)}, DynamoConfig())
        print(json.dumps(common.peak_over(lambda: exporter.export(model, inputs, _dynamic()))))
        return
    auto = torch.export.Dim.AUTO
    shapes = {
        name: dict.fromkeys(range(value.dim()), auto) if torch.is_tensor(value) else None
        for name, value in inputs.items()
    }
    torch.export.export(torch.nn.Linear(2, 2), (torch.randn(2, 2),))

    def export() -> None:
        with torch.no_grad():
            torch.export.export(model, (), inputs, dynamic_shapes=shapes, strict=False)

    print(json.dumps(common.peak_over(export)))


def _dynamic() -> dict[str, bool]:
    return {"dynamic": True}


if __name__ == "__main__":
    if len(sys.argv) == 3:
        run(sys.argv[1], sys.argv[2])
    else:
        chosen = sys.argv[1:] or CASES
        found = common.compare(__file__, chosen, ["portwright", "torch.export"])
        common.print_ratios(found, "portwright", "torch.export")
