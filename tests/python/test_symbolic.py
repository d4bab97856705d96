"""The symbolic engine against Python's integers and sympy, on random expressions."""

from __future__ import annotations

from typing import Any

import sympy
from hypothesis import example, given, settings
from hypothesis import strategies as st

from portwright._core import symbolic

NAMES = ["a", "b", "c"]
HINTS = {"a": 5, "b": 7, "c": 3}

leaves = st.one_of(st.sampled_from(NAMES), st.integers(-6, 6))


def _grow(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.tuples(st.sampled_from(["+", "-", "*", "min", "max"]), children, children),
        st.tuples(st.sampled_from(["//", "%"]), children, st.integers(1, 9)),
    )


trees = st.recursive(leaves, _grow, max_leaves=8)
values = st.fixed_dictionaries({name: st.integers(1, 60) for name in NAMES})


def new_table() -> tuple[Any, dict[str, Any]]:
    table = symbolic.SymbolTable()
    return table, {name: table.add_symbol(name, 1, 60, HINTS[name]) for name in NAMES}


def build(tree: Any, symbols: dict[str, Any]) -> Any:
    """The engine's expression of a tree."""
    if isinstance(tree, str):
        return symbols[tree]
    if isinstance(tree, int):
        return symbols["a"] * 0 + tree
    op, left, right = tree
    a, b = build(left, symbols), build(right, symbols)
    return {
        "+": lambda: a + b,
        "-": lambda: a - b,
        "*": lambda: a * b,
        "//": lambda: a // b,
        "%": lambda: a % b,
        "min": lambda: symbolic.minimum(a, b),
        "max": lambda: symbolic.maximum(a, b),
    }[op]()


def compute(tree: Any, at: dict[str, int]) -> int:
    """The same by Python's integers."""
    if isinstance(tree, str):
        return at[tree]
    if isinstance(tree, int):
        return tree
    op, left, right = tree
    a, b = compute(left, at), compute(right, at)
    table = {"+": a + b, "-": a - b, "*": a * b, "min": min(a, b), "max": max(a, b)}
    if op in table:
        return table[op]
    return a // b if op == "//" else a % b


def to_sympy(tree: Any) -> Any:
    if isinstance(tree, str):
        return sympy.Symbol(tree, integer=True, positive=True)
    if isinstance(tree, int):
        return sympy.Integer(tree)
    op, left, right = tree
    a, b = to_sympy(left), to_sympy(right)
    return {"+": a + b, "-": a - b, "*": a * b}[op]


# A quotient times a remainder: folding one with the other must end.
QUOTIENT_BY_REMAINDER = ("*", ("//", "b", 8), ("%", ("min", ("+", "a", 1), ("max", "b", "c")), 7))


@settings(max_examples=400, deadline=None)
@given(trees, values)
@example(QUOTIENT_BY_REMAINDER, {"a": 9, "b": 50, "c": 2})
def test_evaluation_equals_python(tree: Any, at: dict[str, int]) -> None:
    _, symbols = new_table()
    assert build(tree, symbols).evaluate(at) == compute(tree, at)


@settings(max_examples=300, deadline=None)
@given(trees, values)
def test_ranges_hold_every_value(tree: Any, at: dict[str, int]) -> None:
    table, symbols = new_table()
    lo, hi = table.range(build(tree, symbols))
    assert lo <= compute(tree, at) <= hi


@settings(max_examples=200, deadline=None)
@given(trees)
@example(("min", "c", ("min", "a", ("+", "b", 1))))
def test_text_round_trips(tree: Any) -> None:
    table, symbols = new_table()
    expr = build(tree, symbols)
    assert table.parse(str(expr)) == expr


polynomials = st.recursive(
    leaves,
    lambda c: st.tuples(st.sampled_from(["+", "-", "*"]), c, c),
    max_leaves=7,
)


@settings(max_examples=200, deadline=None)
@given(polynomials, polynomials)
def test_polynomials_are_equal_exactly_when_sympy_says_so(a: Any, b: Any) -> None:
    _, symbols = new_table()
    same = sympy.expand(to_sympy(a) - to_sympy(b)) == 0
    assert (build(a, symbols) == build(b, symbols)) == same


@settings(max_examples=200, deadline=None)
@given(trees, trees, values)
def test_decisions_hold_everywhere(a: Any, b: Any, at: dict[str, int]) -> None:
    table, symbols = new_table()
    left, right = build(a, symbols), build(b, symbols)
    truth = table.decide(f"{left} >= {right}")
    if truth is not None:
        assert truth == (compute(a, at) >= compute(b, at))


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 60), st.integers(1, 9))
def test_float_detours_round_as_python(size: int, parts: int) -> None:
    import math

    _, symbols = new_table()
    ratio = symbols["a"].real() / float(parts)
    at = {"a": size, "b": 1, "c": 1}
    assert ratio.floor().evaluate(at) == math.floor(size / parts)
    assert ratio.ceil().evaluate(at) == math.ceil(size / parts)
    assert ratio.round().evaluate(at) == round(size / parts)
