"""What an export changes on a model for its duration, and puts back."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import torch

# Attributes in which modules keep tensors of their last forward, outside of caches. A further name
# is appended: `_STATEFUL_CACHE_ATTRS.append("my_cached_table")`.
_STATEFUL_CACHE_ATTRS = ["cached_rotary_positional_embedding", "cached_sequence_length"]


@contextlib.contextmanager
def reset_model_state(model: torch.nn.Module) -> Iterator[None]:
    """Sets the attributes of `_STATEFUL_CACHE_ATTRS` to None on all submodules for the block, so
    that nothing of an earlier forward is traced; they are back afterwards, whatever is raised."""
    before = [
        (module, name, getattr(module, name))
        for module in model.modules()
        for name in _STATEFUL_CACHE_ATTRS
        if hasattr(module, name)
    ]
    try:
        for module, name, _ in before:
            setattr(module, name, None)
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


@contextlib.contextmanager
def patch_forward_signature(model: torch.nn.Module, inputs: Mapping[str, Any]) -> Iterator[None]:
    """Gives `model.forward` one explicit parameter per input for the block, in the inputs' order,
    instead of `**kwargs`; tools that read signatures name the inputs by it."""
    own = "forward" in vars(model)
    original = model.forward
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    signature = inspect.Signature([inspect.Parameter(name, kind) for name in inputs])

    def forward(*args: Any, **kwargs: Any) -> Any:
        return original(**signature.bind(*args, **kwargs).arguments)

    forward.__signature__ = signature  # type: ignore[attr-defined]
    try:
        model.forward = forward
        yield
    finally:
        if own:
            model.forward = original
        else:
            del model.forward
