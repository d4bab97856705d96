"""PyTorch's higher-order operators while a model is traced: `torch.cond`, `while_loop`, `scan`,
`associative_scan` and `map`.

PyTorch compiles the functions that these are given. While a model is traced it compiles nothing
(`stage.tracing`), and they are traced like other code of the model. `cond` on a tensor runs both
functions and selects; on a size it decides, like `if`. Scans and maps over a symbolic length become
loop nodes, over a fixed one they are unrolled. A `while_loop` runs round by round for the sample
inputs; what its condition finds in data is checked when the program runs. Any other higher-order
operator is refused.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch.utils import _pytree as pytree

from portwright import _core, lazy_lists
from portwright.errors import UnsupportedError
from portwright.loops import sizes_text

# By name: in its package, the function of the same name hides it.
_ASSOCIATIVE_SCAN: Any = importlib.import_module("torch._higher_order_ops.associative_scan")


def _cond(pred: Any, true_fn: Any, false_fn: Any, operands: Any = ()) -> Any:
    if not isinstance(pred, torch.Tensor) or not _core.is_traced(pred):
        return (true_fn if pred else false_fn)(*operands)
    _core.begin_branches()
    results = [pytree.tree_flatten(function(*operands)) for function in (true_fn, false_fn)]
    _core.end_branches()
    (ours, structure), (others, other_structure) = results
    described = [[_described(leaf) for leaf in leaves] for leaves, _ in results]
    if structure != other_structure or described[0] != described[1]:
        raise UnsupportedError(
            "torch.cond: its functions give results of different structure, dtype or shape: "
            f"{', '.join(described[0])} and {', '.join(described[1])}. Pad or cast them to the same"
        )
    chosen = pred.reshape(()).bool()
    selected = [
        torch.where(chosen, one, other) if isinstance(one, torch.Tensor) else one
        for one, other in zip(ours, others, strict=True)
    ]
    return pytree.tree_unflatten(selected, structure)


def _described(leaf: Any) -> str:
    if not isinstance(leaf, torch.Tensor):
        return repr(leaf)
    return f"{str(leaf.dtype).removeprefix('torch.')}[{', '.join(sizes_text(leaf))}]"


def _while_loop(cond_fn: Any, body_fn: Any, carried: Any, additional: Any = (), *_: Any) -> Any:
    while cond_fn(*carried, *additional):
        carried = body_fn(*carried, *additional)
    return carried


def _scan(combine_fn: Any, init: Any, xs: Any, additional: Any = ()) -> Any:
    structure: list[Any] = [None, None]

    def step(carried: list[Any], index: Any) -> tuple[list[Any], list[Any]]:
        items = [x.select(0, index) for x in xs]
        carry, out = combine_fn(*carried, *items, *additional)
        (leaves, structure[0]), (items, structure[1]) = map(pytree.tree_flatten, (carry, out))
        return leaves, items

    carried, stacked = rounds("scan", xs[0].shape[0], list(init), step)
    return tuple(map(pytree.tree_unflatten, (carried, stacked), structure))


def _map(function: Any, xs: Any, additional: Any = ()) -> Any:
    structure: Any = None

    def step(_: list[Any], index: Any) -> tuple[list[Any], list[Any]]:
        nonlocal structure
        items = [x.select(0, index) for x in xs]
        leaves, structure = pytree.tree_flatten(function(*items, *additional))
        return [], leaves

    _, stacked = rounds("map", xs[0].shape[0], [], step)
    return pytree.tree_unflatten(stacked, structure)


def _associative_scan(operator: Any, leaves: Any, dim: int = 0, additional_inputs: Any = ()) -> Any:
    """torch's generic_associative_scan, which halves the length over and over, by a vmap.

    A vmap fixes every size within it, so where there are symbolic ones the scan goes row by row.
    """
    if not any(isinstance(size, torch.SymInt) for leaf in leaves for size in leaf.shape):
        return _torch_associative_scan(operator, leaves, dim, additional_inputs)
    combine = inspect.getclosurevars(operator.keywords["combine_fn"]).nonlocals["func"]
    structure = operator.keywords["spec"]

    def step(carried: list[Any], index: Any) -> tuple[list[Any], list[Any]]:
        items = [leaf.select(dim, index + 1) for leaf in leaves]
        left, right = (pytree.tree_unflatten(part, structure) for part in (carried, items))
        combined = pytree.tree_leaves(combine(left, right))
        return combined, combined

    rest = leaves[0].shape[dim] - 1
    if isinstance(rest, int) and rest == 0:
        return leaves
    first = [leaf.select(dim, 0) for leaf in leaves]
    _, stacked = rounds("associative_scan", rest, first, step)
    return [
        torch.cat([one.unsqueeze(dim), others.movedim(0, dim)], dim)
        for one, others in zip(first, stacked, strict=True)
    ]


_torch_associative_scan = _ASSOCIATIVE_SCAN.generic_associative_scan

Step = Callable[[list[Any], Any], tuple[list[Any], list[Any]]]


def rounds(name: str, count: Any, carried: list[Any], step: Step) -> tuple[list[Any], list[Any]]:
    """Runs `step(carried, index)` `count` times: a loop node where that is symbolic, else unrolled.

    A step gives what is carried on and an item for each result.

    Returns:
        What is carried on last, and the items of all rounds stacked.
    """
    if isinstance(count, torch.SymInt):
        way = (_place(), name)
        loop = lazy_lists.open_loop(way)
        if loop is not None:
            return _loop_node(count, carried, step, loop)
    collected: list[list[Any]] = []
    for index in range(int(count)):
        carried, items = step(carried, index)
        collected.append(items)
    stacked = [torch.stack(items) for items in zip(*collected, strict=True)]
    return carried, stacked


def _loop_node(
    count: Any, carried: list[Any], step: Step, loop: lazy_lists.OpenLoop
) -> tuple[list[Any], list[Any]]:
    number: Any = torch.SymInt
    counter = number(_core.begin_loop(count.node))
    step(carried, counter)
    last, items = step(_core.restart_loop(carried), counter)
    last, results = _core.end_loop(last, items)
    if any(lengths is not None for _, lengths, _ in results):
        raise UnsupportedError("the results of a scan's rounds have different shapes")
    loop.finish()
    return last, [tensor for tensor, _, _ in results]


def _place() -> tuple[str, int]:
    """The innermost line outside torch and this package."""
    frame = sys._getframe(1)
    while frame.f_back is not None and _is_library(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


def _is_library(module: str) -> bool:
    return module.partition(".")[0] in ("torch", "portwright")


_LOWERINGS: Mapping[str, Callable[..., Any]] = {
    "cond": _cond,
    "map_impl": _map,
    "scan": _scan,
    "while_loop": _while_loop,
}


_WAY_OUT = "call the function that it is given, or write it with torch.cond, torch.where or a loop"
_FLEX_WAY_OUT = 'use "sdpa" or "eager" attention (model.set_attn_implementation("sdpa"))'
_WAYS_OUT = {"flex_attention": _FLEX_WAY_OUT, "flex_attention_backward": _FLEX_WAY_OUT}


def _call(call: Any) -> Any:
    """HigherOrderOperator.__call__, which calls a lowering or refuses what is traced."""

    def call_lowered(self: Any, *args: Any, **kwargs: Any) -> Any:
        lowering = _LOWERINGS.get(self.name())
        if lowering is not None:
            return lowering(*args, **kwargs)
        if any(_is_traced(leaf) for leaf in pytree.tree_leaves((args, kwargs))):
            way_out = _WAYS_OUT.get(self.name(), _WAY_OUT)
            raise UnsupportedError(
                f"the higher-order operator {self.name()} cannot be captured: {way_out}"
            )
        return call(self, *args, **kwargs)

    return call_lowered


def _is_traced(leaf: Any) -> bool:
    return isinstance(leaf, torch.Tensor) and _core.is_traced(leaf)


def replacements() -> Iterator[tuple[Any, dict[str, Any]]]:
    """What is swapped while a model is traced: owners, and attributes with their replacements."""
    operator = torch._ops.HigherOrderOperator
    yield operator, {"__call__": _call(operator.__call__)}
    yield _ASSOCIATIVE_SCAN, {"generic_associative_scan": _associative_scan}
