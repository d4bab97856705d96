"""How capture time grows with the number of layers: linear growth gives a ratio of 4 per step.

python bench/growth.py     Qwen3 of a tiny width with 2, 8, 32 and 128 layers
"""

from __future__ import annotations

import time
import warnings

import torch

import common
from portwright.exporters import DynamoConfig, DynamoExporter

LAYERS = [2, 8, 32, 128]


def seconds(layers: int) -> float:
    """The shortest time of a capture, every dim dynamic."""
    model, inputs = common.qwen3(large=False, layers=layers)
    times = []
    for _ in range(common.ROUNDS):
        start = time.perf_counter()
        DynamoExporter().export(model, inputs, DynamoConfig(dynamic=True))
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Prints the time of each size and its ratio to the size before."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    seconds(LAYERS[0])  # imports, and what a process learns once
    before = None
    for layers in LAYERS:
        taken = seconds(layers)
        ratio = "" if before is None else f"   {taken / before:5.2f} x for 4 x the layers"
        print(f"{layers:4} layers {taken * 1e3:9.1f} ms{ratio}")
        before = taken


if __name__ == "__main__":
    main()
