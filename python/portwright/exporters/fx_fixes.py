"""The registries of fixes: edits of the captured program, in place, on a torch.fx view of it.

As the Transformers exporters page describes them: a node fix is `fix(gm, node) -> bool` (True: the
node is dealt with), a program fix is `fix(exported_program)`. The view is built only for a backend
that has fixes, and what they did to it is written back into the engine's Program.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch._guards import detect_fake_mode

from portwright import _core
from portwright.capture import CapturedProgram
from portwright.errors import InvalidArgumentError
from portwright.exporters.exported_program import ExportedProgram
from portwright.torch_import import import_program

NodeFix = Callable[[torch.fx.GraphModule, torch.fx.Node], bool]
ProgramFix = Callable[[torch.export.ExportedProgram], None]

_FX_NODE_FIXES: dict[str, list[NodeFix]] = {}
_FX_PROGRAM_FIXES: dict[str, list[ProgramFix]] = {}


def register_fx_node_fix(backend: str) -> Callable[[NodeFix], NodeFix]:
    """Registers `fix(gm, node) -> bool` for exports to `backend` ("dynamo": every export).

    It is called for each call_function node of the captured graph, and again for those that
    `run_decompositions()` of the exported program gives. It may edit the graph around the node, and
    returns True when the node needs no further fix.
    """

    def register(fix: NodeFix) -> NodeFix:
        _FX_NODE_FIXES.setdefault(backend, []).append(fix)
        return fix

    return register


def register_fx_program_fix(backend: str) -> Callable[[ProgramFix], ProgramFix]:
    """Registers `fix(exported_program)` for exports to `backend`, which runs before the node fixes:
    for edits that need the signature, the weights or the range constraints."""

    def register(fix: ProgramFix) -> ProgramFix:
        _FX_PROGRAM_FIXES.setdefault(backend, []).append(fix)
        return fix

    return register


def apply_fx_node_fixes(backend: str, graph_module: torch.fx.GraphModule) -> None:
    """Calls the node fixes of `backend` on each call_function node, the first that returns True
    being its last, removes the nodes that nothing uses any more, and recompiles."""
    _apply(tuple(_FX_NODE_FIXES.get(backend, ())), graph_module)


def _apply(fixes: Sequence[NodeFix], graph_module: torch.fx.GraphModule) -> None:
    for module in graph_module.modules():
        if not isinstance(module, torch.fx.GraphModule):
            continue
        for node in list(module.graph.nodes):
            if node.op == "call_function" and not node._erased:
                any(fix(module, node) for fix in fixes)
        module.graph.eliminate_dead_code()
        module.recompile()


def apply_fx_program_fixes(backend: str, exported_program: torch.export.ExportedProgram) -> None:
    """Calls the program fixes of `backend`."""
    for fix in tuple(_FX_PROGRAM_FIXES.get(backend, ())):
        fix(exported_program)


def node_fixes_again(backends: Sequence[str]) -> ProgramFix | None:
    """What runs the node fixes that the backends have now on a program whose operators torch has
    decomposed, for the nodes that it made; None where there are none.

    It raises InvalidArgumentError where they leave a program that torch's verifier refuses.
    """
    fixes = [tuple(_FX_NODE_FIXES.get(backend, ())) for backend in backends]

    def run(program: torch.export.ExportedProgram) -> None:
        for of_backend in fixes:
            _apply(of_backend, program.graph_module)
        complete(program)
        try:
            program.validate()  # type: ignore[no-untyped-call]
        except torch._export.verifier.SpecViolationError as error:
            raise InvalidArgumentError(
                f"the node fixes leave a decomposed program that torch refuses: {error}"
            ) from error

    return run if any(fixes) else None


def has_fixes(backends: Sequence[str]) -> bool:
    """Whether a fix is registered for one of the backends."""
    return any(_FX_PROGRAM_FIXES.get(name) or _FX_NODE_FIXES.get(name) for name in backends)


def with_fixes(
    captured: CapturedProgram,
    backends: Sequence[str],
    unrolled: Callable[[], CapturedProgram],
) -> CapturedProgram:
    """The capture after the fixes of the backends, in their order; itself when there are none.

    Args:
        unrolled: gives the same capture without loops, some of which FX graphs do not hold.

    Raises:
        InvalidArgumentError: the fixes leave a program that torch's verifier refuses.
    """
    if not has_fixes(backends):
        return captured
    if not _core.fits_pt2(captured.program):
        captured = unrolled()
    program = ExportedProgram(captured).as_torch_program()
    for backend in backends:
        apply_fx_program_fixes(backend, program)
        apply_fx_node_fixes(backend, program.graph_module)
    complete(program)
    return import_program(program, captured.sample_inputs, like=captured)


def complete(program: torch.export.ExportedProgram) -> None:
    """Fills in what fixes need not care for: types of the nodes that they added, and the names of
    outputs that other nodes make now."""
    nodes = list(program.graph.nodes)
    mode: Any = detect_fake_mode([node.meta.get("val") for node in nodes])
    for node in nodes:
        if node.op == "call_function" and "val" not in node.meta:
            args, kwargs = torch.fx.map_arg((node.args, node.kwargs), _value)
            with mode, torch.no_grad():
                node.meta["val"] = node.target(*args, **kwargs)
    (outputs,) = program.graph.output_node().args
    for spec, output in zip(program.graph_signature.output_specs, outputs, strict=True):
        if isinstance(output, torch.fx.Node):
            spec.arg = dataclasses.replace(spec.arg, name=output.name)  # type: ignore[arg-type]


def _value(node: torch.fx.Node) -> Any:
    return node.meta["val"]
