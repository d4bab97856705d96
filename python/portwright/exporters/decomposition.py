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
from portwright.exporters.merging import check_empty_past, merged_decode
from portwright.exporters.recording import Call, recorded, undisturbed

Component = tuple[torch.nn.Module, dict[str, Any]]
Components = dict[str, Component]

_MODALITIES = ("image", "audio")
# Projectors have no accessor; these are the names that models agree on.
_PROJECTORS = ("multi_modal_projector", "connector", "embed_vision", "embed_audio")
_HEADS = ("lm_head",)


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
    return _Generation(model, inputs, generation_config, multi_token_decode).stages()


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
    parts = _multimodal_parts(model)
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
    return _first_calls(parts, calls)


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

    Raises:
        See `decompose_prefill_decode`, and UnsupportedError: the first step of the model is not
        its decode step with an empty past, so that they cannot be merged.
    """
    generation = _Generation(model, inputs, generation_config, multi_token_decode, merge_decode)
    stages = generation.stages()
    prefill_module, prefill_inputs = stages["prefill"]
    if is_multimodal(prefill_module):
        parts = decompose_multimodal(prefill_module, prefill_inputs)
        components = _ordered(generation.outside_forward() | parts) | {"decode": stages["decode"]}
    else:
        components = generation.outside_forward() | stages
    if merge_decode:
        components.pop("prefill", None)
    return components


def is_multimodal(model: torch.nn.Module) -> bool:
    """Whether the model has an encoder of images or sounds, and a language model."""
    return bool(_multimodal_parts(model))


def _multimodal_parts(model: Any) -> dict[str, torch.nn.Module]:
    """The parts by component name; empty unless there is an encoder and a language model."""
    encoders = _modal_encoders(model)
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else None
    if not encoders or decoder is None or decoder is model:
        return {}
    parts = encoders | _named_parts(model, _PROJECTORS)
    return parts | {"language_model": decoder} | _named_parts(model, _HEADS)


def _modal_encoders(model: Any) -> dict[str, torch.nn.Module]:
    if not hasattr(model, "get_encoder"):
        return {}
    # get_encoder gives the model itself where it finds none, None for a tower that is left out, and
    # in text models with an encoder the same one whatever it is asked for.
    found = {
        f"{modality}_encoder": model.get_encoder(modality=modality) for modality in _MODALITIES
    }
    encoders = list(found.values())
    return {
        name: encoder
        for name, encoder in found.items()
        if encoder is not None and encoder is not model and encoders.count(encoder) == 1
    }


def _named_parts(model: torch.nn.Module, names: tuple[str, ...]) -> dict[str, torch.nn.Module]:
    base = getattr(model, "base_model", model)
    found = {name: getattr(model, name, None) or getattr(base, name, None) for name in names}
    return {name: part for name, part in found.items() if part is not None}


def _first_calls(parts: Mapping[str, torch.nn.Module], calls: list[Call]) -> Components:
    """By part the inputs of its first call; parts that were not called are left out."""
    return {
        name: next((call.module, call.arguments) for call in calls if call.module is module)
        for name, module in parts.items()
        if any(call.module is module for call in calls)
    }


def _ordered(components: Components) -> Components:
    encoders = tuple(f"{modality}_encoder" for modality in _MODALITIES)
    names = ("encoder", *encoders, *_PROJECTORS, "language_model", *_HEADS)
    return {name: components[name] for name in names if name in components}


class _Generation:
    """A recorded run of generate()."""

    def __init__(
        self,
        model: Any,
        inputs: Mapping[str, Any],
        generation_config: Any,
        multi_token_decode: bool,
        merge_decode: bool = False,
    ) -> None:
        if not getattr(model, "can_generate", lambda: False)():
            raise InvalidArgumentError(
                f"{type(model).__name__} cannot generate: use a class with a language-modeling "
                "head, for example one that AutoModelForCausalLM gives"
            )
        self._model = model
        self._multi_token = multi_token_decode or merge_decode
        self._merge = merge_decode
        # One step is left out before those of decode: an encoder-decoder model's first has a past
        # of one token, which broadcasts to any length and so would hide what depends on it.
        self._steps = 4 if self._multi_token else 3
        self._parts = self._encoders()
        self._calls = self._run(inputs, generation_config, [model])
        self._module = model
        if len(self._calls_of(model)) < self._steps:
            # generate() hands over to a part of the model, as that of BLIP-2 does.
            inner = [m for m in model.modules() if m is not model and hasattr(m, "can_generate")]
            self._calls = self._run(inputs, generation_config, inner)
            self._module = self._outermost(inner)

    def stages(self) -> Components:
        """The first step, and one after it."""
        first, _, *later = [call.arguments for call in self._calls_of(self._module)]
        decode = merged_decode(self._module, later[:2]) if self._multi_token else later[0]
        if self._merge:
            check_empty_past(self._module, first, decode)
        return {"prefill": (self._module, first), "decode": (self._module, decode)}

    def outside_forward(self) -> Components:
        """Encoders that generate() runs itself before the first step, and their inputs."""
        first = next(i for i, call in enumerate(self._calls) if call.module is self._module)
        return _first_calls(self._parts, self._calls[:first])

    def _encoders(self) -> dict[str, Any]:
        parts: dict[str, Any] = _modal_encoders(self._model) | _named_parts(
            self._model, _PROJECTORS
        )
        encoder = self._model.get_encoder() if self._model.config.is_encoder_decoder else None
        if encoder not in (None, self._model, *parts.values()):
            parts["encoder"] = encoder
        return parts

    def _calls_of(self, module: torch.nn.Module) -> list[Call]:
        return [call for call in self._calls if call.module is module]

    def _run(
        self, inputs: Mapping[str, Any], generation_config: Any, watched: list[torch.nn.Module]
    ) -> list[Call]:
        model = self._model
        config = copy.deepcopy(
            model.generation_config if generation_config is None else generation_config
        )
        config.max_new_tokens = config.min_new_tokens = self._steps
        config.max_length = config.min_length = None
        given = {name: value for name, value in inputs.items() if name not in _LENGTHS}
        modules = {id(m): m for m in (*watched, *self._parts.values())}
        try:
            with undisturbed(model), recorded(modules.values()) as calls:
                model.generate(**copy.deepcopy(given), generation_config=config)
        except UnsupportedError:
            raise
        except Exception as error:
            raise RuntimeError(
                f"{type(model).__name__}.generate() failed on the inputs {', '.join(inputs)}: "
                f"{error}. They must be what generate() takes"
            ) from error
        return calls

    def _outermost(self, inner: list[torch.nn.Module]) -> torch.nn.Module:
        for module in inner:
            if len(self._calls_of(module)) >= self._steps:
                return module
        counts = {type(m).__name__: len(self._calls_of(m)) for m in (self._model, *inner)}
        raise UnsupportedError(
            f"generate() of {type(self._model).__name__} calls no model's forward once per token "
            f"(for {self._steps} tokens it called {counts}), so there are no prefill and decode "
            "steps. Export the modules that it calls by themselves"
        )


# Lengths that the caller may have among generate's arguments; the recording sets its own.
_LENGTHS = ("max_new_tokens", "min_new_tokens", "max_length", "min_length")
