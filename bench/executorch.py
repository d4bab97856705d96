"""To a saved .pte file for XNNPACK against transformers.exporters' ExecutorchExporter.

python bench/executorch.py           all cases; the peer takes minutes for each
python bench/executorch.py CASE      qwen3-static, qwen3-dynamic (Qwen3 of the 0.6B shape), or bert
python bench/executorch.py --quick   the same cases with tiny models
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from typing import Any

import torch

import common

sys.path.pop(0)  # this folder: in it, this file would be the package executorch
QUICK = "-quick"
CASES = ["qwen3-static", "qwen3-dynamic", "bert"]


def run(case: str, side: str) -> None:
    """One measurement in this process, after the same with a tiny model; prints it as JSON."""
    name, large = case.removesuffix(QUICK), not case.endswith(QUICK)
    export = _theirs if side == "transformers" else _ours
    folder = tempfile.mkdtemp(prefix="bench-", dir="/dev/shm")
    try:
        path = os.path.join(folder, "model.pte")
        dynamic = name == "qwen3-dynamic"
        export(*_model(name, large=False), path, dynamic)
        model, inputs = _model(name, large)
        unique = _unique_bytes(model)  # before the export: the peer's changes its model
        figures = common.peak_over(lambda: export(model, inputs, path, dynamic))
        over = os.path.getsize(path) / unique - 1
        print(json.dumps({**figures, "percent_over_weights": 100 * over}))
    finally:
        shutil.rmtree(folder)


def _model(name: str, large: bool) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    return _bert(large) if name == "bert" else common.qwen3(large)


def _bert(large: bool) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    """BERT-base, or a tiny one, and 1 x 128 tokens."""
    import transformers

    sizes: dict[str, Any] = {}
    if not large:
        sizes = {
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "vocab_size": 99,
        }
    torch.manual_seed(0)
    model = transformers.BertModel(transformers.BertConfig(**sizes)).eval()
    ids = torch.randint(0, model.config.vocab_size, (1, 128))
    return model, {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def _unique_bytes(model: torch.nn.Module) -> int:
    """Of the weights; those that are tied once."""
    storages = {item.data_ptr(): item.nbytes for item in model.state_dict().values()}
    return sum(storages.values())


def _ours(
    model: torch.nn.Module, inputs: dict[str, torch.Tensor], path: str, dynamic: bool
) -> None:
    from portwright.exporters import ExecutorchConfig, ExecutorchExporter

    config = ExecutorchConfig(backend="xnnpack", dynamic=dynamic)
    ExecutorchExporter().export(model, inputs, config).write_to_file(path)


def _theirs(
    model: torch.nn.Module, inputs: dict[str, torch.Tensor], path: str, dynamic: bool
) -> None:
    from transformers.exporters import ExecutorchConfig, ExecutorchExporter

    config = ExecutorchConfig(backend="xnnpack", dynamic=dynamic)
    exported = ExecutorchExporter().export(model, inputs, config=config)
    with open(path, "wb") as file:
        exported.program.write_to_file(file)


if __name__ == "__main__":
    arguments = [item for item in sys.argv[1:] if item != "--quick"]
    if len(arguments) == 2:
        run(*arguments)
    else:
        suffix = QUICK if "--quick" in sys.argv else ""
        cases = [case + suffix for case in arguments or CASES]
        found = common.compare(__file__, cases, ["portwright", "transformers"])
        common.print_ratios(found, "portwright", "transformers")
        for case, sides in found.items():
            ours, theirs = (sides[side] for side in ("portwright", "transformers"))
            print(
                f"{case:16} file over the unique weights: {ours['percent_over_weights']:.1f} % "
                f"against {theirs['percent_over_weights']:.1f} %"
            )
