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

sys.path.pop(0)  # this folder: in it, this file would be the package onnx
CASES = ["saved", "graph-only"]


def run(case: str, side: str) -> None:
    """One measurement in this process; prints it as JSON."""
    model, inputs = common.qwen3(large=True)
    folder = tempfile.mkdtemp(prefix="bench-", dir="/dev/shm")
    warm, warm_inputs = common.qwen3(large=False)
    try:
        if side == "disk":
            print(json.dumps(common.peak_over(lambda: _write_alone(model, folder))))
            return
        work = _theirs if side == "transformers" else _ours
        work(warm, warm_inputs, os.path.join(folder, "warm"), case == "saved")
        target = os.path.join(folder, "exported")
        print(json.dumps(common.peak_over(lambda: work(model, inputs, target, case == "saved"))))
    finally:
        shutil.rmtree(folder)


def _ours(model: torch.nn.Module, inputs: dict[str, torch.Tensor], path: str, params: bool) -> None:
    from portwright.exporters import OnnxConfig, OnnxExporter

    os.makedirs(path)
    config = OnnxConfig(
        dynamic=True, export_params=params, output_path=os.path.join(path, "model.onnx")
    )
    OnnxExporter().export(model, inputs, config)


def _theirs(model: torch.nn.Module, inputs: dict[str, torch.Tensor], path: str, _: bool) -> None:
    """With the weights in both cases: it has no export without them."""
    from transformers.exporters import OnnxConfig, OnnxExporter

    OnnxExporter().export(model, inputs, config=OnnxConfig(dynamic=True)).save_pretrained(path)


def _write_alone(model: torch.nn.Module, folder: str) -> None:
    """The same weights with plain writes, one after the other: what the disk itself costs."""
    with open(os.path.join(folder, "plain"), "wb", buffering=0) as file:
        for parameter in model.parameters():
            view = memoryview(parameter.detach().numpy()).cast("B")
            while view:
                view = view[file.write(view) :]


if __name__ == "__main__":
    if len(sys.argv) == 3:
        run(sys.argv[1], sys.argv[2])
    else:
        chosen = sys.argv[1:] or CASES
        found = common.compare(__file__, chosen, ["portwright", "transformers", "disk"])
        common.print_ratios(found, "portwright", "transformers")
        for case, sides in found.items():
            print(f"{case:16} plain writes of the weights alone: {sides['disk']['seconds']:.2f} s")
