"""The result of DynamoExporter: a torch.export.ExportedProgram that is filled in when looked at."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

import torch

from portwright import _core, pytrees
from portwright.capture import CapturedProgram
from portwright.errors import FileError

# What torch's ExportedProgram sets when it is made; its properties read these.
_FILLED_IN = frozenset(
    {
        "_graph_module",
        "_graph_signature",
        "_state_dict",
        "_range_constraints",
        "_module_call_graph",
        "_example_inputs",
        "_constants",
        "_verifiers",
        "_guards_code",
    }
)


class ExportedProgram(torch.export.ExportedProgram):
    """A captured model, which every tool of PyTorch takes as its own.

    The graph, the signature and the rest are built from the engine's Program at the first look at
    any of them. `module()` runs the Program natively, at once and with guards checked, as long as
    nobody edited the graph or exchanged a weight; afterwards it runs what it finds there.

    Args:
        captured: the capture.
        unrolled: gives the same model captured without loops; asked only for a program with loops
            that FX graphs and files do not hold.
        after_decompositions: edits what `run_decompositions` gives.
    """

    def __init__(
        self,
        captured: CapturedProgram,
        unrolled: Callable[[], CapturedProgram] | None = None,
        after_decompositions: Callable[[torch.export.ExportedProgram], None] | None = None,
    ) -> None:
        # Not torch's: it would need the graph.
        self._captured = captured
        self._after_decompositions = after_decompositions
        self._unrolled = None if _core.fits_pt2(captured.program) else unrolled

    def __getattr__(self, name: str) -> Any:
        if name not in _FILLED_IN:
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
        self.__dict__.update(vars(self.as_torch_program()))
        self._filled = _fingerprint(self)
        return self.__dict__[name]

    def module(self, check_guards: bool = True) -> Any:
        """A callable that takes the model's keyword arguments and gives its outputs.

        Args:
            check_guards: False gives torch's GraphModule, which checks less.
        """
        if check_guards and self._is_as_captured():
            return ProgramModule(self._captured)
        return self._plain().module(check_guards=check_guards)

    def run_decompositions(self, *args: Any, **kwargs: Any) -> torch.export.ExportedProgram:
        """As `torch.export.ExportedProgram.run_decompositions`; the node fixes that were registered
        when the program was exported run again on what it gives."""
        decomposed: torch.export.ExportedProgram = self._plain().run_decompositions(*args, **kwargs)
        if self._after_decompositions is not None:
            self._after_decompositions(decomposed)
        return decomposed

    def save(self, path: str | os.PathLike[str]) -> int:
        """Writes a .pt2 file, which `torch.export.load` reads.

        Weights are streamed from where they lie. A graph that was edited is written by torch.

        Returns:
            The file's size in bytes.

        Raises:
            FileError: the path cannot be written or the disk is full.
            UnsupportedError: the format cannot hold the program; says why.
        """
        path = os.fspath(path)
        if os.path.isdir(path):
            raise FileError(f"'{path}' is a directory: give the path of the .pt2 file")
        if not self._is_as_captured():
            torch.export.save(self._plain(), path)
            return os.path.getsize(path)
        program, interface = self._for_files
        return int(_core.write_pt2(program, interface, path))

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

    @functools.cached_property
    def _for_files(self) -> tuple[_core.Program, _core.Pt2Interface]:
        """The Program as files hold it, and its containers."""
        captured = self._captured if self._unrolled is None else self._unrolled()
        inputs = pytrees.describe(captured.input_tree, arguments=True)
        outputs = pytrees.describe(captured.output_tree, arguments=False)
        trainable = {
            target
            for kind, target, _, tensor in _core.tensors(captured.program)
            if kind == "parameter" and tensor.requires_grad
        }
        interface = _core.Pt2Interface(
            captured.program,
            inputs.text,
            outputs.text,
            inputs.leaves,
            outputs.leaves,
            inputs.names,
            trainable,
        )
        return captured.program, interface

    def as_torch_program(self) -> torch.export.ExportedProgram:
        """torch's own program, a new one at each call, on the live weights."""
        # Read from the document that `save` writes.
        from portwright.exporters.torch_program import read_document

        program, interface = self._for_files
        state: dict[str, torch.Tensor] = {}
        constants: dict[str, torch.Tensor] = {}
        for kind, target, persistent, tensor in _core.tensors(program):
            in_state = kind == "parameter" or (kind == "buffer" and persistent)
            (state if in_state else constants)[target] = tensor
        document = _core.pt2_model(program, interface)
        return read_document(document, state, constants, ((), self._captured.sample_inputs))

    def _plain(self) -> torch.export.ExportedProgram:
        """torch's program with this one's graph."""
        plain = object.__new__(torch.export.ExportedProgram)
        plain.__dict__.update({name: getattr(self, name) for name in _FILLED_IN})
        return plain

    def _is_as_captured(self) -> bool:
        return "_filled" not in self.__dict__ or self._filled == _fingerprint(self)


def _fingerprint(program: torch.export.ExportedProgram) -> Any:
    """Changes when somebody edits the graph or exchanges a weight."""
    nodes = [(n.op, n.target, n.name, n.args, n.kwargs) for n in program._graph_module.graph.nodes]
    weights = {**program._state_dict, **program._constants}
    return nodes, {name: id(tensor) for name, tensor in weights.items()}


class ProgramModule(torch.nn.Module):
    """Runs a captured program in the C++ interpreter."""

    def __init__(self, captured: CapturedProgram) -> None:
        super().__init__()
        self._captured = captured

    def forward(self, **inputs: Any) -> Any:
        """The model's outputs for these inputs; arguments that are no tensors are as captured."""
        return self._captured.run(inputs)
