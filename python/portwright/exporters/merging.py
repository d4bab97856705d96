"""Decode steps with several tokens, and with an empty past."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch

from portwright import tree
from portwright.differences import compare_tensors
from portwright.errors import UnsupportedError
from portwright.exporters.recording import undisturbed
from portwright.verify import RUNTIME_TOLERANCE

Arguments = dict[str, Any]
_KEYS = ("keys", "values")


def merged_decode(module: torch.nn.Module, steps: list[Arguments]) -> Arguments:
    """Two decode steps of one token each as one step of two tokens.

    Tensors with a query axis (the last axis of size 1: ids, embeddings, positions, rows of 4-D
    masks) are joined along it; of masks that grew, the later one covers both steps; caches are as
    before the first step. The result is run, and must give what the two steps gave.

    Raises:
        UnsupportedError: the model does not take two tokens at once.
    """
    merged = {
        name: _merged(value, *(step.get(name) for step in steps[1:]))
        for name, value in steps[0].items()
    }
    try:
        together = _run(module, merged)
    except Exception as error:
        raise UnsupportedError(_refusal(module, f"it fails: {error}")) from error
    problem = _last_logits_differ(together, _run(module, steps[-1]))
    if problem:
        raise UnsupportedError(_refusal(module, f"its logits differ: {problem}"))
    return merged


def empty_past(inputs: Mapping[str, Any]) -> Arguments:
    """The inputs of a decode step with caches that hold no token yet.

    Keys and values have length 0 where they grow; other states (those of SSMs, caches of fixed
    size) are zero. What else a first step needs, its ids and masks, is the caller's to put in.
    """
    return {name: _emptied(value) for name, value in inputs.items()}


def check_empty_past(module: torch.nn.Module, first: Arguments, decode: Arguments) -> None:
    """Checks that the decode step with an empty past does what the first step does.

    Raises:
        UnsupportedError: it does not.
    """
    why = "its first step is not a decode step with an empty past"
    advice = "Leave merge_decode out; multi_token_decode=True gives a decode of several tokens"
    missing = [name for name in decode if name not in first]
    if missing or len(first) > len(decode):
        extra = missing or [name for name in first if name not in decode]
        raise UnsupportedError(
            f"{type(module).__name__}: {why}: only one of them takes {', '.join(extra)}. {advice}"
        )
    empty = empty_past(decode)
    given = {n: empty[n] if tree.is_container(value) else value for n, value in first.items()}
    try:
        problem = _last_logits_differ(_run(module, given), _run(module, first))
    except Exception as error:
        raise UnsupportedError(f"{type(module).__name__}: {why}: {error}. {advice}") from error
    if problem:
        raise UnsupportedError(f"{type(module).__name__}: {why}: {problem}. {advice}")


def _merged(first: Any, *later: Any) -> Any:
    if type(first) is dict:  # masks by kind of layer
        return {key: _merged(first[key], *(item[key] for item in later)) for key in first}
    if not isinstance(first, torch.Tensor) or not all(isinstance(t, torch.Tensor) for t in later):
        return first
    values = [first, *later]
    queries = [axis for axis, size in enumerate(first.shape) if axis and size == 1]
    if first.dim() == 1 and len(first) == 1:
        queries = [0]  # cache_position
    if queries and all(value.shape == first.shape for value in values):
        return torch.cat(values, queries[-1])
    return values[-1]


def _emptied(value: Any) -> Any:
    if not tree.is_container(value):
        return value
    leaves, spec = tree.flatten(value, "leaf")
    lengths = _lengths(value)
    return spec.unflatten(
        [
            tensor[..., :0, :].clone() if id(tensor) in lengths else torch.zeros_like(tensor)
            for _, tensor in leaves
        ]
    )


def _lengths(value: Any) -> set[int]:
    """The ids of keys and values in whose axis -2 there is one row per token so far."""
    caches = [value, *vars(value).values()] if hasattr(value, "__dict__") else [value]
    layers = [layer for cache in caches for layer in getattr(cache, "layers", ())]
    tensors = [(layer, getattr(layer, name, None)) for layer in layers for name in _KEYS]
    return {
        id(tensor)
        for layer, tensor in tensors
        if isinstance(tensor, torch.Tensor)
        and tensor.dim() > 2
        and tensor.shape[-2] == int(layer.get_seq_length())
    }


def _run(module: torch.nn.Module, arguments: Arguments) -> Any:
    with undisturbed(module):
        return module(**copy.deepcopy(arguments))


def _last_logits_differ(actual: Any, expected: Any) -> str | None:
    ours, theirs = (getattr(output, "logits", None) for output in (actual, expected))
    if not isinstance(ours, torch.Tensor) or not isinstance(theirs, torch.Tensor):
        return "there are no logits to compare"
    return compare_tensors(ours[:, -1], theirs[:, -1], RUNTIME_TOLERANCE)


def _refusal(module: torch.nn.Module, why: str) -> str:
    return (
        f"{type(module).__name__} does not take several tokens after others ({why}). Leave "
        "multi_token_decode and merge_decode out"
    )
