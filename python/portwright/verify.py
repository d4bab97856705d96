"""Proof that an artifact equals eager: at the sample inputs and at others, in every element."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from portwright import tree
from portwright.capture import CapturedProgram
from portwright.differences import report
from portwright.errors import GuardViolatedError
from portwright.sample_inputs import cast_inputs, padded

RUNTIME_TOLERANCE = 1e-3  # ONNX Runtime in fp32
CAPTURE_TOLERANCE = 1e-4  # the interpreter, which runs eager's own kernels


@dataclass
class Comparison:
    """One run of the artifact beside eager."""

    name: str
    sizes: dict[str, list[int]]
    differences: dict[str, float] = field(default_factory=dict)  # largest |a - b| by output
    problems: list[str] = field(default_factory=list)
    refused: str = ""  # the condition of the program that these sizes break

    @property
    def matches(self) -> bool:
        return not self.problems


def compare(
    name: str, inputs: dict[str, Any], actual: Any, expected: Any, tolerance: float
) -> Comparison:
    """Compares two output structures, caches included, tensor by tensor."""
    found = report(actual, expected, tolerance)
    result = Comparison(name, _sizes(inputs), problems=list(found.problems))
    for item in found.outputs:
        if item.problem:
            result.problems.append(f"{item.name}: {item.problem}")
        if item.elements:
            result.differences[item.name] = item.largest_absolute
    return result


def variants(captured: CapturedProgram, inputs: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The sample inputs and others of different sizes, one per dynamic dim and a few combined.

    Other sizes repeat or cut the samples' elements, so that ids stay ids and masks stay masks.
    Sizes that the program says it refuses are left out: they are in its notes.
    """
    shapes = {name: shape for name, _, shape in captured.program.user_inputs()}
    symbols = {s["name"]: s for s in captured.program.symbols() if s["replacement"] is None}
    hints = {name: int(item["hint"]) for name, item in symbols.items()}
    found = {"sample": inputs}

    def add(sizes: dict[str, int]) -> None:
        for name, size in sizes.items():
            high = symbols[name]["hi"]
            if size < symbols[name]["lo"] or (high is not None and size > high):
                return
        label = ", ".join(dict.fromkeys(f"{_label(symbols[n])} = {v}" for n, v in sizes.items()))
        found[label] = _resized(inputs, shapes, {**hints, **sizes})

    groups = _groups(shapes, hints)
    for group in groups:
        for size in (hints[group[0]] + 1, 2 * hints[group[0]]):
            add(dict.fromkeys(group, size))
    if len(groups) > 1:
        add({**dict.fromkeys(groups[0], 1), **dict.fromkeys(groups[1], hints[groups[1][0]] + 3)})
    mask = padded(inputs)
    if mask is not None:
        found["padding left and right"] = mask
    return found


def verify(
    captured: CapturedProgram,
    model: torch.nn.Module,
    inputs: dict[str, Any],
    run: Callable[..., Any],
    tolerance: float = RUNTIME_TOLERANCE,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Comparison]:
    """Runs the artifact (`run(**inputs)`) and eager on the sample and on other sizes.

    Floating inputs are cast to the model's dtype, as for the export. An input that eager itself
    refuses is left out; one that only the artifact refuses is a problem, unless a condition of the
    program that its notes name refuses it: that is in `refused`.
    """
    inputs = dict(inputs)
    cast_inputs(model, inputs)
    results = []
    training = [module for module in model.modules() if module.training]
    try:
        model.eval()
        for name, variant in variants(captured, inputs).items():
            progress(name)
            try:
                with torch.no_grad():
                    expected = model(**_own(variant))
            except (RuntimeError, ValueError, IndexError, AssertionError):
                if name == "sample":
                    raise
                continue
            try:
                actual = run(**_own(variant))
            except GuardViolatedError as error:
                result = Comparison(name, _sizes(variant))
                if name == "sample":
                    result.problems.append(f"refused: {error}")
                else:
                    result.refused = str(error)
                results.append(result)
                continue
            except Exception as error:
                problems = [f"does not run: {error}"]
                results.append(Comparison(name, _sizes(variant), problems=problems))
                continue
            results.append(compare(name, variant, actual, expected, tolerance))
    finally:
        for module in training:
            module.training = True
    return results


def _sizes(inputs: dict[str, Any]) -> dict[str, list[int]]:
    return {key: list(tensor.shape) for key, tensor in tree.flatten(inputs)[0]}


def _own(inputs: dict[str, Any]) -> dict[str, Any]:
    """A deep copy: models write to the caches they are given."""
    return copy.deepcopy(inputs)


def _label(symbol: dict[str, Any]) -> str:
    return str(symbol["origin"] or symbol["name"])


def _groups(shapes: dict[str, list[Any]], hints: dict[str, int]) -> list[list[str]]:
    """Symbols that vary together: first dims are the batch, others belong together by their size.

    Two symbols of one tensor stay apart: an image's height varies without its width.
    """
    groups: dict[tuple[bool, int, int], list[str]] = {}
    placed: set[str] = set()
    for dims in shapes.values():
        seen: dict[tuple[bool, int], int] = {}
        for axis, dim in enumerate(dims):
            for name in sorted(_names(dim) & set(hints)):
                key = (axis == 0, hints[name])
                turn = seen[key] = seen.get(key, -1) + 1
                if name not in placed:
                    placed.add(name)
                    groups.setdefault((*key, turn), []).append(name)
    return list(groups.values())


def _names(dim: Any) -> set[str]:
    return set(re.findall(r"[A-Za-z_]\w*", dim)) if isinstance(dim, str) else set()


_FUNCTIONS: dict[str, Any] = {
    "floordiv": lambda a, b: a // b,
    "mod": lambda a, b: a % b,
    "min": min,
    "max": max,
    "__builtins__": {},
}


def _resized(
    inputs: dict[str, Any], shapes: dict[str, list[Any]], sizes: dict[str, int]
) -> dict[str, Any]:
    leaves, spec = tree.flatten(inputs)
    made = []
    for name, tensor in leaves:
        for axis, dim in enumerate(shapes[name]):
            wanted = dim if isinstance(dim, int) else int(eval(dim, dict(_FUNCTIONS), dict(sizes)))
            if wanted != tensor.shape[axis] and tensor.shape[axis] > 0:
                tensor = tensor.index_select(axis, torch.arange(wanted) % tensor.shape[axis])
        made.append(tensor)
    return dict(spec.unflatten(made))
