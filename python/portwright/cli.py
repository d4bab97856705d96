"""The command line: `portwright export`, `portwright inspect` and `portwright sweep`.

Exit codes: 0 verified (or --no-verify); 1 the artifact differs from eager; 2 misuse; 3 the export
failed; 4 verification was asked for and is impossible.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from portwright.sweep_worker import GENERATION, STAGES

if TYPE_CHECKING:
    from portwright.verify import Comparison

VERIFIED, DIFFERS, MISUSE, FAILED, UNVERIFIABLE = 0, 1, 2, 3, 4

_EPILOG = """\
examples:
  portwright export ./my-bert --to onnx -o out --dynamic
  portwright export ./my-qwen --task text-generation -o out --dim input_ids:1=seq:1:2048
  portwright export ./config-dir --config-only -o out --dynamic --opset 18
  portwright export ./my-bert --to executorch -o out --dim input_ids:1=seq:1:512
  portwright inspect out/model.onnx
  portwright inspect out/model.pte

exit codes:
  0 exported and verified (or --no-verify)   1 the artifact differs from eager
  2 misuse   3 the export failed   4 verification was asked for and is impossible
"""

# Task names of the Hub and of optimum, and the auto class that loads each.
TASKS = {
    "feature-extraction": "AutoModel",
    "text-generation": "AutoModelForCausalLM",
    "text2text-generation": "AutoModelForSeq2SeqLM",
    "fill-mask": "AutoModelForMaskedLM",
    "text-classification": "AutoModelForSequenceClassification",
    "token-classification": "AutoModelForTokenClassification",
    "question-answering": "AutoModelForQuestionAnswering",
    "image-classification": "AutoModelForImageClassification",
    "automatic-speech-recognition": "AutoModelForSpeechSeq2Seq",
    "audio-classification": "AutoModelForAudioClassification",
}


class Misuse(Exception):
    """Arguments that cannot be right; the message says which."""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; gives the exit code."""
    options = _parser().parse_args(arguments)
    warnings.filterwarnings("ignore", message=".*training mode.*")
    try:
        return int(options.run(options))
    except Misuse as error:
        return _fail(options, MISUSE, str(error))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="portwright",
        description="Export Transformers models to ONNX and ExecuTorch, captured natively and "
        "verified.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    export = commands.add_parser(
        "export",
        help="export a model and verify it against eager",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    export.add_argument("model", help="a local directory or an id that AutoConfig loads")
    export.add_argument(
        "--to", choices=["onnx", "executorch"], default="onnx", help="the format (onnx)"
    )
    export.add_argument(
        "-o", "--output", required=True, help="directory for model.onnx or model.pte"
    )
    shapes = export.add_mutually_exclusive_group()
    shapes.add_argument("--dynamic", action="store_true", help="every dim of every input")
    shapes.add_argument(
        "--dim",
        action="append",
        default=[],
        metavar="INPUT:AXIS=NAME[:MIN:MAX]",
        help="one dynamic dim, for example input_ids:1=seq:1:2048; repeatable",
    )
    export.add_argument("--opset", type=int, help="ONNX opset, 18 to 28 (default 23)")
    export.add_argument(
        "--weights",
        choices=["copy", "reference"],
        default="copy",
        help="reference: read from the checkpoint's .safetensors, beside which -o must be (copy)",
    )
    export.add_argument(
        "--ort-fusions",
        choices=["cpu", "cuda", "webgpu", "dml"],
        help="use ONNX Runtime's own operators, for this provider (default: standard ONNX)",
    )
    export.add_argument(
        "--last-token-logits",
        action="store_true",
        help="logits of the last position only, which is all that generation reads",
    )
    export.add_argument(
        "--backend",
        choices=["xnnpack", "portable", "cuda"],
        help="of ExecuTorch: what runs the model (default xnnpack)",
    )
    export.add_argument(
        "--dtype",
        choices=["float32", "float16", "bfloat16"],
        help="of ExecuTorch: what weights and inputs are cast to (default: the backend's own)",
    )
    export.add_argument(
        "--upper-bound",
        type=int,
        metavar="N",
        help="of ExecuTorch: the largest size of dims without a MAX of their own, for which memory "
        "is planned (default: twice the sample's, at least 128 for tokens)",
    )
    export.add_argument("--task", choices=sorted(TASKS), help="the head (default: no head)")
    export.add_argument("--config-only", action="store_true", help="random weights from the config")
    export.add_argument("--no-verify", action="store_true", help="do not run the result")
    export.add_argument("--json", action="store_true", help="the report as JSON on stdout")
    export.add_argument(
        "--reproducer",
        metavar="DIR",
        help="if the capture fails, write the graph up to the failure there",
    )
    export.set_defaults(run=_export)
    inspect = commands.add_parser("inspect", help="print what an ONNX or ExecuTorch file holds")
    inspect.add_argument("file", help="a .onnx or .pte file")
    inspect.add_argument("--json", action="store_true", help="as JSON on stdout")
    inspect.set_defaults(run=_inspect)
    sweep = commands.add_parser(
        "sweep",
        help="capture and verify every model of a zoo, in worker processes",
        description="A zoo is a folder with cases.txt and a module zoo: build(case), "
        "variant_inputs(case, model). Cases that the output has a row for are not run again.",
    )
    sweep.add_argument("--zoo", required=True, help="the folder")
    sweep.add_argument("--stage", "--to", choices=(*STAGES, GENERATION), default="capture")
    sweep.add_argument("--static", action="store_true", help="static shapes, sample only")
    sweep.add_argument(
        "--peer", action="store_true", help="run transformers.exporters too, and compare (slow)"
    )
    sweep.add_argument("--only", default="", metavar="REGEX", help="cases that match")
    sweep.add_argument("--every", type=int, default=1, metavar="N", help="each N-th case")
    sweep.add_argument("--jobs", type=int, default=2, help="worker processes (default 2)")
    sweep.add_argument("--timeout", type=float, default=120.0, help="seconds for a case")
    sweep.add_argument("--memory", type=float, default=8.0, help="GiB for a worker")
    sweep.add_argument("-o", "--output", default="sweep.jsonl", help="rows, one JSON per line")
    sweep.set_defaults(run=_sweep)
    return parser


def _export(options: argparse.Namespace) -> int:
    from portwright.errors import InvalidArgumentError, PortwrightError
    from portwright.exporters import AutoHfExporter
    from portwright.reproducer import reproducers_in
    from portwright.sample_inputs import sample_inputs

    report: dict[str, Any] = {"model": options.model, "format": options.to, "stages": {}}
    dims = _dynamic_shapes(options.dim)
    step = _Steps(report["stages"], quiet=options.json)
    with step("load"):
        model = _load(options)
    chosen = _format_options(options)
    path = os.path.join(options.output, "model.onnx" if options.to == "onnx" else "model.pte")
    try:
        config = _config(options, dims, chosen)
        inputs = sample_inputs(model, options.dynamic or bool(dims))
        with step("export"), reproducers_in(options.reproducer):
            program = AutoHfExporter.from_config(config).export(model, inputs, config)
        with step("save"):
            os.makedirs(options.output, exist_ok=True)
            report["files"] = program.save(path)
    except InvalidArgumentError as error:
        return _fail(options, MISUSE if dims or chosen else FAILED, _text(error))
    except (PortwrightError, OSError) as error:
        return _fail(options, FAILED, _text(error))
    report.update(export_facts(program))
    if options.no_verify:
        report["verified"] = None
        code = VERIFIED
    else:
        code = _verify(options, report, step, model, inputs, program)
    if options.json:
        print(json.dumps(report, indent=2))
    else:
        print_report(report)
    return code


# Options that one format has, by the config's field.
_FORMAT_OPTIONS = {
    "onnx": {
        "opset": "opset_version",
        "weights": "weights",
        "ort_fusions": "ort_fusions",
        "last_token_logits": "last_token_logits",
    },
    "executorch": {"backend": "backend", "dtype": "dtype", "upper_bound": "upper_bounds"},
}


def _format_options(options: argparse.Namespace) -> dict[str, Any]:
    """The fields that were given for the format.

    Raises:
        Misuse: one of another format was given.
    """
    given = {
        (name, option): getattr(options, option)
        for name, fields in _FORMAT_OPTIONS.items()
        for option in fields
        if getattr(options, option) not in (None, False, "copy")
    }
    for name, option in given:
        if name != options.to:
            raise Misuse(f"--{option.replace('_', '-')} is an option of --to {name}")
    return {_FORMAT_OPTIONS[name][option]: value for (name, option), value in given.items()}


def _config(options: argparse.Namespace, dims: Any, chosen: dict[str, Any]) -> Any:
    from portwright.exporters import AutoExportConfig

    return AutoExportConfig.from_dict(
        {
            "export_format": options.to,
            "dynamic": options.dynamic,
            "dynamic_shapes": dims,
            "prefer_deferred_runtime_asserts_over_guards": bool(dims),
            **chosen,
        }
    )


def export_facts(program: Any) -> dict[str, Any]:
    """What a report says of an `ONNXProgram` or an `ExecutorchProgram`."""
    from portwright.exporters import ONNXProgram

    common = {
        "inputs": program.input_names,
        "outputs": program.output_names,
        "notes": program.notes,
        "conditions": program.conditions,
    }
    if isinstance(program, ONNXProgram):
        return {**common, "opset": program.opset_version, "nodes": program.node_count}
    calls = program.call_counts
    return {
        **common,
        "backend": program.backend,
        "delegate_calls": calls.pop("delegate", 0),
        "kernel_calls": calls,
        "planned_bytes": sum(program.arena_sizes),
    }


def _verify(
    options: argparse.Namespace,
    report: dict[str, Any],
    step: _Steps,
    model: Any,
    inputs: dict[str, Any],
    program: Any,
) -> int:
    from portwright.verify import verify

    report["verified"] = None
    try:
        with step("verify") as say:
            results = verify(program.captured, model, inputs, program, progress=say)
    except ImportError as error:
        return _fail(options, UNVERIFIABLE, f"cannot verify: {error}; or pass --no-verify")
    except Exception as error:
        return _fail(options, UNVERIFIABLE, f"cannot verify, eager itself fails: {error}")
    report.update(verdict(results))
    return VERIFIED if report["verified"] else DIFFERS


def verdict(results: list[Comparison]) -> dict[str, Any]:
    """`verified` and `runs` of a report."""
    runs = [
        {
            "name": result.name,
            "sizes": result.sizes,
            "largest_differences": result.differences,
            "problems": result.problems,
            "refused": result.refused,
        }
        for result in results
    ]
    return {"verified": all(result.matches for result in results), "runs": runs}


def _load(options: argparse.Namespace) -> Any:
    import torch
    import transformers

    auto = getattr(transformers, TASKS[options.task] if options.task else "AutoModel")
    try:
        if options.config_only:
            torch.manual_seed(0)
            model = auto.from_config(transformers.AutoConfig.from_pretrained(options.model))
        else:
            model = auto.from_pretrained(options.model)
    except (OSError, ValueError, KeyError) as error:
        first = str(error).strip().splitlines()[0]
        raise Misuse(f"cannot load '{options.model}': {first}") from None
    return model.eval()


def _dynamic_shapes(texts: list[str]) -> dict[str, dict[int, Any]] | None:
    """The specs of `--dim input:axis=name[:min:max]`; the same name is the same Dim."""
    from torch.export import Dim

    shapes: dict[str, dict[int, Any]] = {}
    named: dict[str, tuple[tuple[int | None, int | None], Any]] = {}
    for text in texts:
        place, _, spec = text.partition("=")
        name, _, axis = place.rpartition(":")
        parts = spec.split(":")
        numbers = [part for part in [axis, *parts[1:]] if part]
        if not name or not parts[0].isidentifier() or len(parts) not in (1, 3):
            raise Misuse(f"--dim {text}: write INPUT:AXIS=NAME or INPUT:AXIS=NAME:MIN:MAX")
        if not all(number.lstrip("-").isdigit() for number in numbers):
            raise Misuse(f"--dim {text}: AXIS, MIN and MAX must be whole numbers")
        bounds = (
            int(parts[1]) if len(parts) == 3 and parts[1] else None,
            int(parts[2]) if len(parts) == 3 and parts[2] else None,
        )
        if parts[0] in named and named[parts[0]][0] != bounds and len(parts) == 3:
            raise Misuse(f"--dim {text}: '{parts[0]}' has other bounds elsewhere")
        if parts[0] not in named:
            try:
                named[parts[0]] = (bounds, Dim(parts[0], min=bounds[0], max=bounds[1]))
            except (AssertionError, ValueError) as error:
                raise Misuse(f"--dim {text}: {error}") from None
        shapes.setdefault(name, {})[int(axis)] = named[parts[0]][1]
    return shapes or None


class _Steps:
    """Says what is being done and keeps the times, in seconds."""

    def __init__(self, times: dict[str, float], quiet: bool) -> None:
        self._times = times
        self._quiet = quiet

    @contextmanager
    def __call__(self, name: str) -> Iterator[Callable[[str], None]]:
        from rich.console import Console

        console = Console(stderr=True, quiet=self._quiet)
        start = time.perf_counter()
        with console.status(f"{name} ...") as status:
            yield lambda text: status.update(f"{name}: {text}")
        self._times[name] = time.perf_counter() - start


def _fail(options: argparse.Namespace, code: int, message: str) -> int:
    if getattr(options, "json", False):
        print(json.dumps({"error": message, "exit_code": code}))
    print(f"portwright: {message}", file=sys.stderr)
    return code


def _text(error: Exception) -> str:
    return "\n".join([str(error), *getattr(error, "__notes__", [])])


def print_report(report: dict[str, Any]) -> None:
    """Prints stages, files, shapes and differences as tables."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    kind = f"opset {report['opset']}" if "opset" in report else report["backend"]
    stages = Table("stage", "ms", title=f"{report['model']}: {kind}")
    for name, seconds in report["stages"].items():
        stages.add_row(name, f"{seconds * 1e3:,.1f}")
    console.print(stages)
    _print_files(console, report)
    for note in report["notes"]:
        console.print(f"note: {note}", highlight=False)
    _print_conditions(console, report)
    if report["verified"] is None:
        console.print("not verified")
        return
    runs = Table("shapes", "inputs", "output", "largest difference", "")
    for run in report["runs"]:
        sizes = ", ".join(f"{name} {size}" for name, size in run["sizes"].items())
        verdict = "; ".join(run["problems"]) or run["refused"] or "equal"
        for name, gap in run["largest_differences"].items() or [("", None)]:
            runs.add_row(run["name"], sizes, name, "" if gap is None else f"{gap:.2e}", verdict)
    console.print(runs)
    refused = sum(bool(run["refused"]) for run in report["runs"])
    words = "verified against eager" if report["verified"] else "DIFFERS from eager"
    console.print(
        words + (f"; {refused} of the shapes tried are refused, see above" * bool(refused))
    )


def _print_files(console: Any, report: dict[str, Any]) -> None:
    files = report["files"]
    if "opset" in report:
        size = f"{files['model_bytes']:,} bytes, {report['nodes']} nodes"
        console.print(f"{files['model_path']}  {size}")
        if files["data_path"]:
            console.print(f"{files['data_path']}  {files['data_bytes']:,} bytes of weights")
        return
    weights = f"{files['weight_bytes']:,} of weights"
    console.print(f"{files['model_path']}  {files['file_bytes']:,} bytes, {weights}")
    console.print(
        f"{report['delegate_calls']} calls of delegates, {sum(report['kernel_calls'].values())} of "
        f"kernels, {report['planned_bytes']:,} bytes of planned memory"
    )


_CONDITIONS_SHOWN = 20


def _print_conditions(console: Any, report: dict[str, Any]) -> None:
    """What the format cannot hold, and the runtime does not check."""
    conditions = report["conditions"]
    record = report["files"]["record_path"]
    runtime = "ONNX Runtime" if "opset" in report else "ExecuTorch"
    if conditions:
        console.print(
            f"{len(conditions)} conditions on sizes, which portwright.load checks and {runtime} "
            f"does not ({record}):"
        )
    for item in conditions[:_CONDITIONS_SHOWN]:
        place = f" at {item['source']}" if item["source"] else ""
        console.print(f"  {item['text']}{place}", highlight=False, markup=False)
    if len(conditions) > _CONDITIONS_SHOWN:
        console.print("  ...")


def _inspect(options: argparse.Namespace) -> int:
    from portwright import _core
    from portwright.errors import PortwrightError

    inspect = _core.inspect_pte if options.file.endswith(".pte") else _core.inspect_onnx
    try:
        facts = json.loads(inspect(options.file))
    except PortwrightError as error:
        return _fail(options, MISUSE, str(error))
    if options.json:
        print(json.dumps(facts, indent=2))
    else:
        _print_facts(facts, "")
    return VERIFIED


def _print_facts(facts: dict[str, Any], indent: str) -> None:
    """One line for each fact, those of a part below its name."""
    for key, value in facts.items():
        if isinstance(value, dict):
            print(f"{indent}{key}:")
            _print_facts(value, indent + "  ")
        elif isinstance(value, list):
            print(f"{indent}{key}:")
            for item in value:
                print(f"{indent}  {_one_line(item)}")
        else:
            print(f"{indent}{key}: {value}")


def _sweep(options: argparse.Namespace) -> int:
    import re

    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from portwright.sweep import SweepOptions, comparison, summary, sweep

    path = os.path.join(options.zoo, "cases.txt")
    if not os.path.isfile(path):
        raise Misuse(f"'{options.zoo}' is no zoo: it has no cases.txt")
    with open(path, encoding="utf-8") as file:
        cases = [line.split()[0] for line in file if line.strip() and not line.startswith("#")]
    try:
        cases = [case for case in cases if re.search(options.only, case)][:: options.every]
    except re.error as error:
        raise Misuse(f"--only {options.only}: {error}") from None
    limits = SweepOptions(
        zoo=options.zoo,
        stage=options.stage,
        dynamic=not options.static,
        jobs=options.jobs,
        timeout=options.timeout,
        memory_gib=options.memory,
    )
    columns = (MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))

    def run(limits: SweepOptions) -> list[dict[str, Any]]:
        with Progress(*columns, transient=True) as bar:
            task = bar.add_task("", total=len(cases))

            def show(row: dict[str, Any], done: int, _: int) -> None:
                bar.update(task, completed=done, description=f"{row['id']} {row['reason']}")

            return sweep(cases, limits, options.output, show)

    rows = run(limits)
    print(summary(rows))
    if options.peer:
        print(comparison(rows, run(dataclasses.replace(limits, peer=True))))
    return VERIFIED if all(row["status"] == "right" for row in rows) else DIFFERS


def _one_line(item: Any) -> str:
    if not isinstance(item, dict):
        return str(item)
    return "  ".join(str(value) for value in item.values())
