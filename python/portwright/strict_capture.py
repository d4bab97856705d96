"""Capture by torch.export's strict mode, for `strict=True`: Dynamo reads the model's bytecode."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch.fx.experimental.symbolic_shapes import ConstraintViolationError

from portwright import _core, pytrees
from portwright.capture import CapturedProgram
from portwright.errors import GuardViolatedError, UnsupportedError
from portwright.stage import evaluated, swapped
from portwright.torch_import import import_program


def capture_strictly(
    model: torch.nn.Module,
    inputs: dict[str, Any],
    *,
    dynamic_shapes: dict[str, Any] | None,
    prefer_deferred_runtime_asserts_over_guards: bool,
) -> CapturedProgram:
    """`torch.export.export(model, (), inputs, strict=True)` as the engine's Program.

    Args:
        dynamic_shapes: as torch takes them; an input that they leave out is static.

    Raises:
        GuardViolatedError: the model narrows an explicit Dim.
        UnsupportedError: Dynamo cannot trace the model, or the engine cannot hold the program.
    """
    pytrees.register(inputs)
    if dynamic_shapes is not None:
        dynamic_shapes = {name: dynamic_shapes.get(name) for name in inputs}
    # Patches call them, and Dynamo cannot read C++.
    untraced = swapped(_core, {"is_traced": _never, "set_read_as_operator": _never})
    with evaluated(model), untraced, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            program = torch.export.export(
                model,
                (),
                inputs,
                dynamic_shapes=dynamic_shapes,
                strict=True,
                prefer_deferred_runtime_asserts_over_guards=(
                    prefer_deferred_runtime_asserts_over_guards
                ),
            )
        except ConstraintViolationError as error:
            raise GuardViolatedError(str(error)) from error
        except torch._dynamo.exc.TorchDynamoException as error:
            broken = torch._dynamo.exc.UserErrorType.CONSTRAINT_VIOLATION
            if getattr(error, "error_type", None) is broken:
                raise GuardViolatedError(str(error)) from error
            raise _untraceable(error) from error
        # Dynamo's own, for outputs that it cannot return.
        except (AssertionError, NotImplementedError) as error:
            raise _untraceable(error) from error
        try:
            return import_program(program, inputs)
        except UnsupportedError:  # writes through views, which torch makes functional
            return import_program(program.run_decompositions({}), inputs)


def _untraceable(error: Exception) -> UnsupportedError:
    return UnsupportedError(
        f"torch.export's strict mode cannot trace the model, strict=False may: {error}"
    )


def _never(value: Any) -> bool:
    return False
