"""What a model needed of its inputs' sizes, in words: notes, and errors of explicit Dims."""

from __future__ import annotations

from typing import Any

from portwright import _core
from portwright.errors import GuardViolatedError


def notes(program: _core.Program) -> list[str]:
    """One line per dim that the model fixed, by the condition that did it, or limited."""
    items = _core.narrowings(program)
    fixing = {item["origin"] for item in items if item["fixed"] is not None and item["equality"]}
    lines = []
    for item in items:
        needs = f"the model needs {item['guard']}{_place(item)}"
        if item["fixed"] is None:
            if not item["equality"]:
                lines.append(f"{item['origin']} is limited: {needs}")
        elif item["equality"] or item["origin"] not in fixing:
            lines.append(f"{item['origin']} is fixed at {item['fixed']}: {needs}")
    return list(dict.fromkeys(lines))


def check_explicit_dims(
    program: _core.Program, must_vary: dict[str, str], defer: bool
) -> list[str]:
    """Looks for conditions that the user's Dims do not promise.

    Args:
        program: a finished capture.
        must_vary: the origins of the symbols of `Dim.DYNAMIC`, which only must not become fixed.
        defer: conditions on explicit Dims are checked when the program runs.

    Returns:
        Notes on conditions that are checked when the program runs, where its format can: all of
        them with `defer`, else those that no Dim can state.

    Raises:
        GuardViolatedError: names dims, conditions and lines, and suggests other Dims.
    """
    _check_must_vary(program, must_vary)
    violations = _core.user_violations(program)
    errors = [item for item in violations if item["statable"] and not defer]
    if errors:
        names = dict.fromkeys(name for item in errors for name, _ in item["dims"])
        lines = [
            f"Constraints violated ({', '.join(names)})! The model needs more than dynamic_shapes "
            "promises:"
        ]
        for item in errors:
            module = f" in {item['module']}" if item["module"] else ""
            lines.append(f"  - {_dims(item)}: {item['guard']}{_place(item)}{module}")
        fixes = _core.suggested_fixes(program)
        if fixes:
            lines += ["Suggested fixes:", *(f"  {fix}" for fix in fixes)]
        lines.append(
            "Dim.AUTO takes what the model needs; prefer_deferred_runtime_asserts_over_guards=True "
            "checks it when the program runs."
        )
        raise GuardViolatedError("\n".join(lines))
    _core.defer_violations(program)
    return [
        f"{_dims(item)} is left to run time: the model needs {item['guard']}{_place(item)}"
        for item in violations
    ]


def _check_must_vary(program: _core.Program, must_vary: dict[str, str]) -> None:
    fixed = {
        item["symbol"]: item
        for item in _core.narrowings(program)
        if item["symbol"] in must_vary and item["fixed"] is not None
    }
    if fixed:
        lines = [
            "Constraints violated! The model fixes dims that dynamic_shapes states as Dim.DYNAMIC:",
            *(
                f"  - {item['origin']} is {item['fixed']}: the model needs {item['guard']}"
                f"{_place(item)}"
                for item in fixed.values()
            ),
            "Use Dim.AUTO or Dim.STATIC for them.",
        ]
        raise GuardViolatedError("\n".join(lines))


def _dims(item: dict[str, Any]) -> str:
    return ", ".join(f"{name} = {origin}" for name, origin in item["dims"])


def _place(item: dict[str, Any]) -> str:
    return f" at {item['source']}" if item["source"] else ""
