"""DynamoExporter: a model captured as a program that runs without the model's Python code."""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Iterator, MutableMapping
from typing import Any, ClassVar

import torch

import portwright.patches  # noqa: F401  registers the built-in patches
from portwright import tree
from portwright.capture import CapturedProgram, Decompositions, capture
from portwright.exporters.base import HfExporter, logger
from portwright.exporters.configs import DynamoConfig
from portwright.exporters.exported_program import ExportedProgram
from portwright.exporters.fx_fixes import node_fixes_again, with_fixes
from portwright.exporters.model_state import reset_model_state
from portwright.exporters.patching import apply_patches
from portwright.exporters.utils import (
    get_auto_dynamic_shapes,
    patch_model_config,
    prepare_for_export,
)
from portwright.strict_capture import capture_strictly


class DynamoExporter(HfExporter):
    """Captures a model.

    >>> exported = DynamoExporter().export(model, inputs, config=DynamoConfig(dynamic=True))
    >>> outputs = exported.module()(**inputs)
    """

    config_class = DynamoConfig
    # Whether the format has loops (`portwright.loop`); without, they are unrolled and said.
    has_loops: ClassVar[bool] = True
    # Whose patches apply while the model is traced.
    backends: ClassVar[tuple[str, ...]] = ("dynamo",)

    def export(
        self,
        model: torch.nn.Module,
        sample_inputs: MutableMapping[str, Any],
        config: DynamoConfig | dict[str, Any] | None = None,
    ) -> Any:
        """Captures `model(**sample_inputs)`; neither the model nor the inputs are changed.

        Returns:
            An `ExportedProgram`.

        Raises:
            PortwrightError: see `portwright.capture.capture`, `prepare_for_export`.
        """
        attempt = functools.partial(self._capture, model, sample_inputs, self._config(config))
        unrolled = functools.partial(attempt, loops=False)
        again = node_fixes_again(self.backends)
        return ExportedProgram(with_fixes(attempt(), self.backends, unrolled), unrolled, again)

    def _capture(
        self,
        model: torch.nn.Module,
        sample_inputs: MutableMapping[str, Any],
        config: DynamoConfig,
        *,
        loops: bool | None = None,
    ) -> CapturedProgram:
        inputs: Any = sample_inputs
        if hasattr(sample_inputs, "items"):
            inputs = {name: _fresh(value) for name, value in sample_inputs.items()}
        model, inputs, flags = prepare_for_export(model, inputs)
        with (
            patch_model_config(model, flags),
            self._patched(),
            reset_model_state(model),
        ):
            captured = self._trace(
                model, dict(inputs), config, self.has_loops if loops is None else loops
            )
        for note in captured.notes:
            logger.info("%s", note)
        return captured

    def _trace(
        self, model: torch.nn.Module, inputs: dict[str, Any], config: DynamoConfig, loops: bool
    ) -> CapturedProgram:
        deferred = config.prefer_deferred_runtime_asserts_over_guards
        if config.strict:
            shapes = config.dynamic_shapes
            if shapes is None and config.dynamic:
                shapes = get_auto_dynamic_shapes(inputs)
            return capture_strictly(
                model,
                inputs,
                dynamic_shapes=shapes,
                prefer_deferred_runtime_asserts_over_guards=deferred,
            )
        return capture(
            model,
            inputs,
            loops=loops,
            decompositions=self._decompositions(),
            dynamic=config.dynamic,
            dynamic_shapes=config.dynamic_shapes,
            prefer_deferred_runtime_asserts_over_guards=deferred,
        )

    def _decompositions(self) -> Decompositions | None:
        """What operators that the format does not have are traced through."""
        return None

    @contextlib.contextmanager
    def _patched(self) -> Iterator[None]:
        with contextlib.ExitStack() as patches:
            for backend in self.backends:
                patches.enter_context(apply_patches(backend))
            yield


def _fresh(value: Any) -> Any:
    """The same tensors in containers of their own: forward writes to the caches it is given, even
    to those that hold nothing yet."""
    tensors = {id(tensor): tensor for _, tensor in tree.flatten(value)[0]}
    return copy.deepcopy(value, tensors)
