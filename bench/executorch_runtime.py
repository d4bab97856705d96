"""Latency in ExecuTorch's runtime: our .pte files against those of transformers.exporters, XNNPACK.

python bench/executorch_runtime.py [CASE ...] [--keep FOLDER] [--rounds N]

Every file of a case is exported in a process of its own; then each is loaded into one, their
outputs are compared, and they are run in turn. What is printed is the median latency of each, the
median of the ratios round by round, the calls of delegates and of kernels outside of them, and the
kernels' share of the time: that of the same file without its delegates (without_delegates.py).
`--keep` exports into a folder that stays, and takes what a former run left there. The side
"portwright-uncopied" is of alloc_graph_input=False: inputs, caches too, are read in their places.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

import cases
import serving
from without_delegates import write_without_delegates

sys.path.pop(0)  # this folder: in it, executorch.py would be the package executorch
CASES: dict[str, Callable[[], cases.Model]] = {
    "prefill-128": cases.prefill,
    "bert": cases.bert,
    "vit": cases.vit,
    "decode-256": partial(cases.decode, 256),
    "decode-1024": partial(cases.decode, 1024),
}
UNCOPIED = "portwright-uncopied"
MODEL = "model.pte"
KERNELS = "kernels.pte"  # the same without its delegates
FACTS = "facts.json"


def export(case: str, side: str, folder: str) -> None:
    """One artifact: both files and what is known of them."""
    model, inputs = CASES[case]()
    path = os.path.join(folder, MODEL)
    if side == serving.PEER:
        from transformers.exporters import ExecutorchConfig, ExecutorchExporter

        exported = ExecutorchExporter().export(model, inputs, config=ExecutorchConfig())
        with open(path, "wb") as file:
            exported.program.write_to_file(file)
        names = _names_of_theirs(inputs)
    else:
        from portwright.exporters import ExecutorchConfig, ExecutorchExporter

        config = ExecutorchConfig(alloc_graph_input=side != UNCOPIED)
        program = ExecutorchExporter().export(model, inputs, config)
        program.save(path)
        names = program.input_names
    write_without_delegates(path, os.path.join(folder, KERNELS))
    with open(os.path.join(folder, FACTS), "w", encoding="utf-8") as file:
        json.dump({"inputs": names, **_calls(path)}, file)


def _names_of_theirs(inputs: dict[str, Any]) -> list[str]:
    """Tensors as they are, caches layer by layer."""
    names = []
    for name, value in inputs.items():
        if isinstance(value, torch.Tensor):
            names.append(name)
            continue
        for i in range(len(value.layers)):
            names += [f"{name}.{i}.key", f"{name}.{i}.value"]
    return names


def _calls(path: str) -> dict[str, int]:
    """How many delegates a file calls, and how many kernels that are no arithmetic of sizes."""
    from portwright import _core

    method = json.loads(_core.inspect_pte(path))["methods"]["forward"]
    sizes = ("executorch_prim::", "aten::sym_size")
    return {
        "delegates": sum(item["delegates"] for item in method["delegated"].values()),
        "kernels": sum(n for name, n in method["kernels"].items() if not name.startswith(sizes)),
    }


class Artifact:
    """A file and the same without its delegates, each with inputs of its own."""

    def __init__(self, case: str, side: str, folder: str):
        from executorch.extension.pybindings import portable_lib

        feeds = cases.feeds(CASES[case]()[1])
        names = _facts(folder)["inputs"]

        def loaded(name: str) -> tuple[Any, list[torch.Tensor]]:
            module = portable_lib._load_for_executorch(os.path.join(folder, name))
            return module, [torch.from_numpy(np.array(feeds[item])) for item in names]

        self._whole = loaded(MODEL)
        self.runs = [partial(self._run, *self._whole), partial(self._run, *loaded(KERNELS))]

    @staticmethod
    def _run(module: Any, given: list[torch.Tensor]) -> None:
        module.run_method("forward", given, clone_outputs=False)

    def result(self) -> np.ndarray:
        module, given = self._whole
        return module.run_method("forward", given)[0].numpy()


def _facts(folder: str) -> dict[str, Any]:
    with open(os.path.join(folder, FACTS), encoding="utf-8") as file:
        return dict(json.load(file))


def describe(folder: str, seconds: list[list[float]]) -> str:
    """The end of an artifact's line."""
    facts = _facts(folder)
    share = statistics.median(kernels / whole for whole, kernels in seconds)
    size = os.path.getsize(os.path.join(folder, MODEL))
    return (
        f"{facts['delegates']:4} delegates {facts['kernels']:4} kernels"
        f"{100 * share:6.1f} % of the time {size / 1e6:8.1f} MB"
    )


if __name__ == "__main__":
    serving.main(
        serving.Bench(
            script=__file__,
            usage=__doc__,
            cases=list(CASES),
            sides=["portwright", UNCOPIED, serving.PEER],
            processes=5,
            export=export,
            load=Artifact,
            facts=describe,
        )
    )
