"""Proof that exported components generate what the model generates: tokens and logits."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from portwright import tree
from portwright.differences import compare_tensors
from portwright.exporters.base import HfExporter
from portwright.exporters.decomposition import decompose_for_generation
from portwright.exporters.generation import generating_with
from portwright.exporters.parts import Components
from portwright.verify import CAPTURE_TOLERANCE

TOKENS = 12


@dataclass
class GenerationResult:
    """One comparison: the components, what differs from eager ("" when nothing), export's time."""

    components: list[str]
    problem: str
    export_s: float


def greedy(model: Any, inputs: Mapping[str, Any], generation_config: Any = None) -> Any:
    """`TOKENS` tokens by greedy search, with their logits, whatever token ends a text."""
    config = copy.deepcopy(generation_config or model.generation_config)
    config.max_new_tokens = config.min_new_tokens = TOKENS
    config.max_length = config.min_length = None
    config.do_sample, config.num_beams = False, 1
    config.return_dict_in_generate = config.output_logits = True
    torch.manual_seed(0)
    return model.generate(**copy.deepcopy(dict(inputs)), generation_config=config)


def verify_generation(
    exporter: HfExporter,
    model: torch.nn.Module,
    inputs: Mapping[str, Any],
    config: Any,
    *,
    generation_config: Any = None,
    multi_token_decode: bool = False,
    merge_decode: bool = False,
    tolerance: float = CAPTURE_TOLERANCE,
) -> GenerationResult:
    """Exports the components of a generative model and lets them generate beside eager.

    Args:
        exporter: whose artifacts are callables or have `module()`.
        model: see `HfExporter.export_for_generation`, as for the others.
        tolerance: how near the logits must be, see `portwright.verify`.

    Raises:
        PortwrightError: the export failed, or a component refuses its inputs.
    """
    expected = greedy(model, inputs, generation_config)
    options = (generation_config, multi_token_decode, merge_decode)
    start = time.perf_counter()
    components = decompose_for_generation(model, inputs, *options)
    programs = {}
    ran: set[str] = set()
    for name, (module, arguments) in components.items():
        try:
            artifact = exporter.export(module, arguments, config)
        except Exception as error:
            error.add_note(f"component '{name}'")
            raise
        program = artifact.module() if hasattr(artifact, "module") else artifact
        programs[name] = _noting(program, ran, name)
    seconds = time.perf_counter() - start
    with generating_with(components, programs, merged=merge_decode):
        actual = greedy(model, inputs, generation_config)
    problem = _difference(actual, expected, tolerance)
    missed = components.keys() - ran - _within(components, ran)
    if not problem and missed:
        problem = f"generate() never ran {', '.join(sorted(missed))}"
    return GenerationResult(list(components), problem, seconds)


def _within(components: Components, ran: set[str]) -> set[str]:
    """Components that are a part of one that ran, as Idefics' encoder is of its language model."""
    whole = [components[name][0] for name in ran - {"prefill", "decode"}]
    inside = {id(part) for module in whole for part in module.modules() if part is not module}
    return {name for name, (module, _) in components.items() if id(module) in inside}


def _noting(program: Any, ran: set[str], name: str) -> Any:
    def run(**inputs: Any) -> Any:
        ran.add(name)
        return program(**inputs)

    return run


def _difference(actual: Any, expected: Any, tolerance: float) -> str:
    ours, eager = actual.sequences, expected.sequences
    if ours.shape != eager.shape or not torch.equal(ours, eager):
        return f"tokens {ours.tolist()}, eager gives {eager.tolist()}"
    # generate() of transducers gives no logits: whatever tensors it does give.
    field = "logits" if getattr(expected, "logits", None) is not None else None
    leaves, wanted = (
        dict(tree.flatten(result[field] if field else result)[0]) for result in (actual, expected)
    )
    if leaves.keys() != wanted.keys():
        return f"gives {', '.join(leaves)}, eager gives {', '.join(wanted)}"
    for name, tensor in leaves.items():
        problem = compare_tensors(tensor, wanted[name], tolerance)
        if problem:
            return f"{f'logits of token {name}' if field else name}: {problem}"
    return ""
