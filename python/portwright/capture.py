"""Capture: from a model and sample inputs to a Program, traced in C++.

The work happens in `portwright._core.Tracer`; this module gives it the module names, the weights
and the symbols of the dynamic dims. `portwright.stage` sets the stage and puts everything back.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch.export import Dim

from portwright import _core, failures, guard_reports, lazy_lists, tree
from portwright.dim_specs import Specs, number_notes, specs_by_leaf
from portwright.dims import DimTable, has_small_automatic_dims
from portwright.reproducer import Reproducer
from portwright.stage import staged, tracing, unchanged

# torch's export flags and nn.Module.__call__ are process-wide, so captures take turns.
CAPTURE_LOCK = threading.RLock()
_CATALOG = _core.OpCatalog()

_LIBRARY_ROOTS = [
    os.path.dirname(os.path.abspath(torch.__file__)) + os.sep,
    os.path.dirname(os.path.abspath(__file__)) + os.sep,
]


@dataclass
class CapturedProgram:
    """A captured model: the Program, the structure of its inputs and outputs, and the sample."""

    program: _core.Program
    input_tree: tree.TreeSpec
    output_tree: tree.TreeSpec
    input_names: list[str]
    output_names: list[str]
    notes: list[str] = field(default_factory=list)
    sample_inputs: dict[str, Any] = field(default_factory=dict)
    _interpreter: _core.Interpreter | None = None

    def run(self, inputs: dict[str, Any]) -> Any:
        """Runs the program on real tensors and rebuilds the model's output structure.

        Args:
            inputs: the keyword arguments of the model's forward, structured as at capture.

        Raises:
            GuardViolatedError: an input has a size that the program was not captured for.
            InvalidArgumentError: an input is missing, unexpected, or of another rank or dtype.
        """
        leaves = tree.match(self.input_tree, inputs)
        outputs, symbols = self.interpreter.run_with_symbols(leaves)
        return self.output_tree.unflatten(
            outputs, lambda number: _core.value_of_number(number.node, symbols)
        )

    @property
    def interpreter(self) -> _core.Interpreter:
        """Runs the program; made when it is first asked for."""
        if self._interpreter is None:
            self._interpreter = _core.Interpreter(self.program)
        return self._interpreter


class Decompositions(NamedTuple):
    """Operators that are recorded as they are, and what others are made of.

    Names are those of torch.export ("aten.logaddexp.default"). `find` gives a function of the
    schema's operands that returns the tuple of results or NotImplemented, or None.
    """

    kept: frozenset[str]
    find: Callable[[str], Callable[..., Any] | None]


def capture(
    model: torch.nn.Module,
    inputs: dict[str, Any],
    *,
    dynamic: bool = False,
    dynamic_shapes: dict[str, Any] | None = None,
    prefer_deferred_runtime_asserts_over_guards: bool = False,
    extra_kwargs: dict[str, Any] | None = None,
    loops: bool = True,
    decompositions: Decompositions | None = None,
    reproducer: str | os.PathLike[str] | None = None,
) -> CapturedProgram:
    """Traces `model(**inputs, **extra_kwargs)`.

    Args:
        model: any module. Traced in eval mode; put back afterwards.
        inputs: sample inputs by forward's argument names; tensors, or containers of tensors.
        dynamic: every dim of every tensor is `Dim.AUTO`, unless `dynamic_shapes` is given.
        dynamic_shapes: per input, as `torch.export.export` takes it: see `dim_specs`.
        prefer_deferred_runtime_asserts_over_guards: a condition that narrows an explicit
            `Dim(min, max)` is checked when the program runs instead of being an error now.
        loops: a Python loop whose number of rounds is a symbol may become a loop node. Without,
            it is unrolled, which fixes the number.
        decompositions: what operators that a backend does not have are traced through.
        extra_kwargs: further arguments of forward that are no inputs (`use_cache=False`).
        reproducer: a directory; a failure writes the graph up to it there, as `<class>.ir`, which
            `Program.parse` reads. None is the environment variable PORTWRIGHT_REPRODUCER.

    What forward itself raises comes through as it is, with a note that says where in the model.

    Raises:
        GuardViolatedError: the model narrows an explicit Dim; names the dim, guard and line, and
            suggests Dims that fit.
        DataDependentError: the model reads a float out of a tensor, or compares tensors by value
            in a way that no guard can state.
        UnsupportedError: the model does something that cannot be captured; names the line.
    """
    record = Reproducer(reproducer, model, inputs)
    specs = _specs(model, inputs, dynamic, dynamic_shapes)
    attempt = functools.partial(
        _attempt,
        record,
        model,
        inputs,
        specs,
        prefer_deferred_runtime_asserts_over_guards,
        extra_kwargs or {},
        decompositions,
    )
    with CAPTURE_LOCK, staged(model):
        paths = {id(module): path for path, module in model.named_modules()}
        try:
            try:
                return _unrolling_as_needed(functools.partial(attempt, None), loops)
            except Exception as error:
                # What works because a size is 0 or 1 fails with a symbol for it.
                if not has_small_automatic_dims(tree.flatten(inputs)[0], specs):
                    raise
                failure = failures.explained(error, paths, _LIBRARY_ROOTS)
                fix_small = " ".join(str(failure).split()) or type(failure).__name__
            return _unrolling_as_needed(functools.partial(attempt, fix_small), loops)
        except Exception as error:
            failure = failures.explained(error, paths, _LIBRARY_ROOTS)
            record.write(failure)
            if failure is error:
                raise
            raise failure from error


class _WrittenTooLateError(Exception):
    """Weights that the model wrote to after results of calls on them had become constants."""

    def __init__(self, weights: frozenset[str]) -> None:
        super().__init__()
        self.weights = weights


def _unrolling_as_needed(
    attempt: Callable[[frozenset[str], lazy_lists.Scope], CapturedProgram], loops: bool
) -> CapturedProgram:
    """The first attempt that succeeds; each unrolls the loops that stood in the last one's way, and
    traces the weights that it found to be written to from the start."""
    unrolled: frozenset[lazy_lists.Way] = frozenset()
    traced: frozenset[str] = frozenset()
    while True:
        with lazy_lists.scope(unrolled, loops) as lists:
            try:
                return attempt(traced, lists)
            except _WrittenTooLateError as found:
                traced |= found.weights
            except Exception as error:
                if lists.stood_for <= unrolled:
                    raise
                unrolled |= lists.culprits(error)


def _attempt(
    record: Reproducer,
    model: torch.nn.Module,
    inputs: dict[str, Any],
    specs: Specs,
    prefer_deferred_runtime_asserts_over_guards: bool,
    extra_kwargs: dict[str, Any],
    decompositions: Decompositions | None,
    fix_small: str | None,
    written: frozenset[str],
    lists: lazy_lists.Scope,
) -> CapturedProgram:
    leaves, input_tree = tree.flatten(inputs, "leaf")
    tracer = _core.Tracer(_CATALOG)
    record.watch(tracer)
    tracer.set_library_roots(_LIBRARY_ROOTS)
    _name_modules(tracer, model)
    tracer.set_weights(_weights(model))
    if decompositions is not None:
        tracer.set_decompositions(*decompositions)
    tensors = [leaf for leaf in leaves if leaf[0] not in input_tree.counts]
    dims = DimTable(tracer, tensors, specs, fix_small)
    traced = [tracer.add_input(name, tensor, dims.of(name)) for name, tensor in leaves]
    with unchanged(model), tracing(tracer, model):
        tracer.trace_weights(sorted(written))
        result = model(**input_tree.unflatten(traced), **extra_kwargs)
        lists.check_finished()
        if late := frozenset(tracer.written_too_late()) - written:
            raise _WrittenTooLateError(late)
        outputs, output_tree = tree.flatten(result)
        outputs = tree.output_names(outputs)
        program = tracer.finish(outputs)
    notes = dims.notes + guard_reports.notes(program)
    if any(specs.values()):
        notes += number_notes("", inputs)
    notes += guard_reports.check_explicit_dims(
        program, dims.must_vary, prefer_deferred_runtime_asserts_over_guards
    )
    return CapturedProgram(
        program,
        input_tree,
        output_tree,
        [name for name, _ in leaves],
        [name for name, _ in outputs],
        notes,
        inputs,
    )


def _specs(
    model: torch.nn.Module,
    inputs: dict[str, Any],
    dynamic: bool,
    dynamic_shapes: Any,
) -> Specs:
    leaves, input_tree = tree.flatten(inputs, "leaf")
    tensors = {name: tensor for name, tensor in leaves if name not in input_tree.counts}
    if dynamic_shapes is not None:
        return specs_by_leaf(model, inputs, tensors, dynamic_shapes)
    if not dynamic:
        return {name: {} for name in tensors}
    return {name: dict.fromkeys(range(tensor.dim()), Dim.AUTO) for name, tensor in tensors.items()}


def _name_modules(tracer: _core.Tracer, model: torch.nn.Module) -> None:
    for path, module in model.named_modules():
        tracer.name_module(module, path)


def _weights(model: torch.nn.Module) -> list[tuple[str, str, bool, torch.Tensor]]:
    found: list[tuple[str, str, bool, torch.Tensor]] = [
        ("parameter", name, True, parameter) for name, parameter in model.named_parameters()
    ]
    for prefix, module in model.named_modules():
        transient = module._non_persistent_buffers_set
        for name, buffer in module._buffers.items():
            if buffer is not None:
                target = f"{prefix}.{name}" if prefix else name
                found.append(("buffer", target, name not in transient, buffer))
    return found
