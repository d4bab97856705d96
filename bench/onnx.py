"""To a saved ONNX file against transformers.exporters' OnnxExporter, on memory-backed disk.

python bench/onnx.py          all cases
python bench/onnx.py CASE     saved, graph-only (export_params=False), or reference: a model that
                              from_pretrained loaded, its weights referred to where they lie
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
CASES = ["saved", "graph-only", "reference"]


def run(case: str, side: str) -> None:
    """One measurement in this process; prints it as JSON."""
    folder = tempfile.mkdtemp(prefix="bench-", dir="/dev/shm")
    try:
        model, inputs = common.qwen3(large=True)
        warm, warm_inputs = common.qwen3(large=False)
        if case == "reference":
            model = _loaded(model, os.path.join(folder, "checkpoint"))
            warm = _loaded(warm, os.path.join(folder, "warm-checkpoint"))
        if side == "disk":
            print(json.dumps(common.peak_over(lambda: _write_alone(model, folder))))
            return
        work = _theirs if side == "transformers" else _ours
        work(warm, warm_inputs, os.path.join(folder, "warm"), case)
        target = os.path.join(folder, "exported")
        figures = common.peak_over(lambda: work(model, inputs, target, case))
        print(json.dumps({**figures, "nodes": _node_count(folder)}))
    finally:
        shutil.rmtree(folder)


def _loaded(model: torch.nn.Module, path: str) -> torch.nn.Module:
    """The model as from_pretrained gives it: its weights are mapped files."""
    from transformers import Qwen3ForCausalLM

    model.save_pretrained(path)  # type: ignore[operator]
    del model
    loaded: torch.nn.Module = Qwen3ForCausalLM.from_pretrained(path)
    loaded.config.use_cache = False
    return loaded.eval()


def _ours(model: torch.nn.Module, inputs: dict[str, torch.Tensor], path: str, case: str) -> None:
    from portwright.exporters import OnnxConfig, OnnxExporter

    os.makedirs(path)
    refer = case == "reference"
    config = OnnxConfig(
        dynamic=True,
        export_params=case != "graph-only",
        weights="reference" if refer else "copy",
        output_path=os.path.join(os.path.dirname(path) if refer else path, "model.onnx"),
    )
    OnnxExporter().export(model, inputs, config)


def _theirs(model: torch.nn.Module, inputs: dict[str, torch.Tensor], path: str, _: str) -> None:
    """With copies of the weights in all cases: it has no other export."""
    from transformers.exporters import OnnxConfig, OnnxExporter

    OnnxExporter().export(model, inputs, config=OnnxConfig(dynamic=True)).save_pretrained(path)


def _node_count(folder: str) -> int:
    """Of the largest graph among the exported files; the other is the warm-up's."""
    import onnx

    counts = []
    for parent, _, names in os.walk(folder):
        for name in names:
            if name.endswith(".onnx"):
                file = onnx.load(os.path.join(parent, name), load_external_data=False)
                counts.append(len(file.graph.node))
    return max(counts)


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
            ours, theirs = (int(sides[side]["nodes"]) for side in ("portwright", "transformers"))
            print(f"{case:16} {ours} nodes against {theirs}")
            print(f"{case:16} plain writes of the weights alone: {sides['disk']['seconds']:.2f} s")
