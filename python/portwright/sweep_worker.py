"""One process of a sweep: reads case ids, captures and verifies each, writes a JSON line each.

A zoo is a folder with a module `zoo` that has `build(case_id) -> (model, inputs, meta)` and
`variant_inputs(case_id, model) -> inputs` of other sizes.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import resource
import sys
import tempfile
import time
import traceback
import warnings
from typing import Any

STAGES = ("capture", "onnx", "pt2")


def run_case(zoo: Any, case: str, stage: str, dynamic: bool) -> dict[str, Any]:
    """Captures one case and compares it with eager at the sample and at other sizes.

    Returns:
        `id`, `status` ("right" or "wrong"), `reason` ("" when right), `detail`, and times in
        seconds: `build_s`, `export_s`; `notes` counts the dims that the program narrows.
    """
    import torch

    from portwright.errors import PortwrightError
    from portwright.exporters import DynamoExporter, OnnxExporter
    from portwright.verify import CAPTURE_TOLERANCE, RUNTIME_TOLERANCE, compare

    row: dict[str, Any] = {"id": case, "stage": stage, "dynamic": dynamic, "status": "wrong"}
    start = time.perf_counter()
    try:
        model, inputs, _ = zoo.build(case)
    except Exception as error:
        return {**row, "reason": "cannot be built", "detail": _text(error)}
    row["build_s"] = round(time.perf_counter() - start, 3)
    exporter = OnnxExporter() if stage == "onnx" else DynamoExporter()
    tolerance = RUNTIME_TOLERANCE if stage == "onnx" else CAPTURE_TOLERANCE
    start = time.perf_counter()
    try:
        exported = exporter.export(model, copy.deepcopy(inputs), {"dynamic": dynamic})
    except PortwrightError as error:
        return {**row, "reason": type(error).__name__, "detail": str(error)}
    except Exception as error:
        return {**row, "reason": f"raised {type(error).__name__}", "detail": _text(error)}
    row["export_s"] = round(time.perf_counter() - start, 4)
    row["notes"] = len(exported.notes)
    try:
        run = _runner(exported, stage)
    except Exception as error:
        return {**row, "reason": f"not loaded: {type(error).__name__}", "detail": _text(error)}
    runs = {"sample": inputs}
    if dynamic:
        try:
            runs["other sizes"] = zoo.variant_inputs(case, model)
        except Exception as error:
            row["variant"] = _text(error)
    for name, given in runs.items():
        with torch.no_grad():
            expected = model(**copy.deepcopy(given))
        try:
            result = compare(name, given, run(**copy.deepcopy(given)), expected, tolerance)
        except Exception as error:
            kind = f"{name}: {type(error).__name__}"
            return {**row, "reason": kind, "detail": _text(error)}
        if not result.differences and not result.problems:
            return {**row, "reason": f"{name}: nothing was compared", "detail": ""}
        if result.problems:
            return {**row, "reason": f"{name}: differs", "detail": "; ".join(result.problems)}
    return {**row, "status": "right", "reason": "", "detail": ""}


def _runner(exported: Any, stage: str) -> Any:
    """What runs the artifact: ONNX Runtime, the interpreter, or PyTorch on the file it loads."""
    if stage == "onnx":
        return exported
    if stage == "capture":
        return exported.module()
    import torch

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.pt2")
        exported.save(path)
        return torch.export.load(path).module()


def _text(error: BaseException) -> str:
    places = traceback.extract_tb(error.__traceback__)
    where = f" [{places[-1].filename}:{places[-1].lineno}]" if places else ""
    return (str(error) or type(error).__name__)[:2000] + where


def main(folder: str, stage: str, dynamic: bool, memory_gib: float) -> None:
    """Serves case ids from stdin until it ends."""
    warnings.filterwarnings("ignore")
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what models print does not mix with the answers
    limit = int(memory_gib * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    sys.path.insert(0, folder)
    import torch
    import zoo  # type: ignore[import-not-found]

    torch.set_num_threads(1)
    for line in sys.stdin:
        with contextlib.suppress(BrokenPipeError):
            answers.write(json.dumps(run_case(zoo, line.strip(), stage, dynamic)) + "\n")
            answers.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3] == "dynamic", float(sys.argv[4]))
