"""To a saved ONNX file against transformers.exporters' OnnxExporter, on memory-backed disk.

python bench/onnx.py          all cases
python bench/onnx.py CASE     saved, or graph-only (export_params=False)
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile

import torch

import common

CASES = ["saved", "graph-only"]


def run(case: str, side: str) -> None:
    """One measurement in this process; prints it as JSON."""
    model, inputs = common.qwen3(large=True)
    params = case == "saved"
    folder = tempfile.mkdtemp(prefix="bench-", dir="/dev/shm")
    path = os.path.join(folder, "model.onnx")
    warm, warm_inputs = common.qwen3(large=False)
    try:
        work = _ours if side == "portwright" else _theirs
        work(warm, warm_inputs, os.path.join(folder, "warm.onnx"), params)
        print(json.dumps(common.peak_over(lambda: work(model, inputs, path, params))))
    finally:
        shutil.rmtree(folder)


def _ours(model: torch.nn.Module, inputs: dict[str, torch.Tensor], path: str, params: bool) -> None:
    from portwright.exporters import OnnxConfig, OnnxExporter

    config = OnnxConfig(dynamic=True, export_params=params, output_path=path)
    OnnxExporter().export(model, inputs, config)


def _theirs(
    model: torch.nn.Module, inputs: dict[str, torch.Tensor], path: str, params: bool
) -> None:
    from transformers.exporters import OnnxConfig, OnnxExporter

    config = OnnxConfig(dynamic=True, export_params=params, output_path=path)
    OnnxExporter().export(model, inputs, config=config)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        run(sys.argv[1], sys.argv[2])
    else:
        chosen = sys.argv[1:] or CASES
        found = common.compare(__file__, chosen, ["portwright", "transformers"])
        common.print_ratios(found, "portwright", "transformers")
