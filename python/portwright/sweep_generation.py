"""The stage "generation" of a sweep: exported components beside the model's own generate()."""

from __future__ import annotations

import contextlib
from typing import Any

import torch

from portwright.errors import PortwrightError
from portwright.failures import described
from portwright.verify_generation import greedy, verify_generation

# What the zoo puts among generate's arguments; the comparison sets its own.
_SETTINGS = ("max_new_tokens", "do_sample")


def generation_row(zoo: Any, case: str, model: Any, dynamic: bool) -> dict[str, Any]:
    """Exports the components and generates with them, two texts, one with padding on the left.

    Args:
        zoo: module with `generate_inputs(case, model)`.
        case: the case's id.
        model: the case's model.
        dynamic: every dim dynamic; a static decode could not take a growing past.

    Returns:
        `status`, `reason`, `detail` as `sweep_worker.run_case`; `components` and `export_s`.
    """
    from portwright.exporters import DynamoExporter

    row: dict[str, Any] = {"status": "wrong"}
    try:
        inputs = _inputs(zoo, case, model)
    except Exception as error:
        return {**row, "reason": "eager cannot generate", "detail": described(error)}
    try:
        result = verify_generation(DynamoExporter(), model, inputs, {"dynamic": dynamic})
    except PortwrightError as error:
        return {**row, "reason": type(error).__name__, "detail": described(error)}
    except Exception as error:
        return {**row, "reason": f"raised {type(error).__name__}", "detail": described(error)}
    row |= {"components": result.components, "export_s": round(result.export_s, 4)}
    if result.problem:
        return {**row, "reason": "differs", "detail": result.problem}
    return {**row, "status": "right", "reason": "", "detail": ""}


def _inputs(zoo: Any, case: str, model: Any) -> dict[str, Any]:
    """The zoo's inputs that generate() takes, padded where it takes that too."""
    if model.config.is_encoder_decoder and model.generation_config.decoder_start_token_id is None:
        model.generation_config.decoder_start_token_id = 5
    given = zoo.generate_inputs(case, model)
    if given is None:
        raise ValueError(f"{type(model).__name__} has no generate()")
    inputs = {name: value for name, value in given.items() if name not in _SETTINGS}
    mask = inputs.get("attention_mask")
    if isinstance(mask, torch.Tensor) and mask.dim() == 2:
        padded = mask.clone()
        padded[0, :2] = 0
        with contextlib.suppress(Exception):
            greedy(model, inputs | {"attention_mask": padded})
            return inputs | {"attention_mask": padded}
    greedy(model, inputs)
    return inputs
