"""The parts of multimodal models: encoders, projectors, the language model, lm_head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from portwright import tree
from portwright.exporters.recording import Call

Component = tuple[torch.nn.Module, dict[str, Any]]
Components = dict[str, Component]

_MODALITIES = ("image", "audio")
# Projectors have no accessor; these are the names that models agree on.
PROJECTORS = ("multi_modal_projector", "connector", "embed_vision", "embed_audio")
_HEADS = ("lm_head",)


def multimodal_parts(model: Any) -> dict[str, torch.nn.Module]:
    """The parts by component name; empty unless there is an encoder and a language model."""
    encoders = modal_encoders(model)
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else None
    if not encoders or decoder is None or decoder is model:
        return {}
    parts = encoders | named_parts(model, PROJECTORS)
    return parts | {"language_model": decoder} | named_parts(model, _HEADS)


def modal_encoders(model: Any) -> dict[str, torch.nn.Module]:
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


def named_parts(model: torch.nn.Module, names: tuple[str, ...]) -> dict[str, torch.nn.Module]:
    base = getattr(model, "base_model", model)
    found = {name: getattr(model, name, None) or getattr(base, name, None) for name in names}
    return {name: part for name, part in found.items() if part is not None}


def first_calls(parts: Mapping[str, torch.nn.Module], calls: list[Call]) -> Components:
    """By part the inputs of its first call with numbers, which features are, or else of its first
    (some projectors embed ids too); parts that were not called are left out."""
    found: Components = {}
    for name, module in parts.items():
        own = [call.arguments for call in calls if call.module is module]
        if own:
            found[name] = (module, next(filter(_has_floats, own), own[0]))
    return found


def _has_floats(arguments: dict[str, Any]) -> bool:
    return any(tensor.is_floating_point() for _, tensor in tree.flatten(arguments)[0])


def ordered(components: Components) -> Components:
    encoders = tuple(f"{modality}_encoder" for modality in _MODALITIES)
    names = ("encoder", *encoders, *PROJECTORS, "language_model", *_HEADS)
    return {name: components[name] for name in names if name in components}
