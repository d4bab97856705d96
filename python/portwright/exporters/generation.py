"""Exported components in place of a model's modules: generate() runs them."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from portwright import tree
from portwright.exporters.kept_state import ARGUMENT, WithKeptState, containers
from portwright.exporters.merging import empty_past
from portwright.exporters.parts import Component, Components
from portwright.exporters.recording import arguments_by_name
from portwright.exporters.utils import prepare_for_export
from portwright.stage import swapped, unchanged

Program = Callable[..., Any]


@contextlib.contextmanager
def generating_with(
    components: Components, programs: Mapping[str, Program], *, merged: bool = False
) -> Iterator[None]:
    """Runs programs in place of the components' forwards during the block.

    The model's `generate()` prepares the inputs of each step and picks the tokens, and in
    multimodal models merges the encoders' results into the text; the components compute. Between
    two calls of `generate()` a new block is needed.

    Args:
        components: what `decompose_for_generation` gave.
        programs: by component's name, a callable that takes its inputs as keyword arguments and
            gives forward's result.
        merged: the program "decode" runs the first step too (`merge_decode=True`).
    """
    decode_inputs = components["decode"][1]
    stepping, decode = _stepping(*components["decode"], programs["decode"])
    first_step = _FirstStep()
    with contextlib.ExitStack() as stack:
        for name, component in components.items():
            if name not in ("prefill", "decode"):
                forward = _in_first_step(component, programs[name], first_step)
                stack.enter_context(swapped(component[0], {"forward": forward}))
        first: Program | None
        if merged:
            first = _with_empty_past(programs["decode"], decode_inputs)
        else:
            given = components.get("prefill")
            first = _stepping(*given, programs["prefill"])[1] if given else None
        # Between two steps, modules hold what they keep in attributes; it is theirs for the block.
        stack.enter_context(unchanged(stepping))
        forward = _by_step(stepping, first, decode, first_step)
        stack.enter_context(swapped(stepping, {"forward": forward}))
        yield


def _stepping(
    module: torch.nn.Module, sample: Mapping[str, Any], program: Program
) -> tuple[torch.nn.Module, Program]:
    """The module that generate() calls, and the program as it takes what generate() gives."""
    if not isinstance(module, WithKeptState):
        return module, program
    names = list(sample.get(ARGUMENT, ()))
    return module.module, lambda **inputs: module.run(program, inputs, names)


class _FirstStep:
    over = False


def _in_first_step(component: Component, program: Program, step: _FirstStep) -> Program:
    module, names = component[0], component[1].keys()
    original = module.forward

    @functools.wraps(original)
    def forward(*args: Any, **kwargs: Any) -> Any:
        # A part may be called in other ways too, as projectors that also embed ids.
        ours = not step.over and arguments_by_name(module, args, kwargs).keys() == names
        return _call(module, program, args, kwargs) if ours else original(*args, **kwargs)

    return forward


def _by_step(
    module: torch.nn.Module, first: Program | None, decode: Program, step: _FirstStep
) -> Program:
    original = module.forward

    @functools.wraps(original)
    def forward(*args: Any, **kwargs: Any) -> Any:
        if step.over:
            return _call(module, decode, args, kwargs)
        result = _call(module, first, args, kwargs) if first else original(*args, **kwargs)
        step.over = True
        return result

    return forward


def _with_empty_past(program: Program, decode_inputs: Mapping[str, Any]) -> Program:
    """The program, which gets caches without tokens where there are none before the first step."""
    caches = {n: v for n, v in empty_past(decode_inputs).items() if tree.is_container(v)}
    return lambda **inputs: program(**inputs | caches)


def _call(
    module: torch.nn.Module, program: Program, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    given = arguments_by_name(module, args, kwargs)
    result = program(**prepare_for_export(module, dict(given))[1])
    if isinstance(result, Mapping):
        # A model also changes the caches that it is given, and some callers go on with those.
        for name, container in containers(given).items():
            if type(result.get(name)) is type(container):
                container.__dict__.update(result[name].__dict__)
    return result
