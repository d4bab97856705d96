"""How far an artifact's outputs are from eager's.

The rule, for every element: |a - b| <= tol * (|b| + scale), where scale is the median of |b| over
the elements below 1000, at least 0.001. NaN and infinity must be at the same places; integers and
bools are equal exactly; shapes and dtypes are the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from portwright import tree

TOLERANCES = {torch.float16: 2e-2, torch.bfloat16: 2e-2}


@dataclass(frozen=True)
class Difference:
    """One output beside eager's.

    Attributes:
        largest_absolute: the largest |a - b| over elements that are finite in both.
        largest_relative: the largest |a - b| / |b| over those where b is not 0.
        outside: how many elements break the rule; 0 when shape or dtype differ.
        problem: what is wrong, or None.
    """

    name: str
    shape: list[int]
    dtype: torch.dtype
    largest_absolute: float = 0.0
    largest_relative: float = 0.0
    outside: int = 0
    elements: int = 0
    problem: str | None = None


@dataclass
class OutputReport:
    """All outputs of one run beside eager's; `str()` of it is a table."""

    outputs: list[Difference] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)  # that concern no single output

    @property
    def matches(self) -> bool:
        return not self.problems and all(item.problem is None for item in self.outputs)

    def __str__(self) -> str:
        rows = [("output", "shape", "dtype", "largest |a-b|", "|a-b|/|b|", "outside", "")]
        for item in self.outputs:
            rows.append(
                (
                    item.name,
                    str(item.shape),
                    str(item.dtype).removeprefix("torch."),
                    f"{item.largest_absolute:.3g}",
                    f"{item.largest_relative:.3g}",
                    f"{item.outside} of {item.elements}",
                    item.problem or "equal",
                )
            )
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        return "\n".join([*self.problems, *lines])


def report(actual: Any, expected: Any, tolerance: float) -> OutputReport:
    """Compares two output structures, caches included, tensor by tensor."""
    ours = tree.output_names(tree.flatten(actual)[0])
    eager = tree.output_names(tree.flatten(expected)[0])
    names = [key for key, _ in ours], [key for key, _ in eager]
    if names[0] != names[1]:
        return OutputReport(problems=[f"outputs {names[0]}, eager gives {names[1]}"])
    pairs = zip(ours, eager, strict=True)
    return OutputReport([measure(name, a, b, tolerance) for (name, a), (_, b) in pairs])


def compare_tensors(actual: torch.Tensor, expected: torch.Tensor, tolerance: float) -> str | None:
    """What is wrong with `actual`, or None."""
    return measure("", actual, expected, tolerance).problem


def measure(
    name: str, actual: torch.Tensor, expected: torch.Tensor, tolerance: float
) -> Difference:
    """Compares two tensors by the rule.

    Args:
        tolerance: of float32 and wider types; half precision has at least 2e-2.
    """
    shape, dtype = list(actual.shape), actual.dtype
    problem: str | None
    if actual.shape != expected.shape:
        problem = f"shape {shape}, eager gives {list(expected.shape)}"
        return Difference(name, shape, dtype, problem=problem)
    if dtype != expected.dtype:
        problem = f"dtype {dtype}, eager gives {expected.dtype}"
        return Difference(name, shape, dtype, problem=problem)
    a, b = _as_float64(actual), _as_float64(expected)
    finite = a.isfinite() & b.isfinite()
    gaps, sizes = (a - b).abs()[finite], b.abs()[finite]
    absolute = float(gaps.max()) if gaps.numel() else 0.0
    nonzero = sizes > 0
    relative = float((gaps[nonzero] / sizes[nonzero]).max()) if bool(nonzero.any()) else 0.0
    if expected.is_floating_point():
        outside, problem = _float_problem(a, b, max(tolerance, TOLERANCES.get(dtype, 0.0)))
    else:
        outside = int((actual != expected).sum())
        problem = f"{outside} of {expected.numel()} elements differ" if outside else None
    return Difference(name, shape, dtype, absolute, relative, outside, expected.numel(), problem)


def _as_float64(tensor: torch.Tensor) -> torch.Tensor:
    return (torch.view_as_real(tensor) if tensor.is_complex() else tensor).double()


def _float_problem(a: torch.Tensor, b: torch.Tensor, tolerance: float) -> tuple[int, str | None]:
    """How many elements are outside, and in words; of float64 tensors."""
    finite = b.isfinite()
    same = (finite == a.isfinite()) & (finite | (a == b) | (a.isnan() & b.isnan()))
    one_sided = int((~same).sum())
    if one_sided:
        return one_sided, f"{one_sided} elements are NaN or infinite on one side only"
    a, b = a[finite], b[finite]
    if b.numel() == 0:
        return 0, None
    ordinary = b.abs()[b.abs() < 1000]
    scale = max(float(ordinary.median()) if ordinary.numel() else 0.0, 0.001)
    excess = (a - b).abs() - tolerance * (b.abs() + scale)
    wrong = int((excess > 0).sum())
    if wrong == 0:
        return 0, None
    worst = float((a - b).abs().max())
    count = f"{wrong} of {b.numel()} elements differ"
    return wrong, f"{count} by up to {worst:.3g} (tolerance {tolerance:g})"
