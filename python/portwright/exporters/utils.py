"""Preparation of models and inputs, as the Transformers exporters page describes it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, MutableMapping
from typing import Any

import torch

from portwright import tree
from portwright.errors import InvalidArgumentError, UnsupportedError
from portwright.exporters.decomposition import (
    decompose_for_generation,
    decompose_multimodal,
    decompose_prefill_decode,
    is_multimodal,
)
from portwright.exporters.fx_fixes import (
    _FX_NODE_FIXES,
    _FX_PROGRAM_FIXES,
    apply_fx_node_fixes,
    apply_fx_program_fixes,
    register_fx_node_fix,
    register_fx_program_fix,
)
from portwright.exporters.merging import empty_past
from portwright.exporters.model_state import (
    _STATEFUL_CACHE_ATTRS,
    patch_forward_signature,
    reset_model_state,
)
from portwright.exporters.patching import _PATCHES, apply_patches, register_patch
from portwright.exporters.preparers import register_export_input_preparer, run_preparers
from portwright.pytrees import register_cache_pytrees_for_model
from portwright.sample_inputs import cast_inputs

__all__ = [
    "_FX_NODE_FIXES",
    "_FX_PROGRAM_FIXES",
    "_PATCHES",
    "_STATEFUL_CACHE_ATTRS",
    "apply_fx_node_fixes",
    "apply_fx_program_fixes",
    "apply_patches",
    "decompose_for_generation",
    "decompose_multimodal",
    "decompose_prefill_decode",
    "empty_past",
    "get_auto_dynamic_shapes",
    "get_leaf_tensors",
    "is_multimodal",
    "patch_forward_signature",
    "patch_model_config",
    "prepare_for_export",
    "register_cache_pytrees_for_model",
    "register_export_input_preparer",
    "register_fx_node_fix",
    "register_fx_program_fix",
    "register_patch",
    "reset_model_state",
]

_LABELS = ("labels", "future_values", "return_loss")
_OUTPUT_FLAGS = ("use_cache", "return_dict", "output_attentions", "output_hidden_states")
_UNCAPTURABLE_ATTENTION = ("flash", "flex")


def get_leaf_tensors(obj: Any) -> dict[str, torch.Tensor]:
    """All tensors of a nested structure (containers, ModelOutputs, caches), by dotted name."""
    return dict(tree.flatten(obj)[0])


def get_auto_dynamic_shapes(inputs: Any) -> Any:
    """`Dim.AUTO` for every dim of every tensor, in the structure that `dynamic_shapes` takes.

    Lists, tuples and dicts keep their structure, caches and other containers become a list with
    one entry per tensor, numbers, strings and None become None.
    """
    if isinstance(inputs, torch.Tensor):
        return dict.fromkeys(range(inputs.dim()), torch.export.Dim.AUTO)
    if type(inputs) in (list, tuple):
        return type(inputs)(get_auto_dynamic_shapes(item) for item in inputs)
    if type(inputs) is dict:
        return {name: get_auto_dynamic_shapes(value) for name, value in inputs.items()}
    leaves = get_leaf_tensors(inputs)
    return [get_auto_dynamic_shapes(tensor) for tensor in leaves.values()] if leaves else None


def prepare_for_export(
    model: torch.nn.Module, inputs: MutableMapping[str, Any]
) -> tuple[torch.nn.Module, MutableMapping[str, Any], dict[str, Any]]:
    """Checks and adjusts the inputs; changes `inputs` in place.

    Floating tensors are cast to the model's dtype and all tensors moved to its device; None values
    go; output flags (`use_cache`, `return_dict`, ...) are taken out; registered preparers run.

    `labels`, `future_values` and `return_loss` are refused, deliberately, whatever their value but
    None: each makes forward compute a loss, which is no part of an exported model. Taking them out
    silently would leave a caller who asked for a loss with a program that gives none.

    Returns:
        `(model, inputs, output_flags)`; the flags are for `patch_model_config`.

    Raises:
        InvalidArgumentError: (a ValueError) no inputs, inputs of the wrong type, or one of the
            three keys above among them; the message names the key.
        UnsupportedError: flash or flex attention is set on the model.
    """
    if not isinstance(model, torch.nn.Module):
        raise InvalidArgumentError(f"model must be a torch.nn.Module, not {type(model).__name__}")
    if not isinstance(inputs, MutableMapping) or not inputs:
        raise InvalidArgumentError(
            "sample_inputs must be a non-empty dict of forward's arguments by name, "
            'for example {"input_ids": ...}'
        )
    for name in _LABELS:
        if inputs.get(name) is not None:
            raise InvalidArgumentError(
                f"'{name}' in the sample inputs: a loss cannot be exported. Remove it"
            )
        inputs.pop(name, None)
    _refuse_attention(model)
    flags = {name: inputs.pop(name) for name in _OUTPUT_FLAGS if name in inputs}
    for name in [name for name, value in inputs.items() if value is None]:
        del inputs[name]
    run_preparers(model, inputs)
    cast_inputs(model, inputs)
    return model, inputs, flags


def _refuse_attention(model: torch.nn.Module) -> None:
    for path, module in model.named_modules():
        name = str(getattr(getattr(module, "config", None), "_attn_implementation", None) or "")
        if any(word in name for word in _UNCAPTURABLE_ATTENTION):
            raise UnsupportedError(
                f"{type(module).__name__}{f' at {path}' if path else ''} uses {name}, which cannot "
                'be exported: call model.set_attn_implementation("sdpa") (or "eager") before'
            )


@contextlib.contextmanager
def patch_model_config(model: torch.nn.Module, flags: dict[str, Any]) -> Iterator[None]:
    """Sets output flags on `model.config` for the duration of the block."""
    config = getattr(model, "config", None)
    if config is None:
        yield
        return
    missing = object()
    before = {name: getattr(config, name, missing) for name in flags}
    try:
        for name, value in flags.items():
            setattr(config, name, value)
        yield
    finally:
        for name, value in before.items():
            if value is missing:
                delattr(config, name)
            else:
                setattr(config, name, value)
