"""Latency in ExecuTorch's runtime: our .pte files against those of transformers.exporters, XNNPACK.

python bench/executorch_runtime.py [CASE ...] [--keep FOLDER] [--rounds N]

Every file of a case is exported in a process of its own; then each is loaded into one, their
outputs are compared, and they are run in turn. What is printed is the median latency of each, the
median of the ratios round by round, and the calls of kernels outside of the delegates.
`--keep` exports into a folder that stays, and takes what a former run left there.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np
import torch

import onnx_runtime

sys.path.pop(0)  # this folder: in it, executorch.py would be the package executorch
SIDES = ["portwright", "peer"]
PROCESSES = 3
PAUSE = 0.05  # seconds; by then the threads of the process that ran before no longer spin
CASES = ["prefill-128", "bert", "vit", "decode-256", "decode-1024"]


def export(case: str, side: str, folder: str) -> None:
    """One artifact, `folder/model.pte`, and the names of its inputs in their order."""
    make = onnx_runtime.CASES[case][0 if side == "portwright" else 1]
    model, inputs = make()
    if side == "portwright":
        from portwright.exporters import ExecutorchConfig, ExecutorchExporter

        program = ExecutorchExporter().export(model, inputs, ExecutorchConfig())
        program.save(os.path.join(folder, "model.pte"))
        names = program.input_names
        facts = {"inputs": names, "calls": program.call_counts}
    else:
        from transformers.exporters import ExecutorchConfig, ExecutorchExporter

        exported = ExecutorchExporter().export(model, inputs, config=ExecutorchConfig())
        with open(os.path.join(folder, "model.pte"), "wb") as file:
            exported.program.write_to_file(file)
        facts = {"inputs": _names_of_theirs(inputs), "calls": _calls(folder)}
    with open(os.path.join(folder, "facts.json"), "w", encoding="utf-8") as file:
        json.dump(facts, file)


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


def _calls(folder: str) -> dict[str, int]:
    from portwright import _core

    facts = json.loads(_core.inspect_pte(os.path.join(folder, "model.pte")))
    method = facts["methods"]["forward"]
    delegates = sum(item["delegates"] for item in method["delegated"].values())
    return {**method["kernels"], "delegate": delegates}


def serve(case: str, side: str, folder: str) -> None:
    """Loads an artifact; for each line on stdin runs it and prints the seconds.

    The first line is a path that the artifact's result is saved to.
    """
    with contextlib.redirect_stdout(sys.stderr):
        from executorch.extension.pybindings import portable_lib

        model = onnx_runtime.CASES[case][0 if side == "portwright" else 1]()
        module = portable_lib._load_for_executorch(os.path.join(folder, "model.pte"))
        with open(os.path.join(folder, "facts.json"), encoding="utf-8") as file:
            names = json.load(file)["inputs"]
        feeds = onnx_runtime._feeds(model[1])
        given = [torch.from_numpy(np.array(feeds[name])) for name in names]
    for line in sys.stdin:
        if line.strip():
            np.save(line.strip(), module.run_method("forward", given)[0].numpy())
        time.sleep(PAUSE)
        start = time.perf_counter()
        module.run_method("forward", given, clone_outputs=False)
        print(time.perf_counter() - start, flush=True)


class Served:
    """An artifact in a process of its own."""

    def __init__(self, case: str, side: str, folder: str):
        command = [sys.executable, "-W", "ignore", __file__, "--serve", case, side, folder]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, save_to: str = "") -> float:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(save_to + "\n")
        self._process.stdin.flush()
        while True:  # the runtime prints to stdout, too
            line = self._process.stdout.readline()
            with contextlib.suppress(ValueError):
                return float(line)
            if not line:
                sys.exit("an artifact ended: see above")

    def close(self) -> None:
        self._process.communicate()


def export_all(case: str, folder: str) -> dict[str, str]:
    """The artifacts' folders by side; each is exported in a process of its own."""
    folders = {}
    for side in SIDES:
        folders[side] = os.path.join(folder, f"{case}-{side}")
        if os.path.isfile(os.path.join(folders[side], "facts.json")):
            continue
        os.makedirs(folders[side], exist_ok=True)
        command = [sys.executable, "-W", "ignore", __file__, "--export", case, side, folders[side]]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"{case} {side} failed:\n{done.stderr[-2000:]}")
    return folders


def check_results(case: str, found: dict[str, np.ndarray]) -> None:
    """Nothing is measured that gives something else than the peer's."""
    error = np.abs(found["portwright"] - found["peer"]).max() / np.abs(found["peer"]).max()
    if error > 1e-3:
        sys.exit(f"{case} differs from the peer's by {error:.1e}")


def measure(case: str, folder: str, rounds: int) -> None:
    """Prints the latencies of a case's artifacts and their ratios to ours, round by round."""
    folders = export_all(case, folder)
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    for _ in range(PROCESSES):
        served = {side: Served(case, side, path) for side, path in folders.items()}
        with tempfile.TemporaryDirectory() as results:
            files = {side: os.path.join(results, f"{side}.npy") for side in SIDES}
            for side, run in served.items():
                run(files[side])
            check_results(case, {side: np.load(file) for side, file in files.items()})
        for _ in range(rounds):
            for side, run in served.items():
                seconds[side].append(run())
        for run in served.values():
            run.close()
    ours = seconds[SIDES[0]]
    for side, found in seconds.items():
        ratio = statistics.median(b / a for a, b in zip(ours, found, strict=True))
        with open(os.path.join(folders[side], "facts.json"), encoding="utf-8") as file:
            calls = json.load(file)["calls"]
        free = ("delegate", "executorch_prim::", "aten::sym_size")
        outside = sum(n for name, n in calls.items() if not name.startswith(free))
        size = os.path.getsize(os.path.join(folders[side], "model.pte"))
        print(
            f"{case:14}{side:12}{statistics.median(found) * 1e3:9.2f} ms {ratio:6.2f} x "
            f"{calls.get('delegate', 0):4} delegates {outside:4} kernels {size / 1e6:8.1f} MB",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--keep", metavar="FOLDER")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--export", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(*options.serve)
        return
    if options.export:
        export(*options.export)
        return
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/dev/shm") as own:
        for case in options.cases or CASES:
            measure(case, options.keep or own, options.rounds)


if __name__ == "__main__":
    main()
