"""One process of a sweep: reads case ids, captures and verifies each, writes a JSON line each.

A zoo is a folder with a module `zoo` that has `build(case_id) -> (model, inputs, meta)` and
`variant_inputs(case_id, model, [batch, seq]) -> inputs` of other sizes.
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
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch

from portwright import usage
from portwright.errors import PortwrightError
from portwright.failures import described
from portwright.sweep_generation import generation_row
from portwright.sweep_inputs import sweep_inputs
from portwright.verify import CAPTURE_TOLERANCE, RUNTIME_TOLERANCE, compare

Run = Callable[..., Any]
Export = Callable[[torch.nn.Module, dict[str, Any], bool], tuple[Run, dict[str, Any]]]


def _capture(
    model: torch.nn.Module, inputs: dict[str, Any], dynamic: bool
) -> tuple[Run, dict[str, Any]]:
    from portwright.exporters import DynamoExporter

    exported = DynamoExporter().export(model, inputs, {"dynamic": dynamic})
    return exported.module(), {"notes": len(exported.notes)}


def _onnx(
    model: torch.nn.Module, inputs: dict[str, Any], dynamic: bool
) -> tuple[Run, dict[str, Any]]:
    """What the model decided on the sample's data is in the program; a row is right only where that
    holds at all inputs of the sweep."""
    import onnx
    from portwright.exporters import OnnxExporter

    config = {"dynamic": dynamic, "allow_data_assumptions": True}
    exported = OnnxExporter().export(model, inputs, config)
    onnx.checker.check_model(exported.model_proto, full_check=True)
    return exported, {"notes": len(exported.notes), "nodes": exported.node_count}


def _executorch(
    model: torch.nn.Module, inputs: dict[str, Any], dynamic: bool
) -> tuple[Run, dict[str, Any]]:
    return _executorch_by("xnnpack", model, inputs, dynamic)


def _executorch_portable(
    model: torch.nn.Module, inputs: dict[str, Any], dynamic: bool
) -> tuple[Run, dict[str, Any]]:
    return _executorch_by("portable", model, inputs, dynamic)


def _executorch_by(
    backend: str, model: torch.nn.Module, inputs: dict[str, Any], dynamic: bool
) -> tuple[Run, dict[str, Any]]:
    """As `_onnx` with what the model decided on the sample's data; the file is what runs."""
    from portwright.exporters import ExecutorchExporter

    config = {"dynamic": dynamic, "backend": backend, "allow_data_assumptions": True}
    exported = ExecutorchExporter().export(model, inputs, config)
    calls = exported.call_counts
    facts = {
        "notes": len(exported.notes),
        "kernel_calls": sum(calls.values()) - calls.get("delegate", 0),
        "delegates": calls.get("delegate", 0),
        "arena_bytes": sum(exported.arena_sizes),
    }
    exported.load()
    return exported, facts


def _pt2(
    model: torch.nn.Module, inputs: dict[str, Any], dynamic: bool
) -> tuple[Run, dict[str, Any]]:
    from portwright.exporters import DynamoExporter

    exported = DynamoExporter().export(model, inputs, {"dynamic": dynamic})
    run = _through_file(exported.save, lambda path: torch.export.load(path).module())
    return run, {"notes": len(exported.notes)}


def _pt2_own(
    model: torch.nn.Module, inputs: dict[str, Any], dynamic: bool
) -> tuple[Run, dict[str, Any]]:
    """Our file, read by us."""
    from portwright.exporters import DynamoExporter

    exported = DynamoExporter().export(model, inputs, {"dynamic": dynamic})
    return _through_file(exported.save, _read), {"notes": len(exported.notes)}


def _pt2_torch(
    model: torch.nn.Module, inputs: dict[str, Any], dynamic: bool
) -> tuple[Run, dict[str, Any]]:
    """torch's file, read by us: traced by torch.export, saved by torch.export.save."""
    from transformers.exporters import DynamoConfig, DynamoExporter

    exported = DynamoExporter().export(model, inputs, DynamoConfig(dynamic=dynamic))
    run = _through_file(lambda path: torch.export.save(exported.program, path), _read)
    return _prepared(model, run)


def _read(path: str) -> Run:
    import portwright

    run: Run = portwright.load(path).module()  # keeps the file mapped
    return run


def _aoti(
    model: torch.nn.Module, inputs: dict[str, Any], dynamic: bool
) -> tuple[Run, dict[str, Any]]:
    """Compiled ahead of time by AOTInductor, which needs a C++ compiler and minutes."""
    from portwright.exporters import DynamoExporter

    exported = DynamoExporter().export(model, inputs, {"dynamic": dynamic})
    run = _through_file(
        lambda path: torch._inductor.aoti_compile_and_package(exported, package_path=path),
        torch._inductor.aoti_load_package,
    )
    return run, {"notes": len(exported.notes)}


def _through_file(save: Callable[[str], Any], load: Callable[[str], Run]) -> Run:
    """What a file runs, which is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.pt2")
        save(path)
        return load(path)


def _peer_capture(
    model: torch.nn.Module, inputs: dict[str, Any], dynamic: bool
) -> tuple[Run, dict[str, Any]]:
    from transformers.exporters import DynamoConfig, DynamoExporter

    return _prepared(model, DynamoExporter().export(model, inputs, DynamoConfig(dynamic=dynamic)))


def _peer_executorch(
    model: torch.nn.Module, inputs: dict[str, Any], dynamic: bool
) -> tuple[Run, dict[str, Any]]:
    from transformers.exporters import ExecutorchConfig, ExecutorchExporter

    config = ExecutorchConfig(dynamic=dynamic)
    return ExecutorchExporter().export(model, inputs, config), {}


def _peer_onnx(
    model: torch.nn.Module, inputs: dict[str, Any], dynamic: bool
) -> tuple[Run, dict[str, Any]]:
    from transformers.exporters import OnnxConfig, OnnxExporter

    return _prepared(model, OnnxExporter().export(model, inputs, OnnxConfig(dynamic=dynamic)))


def _prepared(model: torch.nn.Module, exported: Run) -> tuple[Run, dict[str, Any]]:
    """The peer's programs take what its preparation makes of the model's inputs."""
    from transformers.exporters.utils import prepare_for_export

    return lambda **given: exported(**prepare_for_export(model, given)[1]), {}


# By stage: how it is exported, by us and by transformers.exporters, and how near to eager.
STAGES: dict[str, tuple[Export, Export, float]] = {
    "capture": (_capture, _peer_capture, CAPTURE_TOLERANCE),
    "onnx": (_onnx, _peer_onnx, RUNTIME_TOLERANCE),
    "executorch": (_executorch, _peer_executorch, RUNTIME_TOLERANCE),
    "executorch_portable": (_executorch_portable, _peer_executorch, RUNTIME_TOLERANCE),
    "pt2": (_pt2, _peer_capture, CAPTURE_TOLERANCE),
    "pt2_own": (_pt2_own, _peer_capture, CAPTURE_TOLERANCE),
    "pt2_torch": (_pt2_torch, _peer_capture, CAPTURE_TOLERANCE),
    "aoti": (_aoti, _peer_capture, RUNTIME_TOLERANCE),
}
GENERATION = "generation"  # the components of `export_for_generation`, beside eager's generate()


def run_case(zoo: Any, case: str, stage: str, dynamic: bool, peer: bool = False) -> dict[str, Any]:
    """Captures one case and compares it with eager at the sample and at other sizes.

    Returns:
        `id`, `status` ("right" or "wrong"), `reason` ("" when right), `detail`, and times in
        seconds: `build_s`, `export_s`; `runs` counts the inputs that eager accepted, `failed`
        names those at which the export differs; `notes` counts the dims that the program narrows;
        `patches` and `preparers` name the extension points that the export made use of.
    """
    row: dict[str, Any] = {"id": case, "stage": stage, "dynamic": dynamic, "peer": peer}
    row["status"] = "wrong"
    start = time.perf_counter()
    try:
        model, inputs, _ = zoo.build(case)
    except Exception as error:
        return {**row, "reason": "cannot be built", "detail": described(error)}
    row["build_s"] = round(time.perf_counter() - start, 3)
    if stage == GENERATION:
        return row | generation_row(zoo, case, model, dynamic)
    ours, theirs, tolerance = STAGES[stage]
    sample = copy.deepcopy(inputs)
    start = time.perf_counter()
    problem: tuple[str, str] | None = None
    with usage.recorded() as used:
        try:
            run, facts = (theirs if peer else ours)(model, sample, dynamic)
        except PortwrightError as error:
            problem = type(error).__name__, str(error)
        except Exception as error:
            problem = f"raised {type(error).__name__}", described(error)
    row |= {"patches": sorted(used["patch"]), "preparers": sorted(used["preparer"])}
    if problem:
        return {**row, "reason": problem[0], "detail": problem[1]}
    row |= {"export_s": round(time.perf_counter() - start, 4), **facts, "runs": 0}
    problems = {}
    for name, given, expected in _accepted(zoo, case, model, inputs, dynamic):
        row["runs"] += 1
        problem = _problem(name, given, run, expected, tolerance)
        if problem:
            problems[name] = problem
    if not problems:
        return {**row, "status": "right", "reason": "", "detail": ""}
    first, (reason, detail) = next(iter(problems.items()))
    return {**row, "reason": f"{first}: {reason}", "detail": detail, "failed": list(problems)}


def _accepted(
    zoo: Any, case: str, model: torch.nn.Module, inputs: dict[str, Any], dynamic: bool
) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """The runs that eager accepts: their names, inputs and eager's results."""
    yield "sample", inputs, _eager(model, inputs)
    if not dynamic:
        return
    for name, make in sweep_inputs(zoo, case, model, inputs):
        try:
            given = make()
            expected = _eager(model, given)
        except Exception:
            continue
        yield name, given, expected


def _eager(model: torch.nn.Module, given: dict[str, Any]) -> Any:
    torch.manual_seed(0)  # models that draw random numbers draw the same in eager and in ours
    with torch.no_grad():
        return model(**copy.deepcopy(given))


def _problem(
    name: str, given: dict[str, Any], run: Run, expected: Any, tolerance: float
) -> tuple[str, str] | None:
    torch.manual_seed(0)
    try:
        result = compare(name, given, run(**copy.deepcopy(given)), expected, tolerance)
    except Exception as error:
        return type(error).__name__, described(error)
    if result.problems:
        return "differs", "; ".join(result.problems)
    return None if result.differences else ("nothing was compared", "")


def main(folder: str, stage: str, dynamic: bool, peer: bool, memory_gib: float) -> None:
    """Serves case ids from stdin until it ends."""
    warnings.filterwarnings("ignore")
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what models print does not mix with the answers
    limit = int(memory_gib * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    sys.path.insert(0, folder)
    import zoo  # type: ignore[import-not-found]

    torch.set_num_threads(1)
    for line in sys.stdin:
        row = run_case(zoo, line.strip(), stage, dynamic, peer)
        with contextlib.suppress(BrokenPipeError):
            answers.write(json.dumps(row) + "\n")
            answers.flush()


if __name__ == "__main__":
    main(
        sys.argv[1],
        sys.argv[2],
        sys.argv[3] == "dynamic",
        sys.argv[4] == "peer",
        float(sys.argv[5]),
    )
