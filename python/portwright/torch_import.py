"""Programs of torch.export taken into the engine: from memory and from .pt2 files.

torch orders the leaves of containers by its pytrees; here the program's inputs and outputs are put
into our own order and under our own names (`portwright.tree`), so that a program which came from
torch is run, saved and lowered as one that was captured.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from torch._export.serde import serialize
from torch.utils import _pytree as pytree

from portwright import _core, pytrees, tree
from portwright.capture import CapturedProgram
from portwright.errors import CorruptFileError, InvalidArgumentError

Leaves = list[int | tuple[str, Any]]


def import_program(
    program: torch.export.ExportedProgram,
    sample_inputs: dict[str, Any],
    like: CapturedProgram | None = None,
) -> CapturedProgram:
    """The engine's form of torch's program, on the same weights.

    Args:
        program: functional but for in-place operators on whole tensors.
        sample_inputs: what it was exported with, by name.
        like: the capture that the program was made from, whose containers are kept.

    Raises:
        InvalidArgumentError: torch's verifier refuses the program.
        UnsupportedError: what the engine cannot hold; names it.
    """
    try:
        document = serialize.serialize(
            program,
            serialize_state_dict=False,
            serialize_constants=False,
            serialize_example_inputs=False,
        ).exported_program
    except (serialize.SerializeError, torch._export.verifier.SpecViolationError) as error:
        raise InvalidArgumentError(
            f"torch does not take the program for a valid one: {error}"
        ) from error
    tensors = {**program.state_dict, **program.constants}
    named = [(name, item) for name, item in tensors.items() if isinstance(item, torch.Tensor)]
    return _captured(*_core.read_model(document, named), sample_inputs, like)


def read_file(path: str | os.PathLike[str]) -> CapturedProgram:
    """The program of a .pt2 file; its weights stay in the file.

    Raises:
        FileError: the file cannot be read.
        CorruptFileError: it is damaged, or no .pt2 file.
        UnsupportedError: it holds what the engine cannot.
    """
    return _captured(*_core.read_pt2(os.fspath(path)), {}, None)


def _captured(
    program: _core.Program,
    interface: _core.Pt2Interface,
    sample_inputs: dict[str, Any],
    like: CapturedProgram | None,
) -> CapturedProgram:
    inputs = _leaves(interface.inputs(program))
    outputs = _leaves(interface.outputs(program))
    if like is None:
        args, kwargs = _containers(interface.in_spec, inputs)
        given = {**dict(zip(interface.argument_names, args, strict=False)), **kwargs}
        named_inputs, input_tree = tree.flatten(given)
        result = _containers(interface.out_spec, outputs)
    else:
        input_tree = like.input_tree
        markers = _matched(pytrees.describe(input_tree, arguments=True), inputs)
        named_inputs = list(zip(like.input_names, markers, strict=True))
        result = _filled(like.output_tree, outputs)
    named_outputs, output_tree = tree.flatten(result)
    named_outputs = tree.output_names(named_outputs)
    program.arrange(_places(named_inputs, inputs), _places(named_outputs, outputs))
    return CapturedProgram(
        program,
        input_tree,
        output_tree,
        [name for name, _ in named_inputs],
        [name for name, _ in named_outputs],
        list(like.notes) if like else [],
        sample_inputs,
    )


def _leaves(described: Leaves) -> list[Any]:
    """Per leaf of the spec a tensor that stands for it, or its constant."""
    return [torch.empty(0) if isinstance(leaf, int) else leaf[1] for leaf in described]


def _containers(spec: str, leaves: list[Any]) -> Any:
    try:
        return pytree.tree_unflatten(leaves, pytree.treespec_loads(spec))
    except (KeyError, TypeError, ValueError, AttributeError, NotImplementedError) as error:
        raise CorruptFileError(
            f"the containers of the program cannot be made: {error}. A class of your own must be "
            "imported and registered as a pytree before"
        ) from error


def _matched(described: pytrees.PytreeSpec, leaves: list[Any]) -> list[torch.Tensor]:
    """The tensors of `leaves` in the order of our own tree."""
    pairs = zip(described.leaves, leaves, strict=True)
    by_position = {leaf: item for leaf, item in pairs if isinstance(leaf, int)}
    return [by_position[position] for position in sorted(by_position)]


def _filled(structure: tree.TreeSpec, leaves: list[Any]) -> Any:
    """The containers with these tensors, and with these sizes in place of the old program's."""
    described = pytrees.describe(structure, arguments=False)
    sizes = {
        leaf[1]: item
        for leaf, item in zip(described.leaves, leaves, strict=True)
        if not isinstance(leaf, int) and leaf[0] == pytrees.SIZE
    }
    return structure.unflatten(
        _matched(described, leaves), lambda number: sizes[_core.sym_str(number.node)]
    )


def _places(named: list[tree.Leaf], leaves: list[Any]) -> list[tuple[int, str]]:
    """Where each named tensor stands among the tensors of the spec's leaves."""
    tensors = [item for item in leaves if isinstance(item, torch.Tensor)]
    positions = {id(tensor): index for index, tensor in enumerate(tensors)}
    return [(positions[id(tensor)], name) for name, tensor in named]
