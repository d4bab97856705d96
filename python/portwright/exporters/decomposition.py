"""Generative and multimodal models taken apart into modules that are exported one by one.

Nothing here knows an architecture: `generate()` runs on the caller's inputs, and what it hands to
the modules is recorded.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch

from portwright.errors import InvalidArgumentError, UnsupportedError
from portwright.exporters.parts import Components, first_calls, multimodal_parts, ordered
from portwright.exporters.recording import recorded, undisturbed
from portwright.exporters.steps import Generation


def decompose_prefill_decode(
    model: torch.nn.Module,
    inputs: Mapping[str, Any],
    generation_config: Any = None,
    multi_token_decode: bool = False,
) -> Components:
    """Runs `model.generate()` for a few tokens and gives what it calls forward with.

    Args:
        model: a Transformers model that can generate.
        inputs: what `model.generate(**inputs)` takes. Small but representative: it runs eagerly.
        generation_config: for `generate()` instead of the model's own; with
            `cache_implementation="static"` the decode step takes a cache of fixed size.
        multi_token_decode: the decode step has two tokens, so that its query axis is dynamic.

    Returns:
        `{"prefill": (module, inputs), "decode": (module, inputs)}`. The module is the model, or
        the part of it whose forward generate() calls for each token. The inputs are copies.

    Raises:
        InvalidArgumentError: the model cannot generate.
        UnsupportedError: generate() calls no forward once per token; or the model does not take
            two tokens at once.
        RuntimeError: generate() failed; its own error is the cause.
    """
    return Generation(model, inputs, generation_config, multi_token_decode).stages()


def decompose_multimodal(model: torch.nn.Module, inputs: Mapping[str, Any]) -> Components:
    """Runs `model(**inputs)` and gives what it calls its encoders, projectors, language model and
    lm_head with.

    Merging the encoders' results into the text's embeddings is the caller's.

    Args:
        model: a multimodal Transformers model.
        inputs: forward's arguments.

    Returns:
        `{name: (module, inputs)}` with those of image_encoder, audio_encoder,
        multi_modal_projector, connector, embed_vision, embed_audio, language_model and lm_head
        that the model has and that this call runs.

    Raises:
        ValueError: the model has no encoder of images or sounds, or no language model.
        RuntimeError: forward failed; its own error is the cause.
    """
    parts = multimodal_parts(model)
    if not parts:
        raise InvalidArgumentError(
            f"{type(model).__name__} has no multimodal parts: an image or audio encoder "
            "(get_encoder(modality=...)) and a language model (get_decoder()) are needed. Use "
            "decompose_prefill_decode, or export the model whole"
        )
    try:
        with undisturbed(model), recorded(parts.values()) as calls:
            model(**copy.deepcopy(dict(inputs)))
    except UnsupportedError:
        raise
    except Exception as error:
        raise RuntimeError(
            f"{type(model).__name__}.forward failed on the inputs {', '.join(inputs)}: {error}"
        ) from error
    return first_calls(parts, calls)


def decompose_for_generation(
    model: torch.nn.Module,
    inputs: Mapping[str, Any],
    generation_config: Any = None,
    multi_token_decode: bool = False,
    merge_decode: bool = False,
) -> Components:
    """Takes a generative model apart into modules that can be exported one by one.

    Args:
        model: a Transformers model that can generate.
        inputs: what `model.generate(**inputs)` takes.
        generation_config: see `decompose_prefill_decode`.
        multi_token_decode: see `decompose_prefill_decode`.
        merge_decode: one module for both steps, "decode": it takes any number of tokens and a past
            of any length, also none (see `empty_past`); there is no "prefill" then.

    Returns:
        `{name: (module, inputs)}`: "prefill" and "decode", and "encoder" where generate() runs one
        before; of multimodal models those of `decompose_multimodal` instead of "prefill".
        Where a step leaves something for the next one outside of forward's result, its module is a
        `WithKeptState` around the model, and what it reads of that the input "kept_state".

    Raises:
        See `decompose_prefill_decode`, and UnsupportedError: the first step of the model is not
        its decode step with an empty past, so that they cannot be merged.
    """
    generation = Generation(model, inputs, generation_config, multi_token_decode, merge_decode)
    stages = generation.stages()
    if is_multimodal(generation.module):
        parts = decompose_multimodal(generation.module, generation.first_inputs())
        _refuse_state_of(parts, generation)
        components = ordered(parts | generation.outside_forward()) | {"decode": stages["decode"]}
    else:
        components = generation.outside_forward() | stages
    if merge_decode:
        components.pop("prefill", None)
    return components


def is_multimodal(model: torch.nn.Module) -> bool:
    """Whether the model has an encoder of images or sounds, and a language model."""
    return bool(multimodal_parts(model))


def _refuse_state_of(parts: Components, generation: Generation) -> None:
    """A part's program has no place for what its modules leave for the decode step."""
    paths = {id(module): path for path, module in generation.module.named_modules()}
    for name, (part, _) in parts.items():
        kept = [n for n in generation.state if n.startswith(paths.get(id(part), name) + ".")]
        if kept:
            raise UnsupportedError(
                f"'{name}' keeps state for the decode step in {', '.join(sorted(kept))}, which the "
                "parts of a multimodal model do not hand on. Export what "
                "decompose_prefill_decode(model, inputs) gives"
            )
