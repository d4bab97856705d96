"""DynamoExporter against transformers.exporters': Qwen3 of the 0.6B shape, all dims dynamic.

python bench/pt2.py          all cases
python bench/pt2.py CASE     exported: to the returned program
                             graph: with its whole FX graph looked at (the peer has it at once)
                             saved: to a .pt2 file on memory-backed disk
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile

import torch

import common

CASES = ["exported", "graph", "saved"]


def run(case: str, side: str) -> None:
    """One measurement in this process, after the same with a tiny model; prints it as JSON."""
    work = _theirs if side == "transformers" else _ours
    folder = tempfile.mkdtemp(prefix="bench-", dir="/dev/shm")
    try:
        work(*common.qwen3(large=False), os.path.join(folder, "warm"), case)
        model, inputs = common.qwen3(large=True)
        target = os.path.join(folder, "exported")
        print(json.dumps(common.peak_over(lambda: work(model, inputs, target, case))))
    finally:
        shutil.rmtree(folder)


def _ours(model: torch.nn.Module, inputs: dict[str, torch.Tensor], path: str, case: str) -> None:
    from portwright.exporters import DynamoConfig, DynamoExporter

    exported = DynamoExporter().export(model, inputs, DynamoConfig(dynamic=True))
    if case == "graph":
        assert all("val" in node.meta for node in exported.graph.nodes)
        assert exported.range_constraints and exported.state_dict and exported.graph_signature
    elif case == "saved":
        exported.save(path)


def _theirs(model: torch.nn.Module, inputs: dict[str, torch.Tensor], path: str, case: str) -> None:
    from transformers.exporters import DynamoConfig, DynamoExporter

    exported = DynamoExporter().export(model, inputs, config=DynamoConfig(dynamic=True))
    if case == "saved":
        exported.save_pretrained(path)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        run(sys.argv[1], sys.argv[2])
    else:
        found = common.compare(__file__, sys.argv[1:] or CASES, ["portwright", "transformers"])
        common.print_ratios(found, "portwright", "transformers")
