"""Fresh processes, interleaved, medians: how the benchmarks compare with the peers."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import torch

ROUNDS = 3


def qwen3(large: bool, layers: int = 2) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    """Qwen3 of the 0.6B shape, or a tiny one of `layers` layers, and a 2 x 16 prompt."""
    import transformers

    sizes: dict[str, Any] = {
        "hidden_size": 1024,
        "intermediate_size": 3072,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 151936,
        "tie_word_embeddings": True,
    }
    if not large:
        sizes.update(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=8,
            vocab_size=99,
        )
    config = transformers.Qwen3Config(**sizes)
    config.use_cache = False
    torch.manual_seed(0)
    with torch.device("meta"):
        model = transformers.Qwen3ForCausalLM(config)
    model = model.to_empty(device="cpu").eval()
    model.tie_weights()
    with torch.no_grad():
        for index, parameter in enumerate(model.parameters()):
            parameter.fill_(0.01 + 1e-6 * index)  # no two alike: the peer stores equal ones once
    ids = torch.randint(0, sizes["vocab_size"], (2, 16))
    return model, {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def tiny(name: str) -> tuple[torch.nn.Module, dict[str, Any]]:
    """A tiny model of the tests with its sample inputs."""
    sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "tests", "python"))
    import models

    case = models.case(name)
    return case.model, case.inputs


def peak_over(work: Callable[[], Any]) -> dict[str, float]:
    """Seconds of `work`, and MiB of peak resident memory over what it was before."""
    stop = threading.Event()
    page = resource.getpagesize()

    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * page

    before = peak = resident()

    def watch() -> None:
        nonlocal peak
        while not stop.is_set():
            peak = max(peak, resident())
            time.sleep(0.001)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        start = time.perf_counter()
        work()
        seconds = time.perf_counter() - start
    finally:
        peak = max(peak, resident())
        stop.set()
        watcher.join()
    return {"seconds": seconds, "mib": (peak - before) / 2**20}


def compare(script: str, cases: list[str], sides: list[str]) -> dict[str, dict[str, Any]]:
    """Runs `script CASE SIDE` in fresh processes, interleaved; the medians by case and side."""
    results: dict[str, dict[str, Any]] = {}
    for case in cases:
        seen: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
        for _ in range(ROUNDS):
            for side in sides:
                run = subprocess.run(
                    [sys.executable, "-W", "ignore", script, case, side],
                    capture_output=True,
                    text=True,
                    check=False,
                )
                if run.returncode != 0:
                    print(f"{case} {side} failed:\n{run.stderr[-2000:]}", file=sys.stderr)
                    sys.exit(1)
                seen[side].append(json.loads(run.stdout.strip().splitlines()[-1]))
        results[case] = {
            side: {key: statistics.median(item[key] for item in items) for key in items[0]}
            for side, items in seen.items()
        }
    return results


def print_ratios(results: dict[str, dict[str, Any]], ours: str, theirs: str) -> None:
    """One line per case: the ratio, both times and both peaks."""
    for case, sides in results.items():
        a, b = sides[ours], sides[theirs]
        print(
            f"{case:16} {b['seconds'] / a['seconds']:8.0f} x   "
            f"{a['seconds'] * 1e3:9.1f} ms against {b['seconds'] * 1e3:11.1f} ms   "
            f"peak {a['mib']:7.1f} MiB against {b['mib']:7.1f} MiB"
        )
