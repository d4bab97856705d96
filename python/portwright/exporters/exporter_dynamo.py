"""DynamoExporter: a model captured as a program that runs without the model's Python code."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any, ClassVar

import torch

import portwright.patches  # noqa: F401  registers the built-in patches
from portwright import _core, tree
from portwright.capture import CapturedProgram, capture
from portwright.exporters.base import HfExporter, logger
from portwright.exporters.configs import DynamoConfig
from portwright.exporters.model_state import reset_model_state
from portwright.exporters.patching import apply_patches
from portwright.exporters.utils import patch_model_config, prepare_for_export


class ExportedProgram:
    """A captured model."""

    def __init__(self, captured: CapturedProgram) -> None:
        self._captured = captured

    def module(self) -> Callable[..., Any]:
        """A callable that takes the model's keyword arguments and gives its outputs."""
        return ProgramModule(self._captured)

    @property
    def captured(self) -> CapturedProgram:
        """The capture behind this program."""
        return self._captured

    @property
    def program(self) -> _core.Program:
        """The engine's Program; `program.text()` prints it."""
        return self._captured.program

    @property
    def notes(self) -> list[str]:
        """What the capture narrowed or fixed, each with the model's source line."""
        return self._captured.notes

    def __str__(self) -> str:
        return str(self.program.text())


class ProgramModule(torch.nn.Module):
    """Runs a captured program in the C++ interpreter."""

    def __init__(self, captured: CapturedProgram) -> None:
        super().__init__()
        self._captured = captured

    def forward(self, **inputs: Any) -> Any:
        """The model's outputs for these inputs; arguments that are no tensors are as captured."""
        return self._captured.run(inputs)


class DynamoExporter(HfExporter):
    """Captures a model.

    >>> exported = DynamoExporter().export(model, inputs, config=DynamoConfig(dynamic=True))
    >>> outputs = exported.module()(**inputs)
    """

    config_class = DynamoConfig
    # Whether the format has loops (`portwright.loop`); without, they are unrolled and said.
    has_loops: ClassVar[bool] = True

    def export(
        self,
        model: torch.nn.Module,
        sample_inputs: MutableMapping[str, Any],
        config: DynamoConfig | dict[str, Any] | None = None,
    ) -> Any:
        """Captures `model(**sample_inputs)`; neither the model nor the inputs are changed.

        Raises:
            PortwrightError: see `portwright.capture.capture`, `prepare_for_export`.
        """
        return ExportedProgram(self._capture(model, sample_inputs, self._config(config)))

    def _capture(
        self, model: torch.nn.Module, sample_inputs: MutableMapping[str, Any], config: DynamoConfig
    ) -> CapturedProgram:
        inputs: Any = sample_inputs
        if hasattr(sample_inputs, "items"):
            inputs = {name: _fresh(value) for name, value in sample_inputs.items()}
        model, inputs, flags = prepare_for_export(model, inputs)
        with patch_model_config(model, flags), apply_patches("dynamo"), reset_model_state(model):
            captured = capture(
                model,
                dict(inputs),
                loops=self.has_loops,
                dynamic=config.dynamic,
                dynamic_shapes=config.dynamic_shapes,
                prefer_deferred_runtime_asserts_over_guards=(
                    config.prefer_deferred_runtime_asserts_over_guards
                ),
            )
        for note in captured.notes:
            logger.info("%s", note)
        return captured


def _fresh(value: Any) -> Any:
    """The same tensors in containers of their own: forward writes to the caches it is given."""
    leaves, spec = tree.flatten(value)
    return spec.unflatten([tensor for _, tensor in leaves])
