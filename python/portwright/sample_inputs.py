"""Sample inputs: from forward's signature and config, for the command line; cast to a model."""

from __future__ import annotations

import inspect
from collections.abc import Callable, MutableMapping
from typing import Any

import torch

from portwright import tree
from portwright.errors import InvalidArgumentError

BATCH, LENGTH = 2, 8


def sample_inputs(model: Any, dynamic: bool) -> dict[str, Any]:
    """Small random inputs that `model` accepts.

    Args:
        model: a Transformers model.
        dynamic: for image models, asks for interpolated position embeddings where forward can.

    Raises:
        InvalidArgumentError: the main input is of a kind that is not known here.
    """
    main = getattr(model, "main_input_name", "input_ids")
    if main not in _MAKERS:
        raise InvalidArgumentError(
            f"no sample inputs are known for '{main}' of {type(model).__name__}: use the "
            "Python API, OnnxExporter().export(model, inputs)"
        )
    parameters = inspect.signature(model.forward).parameters
    inputs: dict[str, Any] = {main: _MAKERS[main](model.config)}
    if main == "input_ids" and "attention_mask" in parameters:
        inputs["attention_mask"] = torch.ones(BATCH, LENGTH, dtype=torch.int64)
    if getattr(model.config, "is_encoder_decoder", False) and "decoder_input_ids" in parameters:
        inputs["decoder_input_ids"] = _ids(model.config)
    if dynamic and main == "pixel_values" and "interpolate_pos_encoding" in parameters:
        inputs["interpolate_pos_encoding"] = True
    return inputs


def cast_inputs(model: torch.nn.Module, inputs: MutableMapping[str, Any]) -> None:
    """Brings tensors to the model's device, floating ones to its dtype; changes `inputs`."""
    parameter = next(model.parameters(), None)
    if parameter is None:
        return
    dtype = getattr(model, "dtype", parameter.dtype)

    def fitted(tensor: torch.Tensor) -> torch.Tensor:
        target = dtype if tensor.is_floating_point() else tensor.dtype
        return tensor.to(device=parameter.device, dtype=target)

    for name, value in inputs.items():
        leaves, spec = tree.flatten(value)
        if any(
            t.device != parameter.device or (t.is_floating_point() and t.dtype != dtype)
            for _, t in leaves
        ):
            inputs[name] = spec.unflatten([fitted(tensor) for _, tensor in leaves])


def _ids(config: Any) -> torch.Tensor:
    text = config.get_text_config()
    return torch.randint(3, text.vocab_size, (BATCH, LENGTH))


def _pixels(config: Any) -> torch.Tensor:
    size = getattr(config, "image_size", 224)
    height, width = size if isinstance(size, (list, tuple)) else (size, size)
    return torch.randn(BATCH, getattr(config, "num_channels", 3), height, width)


def _features(config: Any) -> torch.Tensor:
    return torch.randn(BATCH, config.num_mel_bins, 2 * config.max_source_positions)


_MAKERS: dict[str, Callable[[Any], torch.Tensor]] = {
    "input_ids": _ids,
    "pixel_values": _pixels,
    "input_features": _features,
    "input_values": lambda config: torch.randn(BATCH, 16000),
}


def padded(inputs: dict[str, Any]) -> dict[str, Any] | None:
    """The inputs with padding on the left in one row and on the right in another.

    None where there is no 2-D attention mask of ones with room for it.
    """
    mask = inputs.get("attention_mask")
    if not isinstance(mask, torch.Tensor) or mask.dim() != 2:
        return None
    rows, columns = mask.shape
    if rows < 2 or columns < 5 or not bool((mask == 1).all()):
        return None
    mask = mask.clone()
    mask[0, :2] = 0
    mask[1, columns - 3 : columns - 1] = 0
    mask[1, -1] = 0 if mask.shape == inputs.get("input_ids", mask).shape else 1
    return {**inputs, "attention_mask": mask}
