"""ONNX Runtime's operator schemas: what can be known of a graph that this machine cannot run."""

from __future__ import annotations

from typing import Any

from portwright import _core
from portwright.errors import UnsupportedError


def check(model: _core.OnnxModel, provider: str) -> str:
    """Checks the nodes against the schemas of the installed onnxruntime.

    Args:
        model: a graph with operators of ONNX Runtime's own.
        provider: "cuda", "webgpu" or "dml".

    Returns:
        A note that says what was checked, and that the graph was not executed.

    Raises:
        UnsupportedError: operators, inputs or attributes that this onnxruntime does not have.
    """
    label = f"the graph is fused for ONNX Runtime's {provider} provider and was not executed there"
    try:
        from onnxruntime.capi import onnxruntime_pybind11_state as state
    except ImportError:
        return f"{label}; its operators were not checked, because onnxruntime is not installed"
    schemas = {
        (item.domain, item.name): item
        for item in sorted(state.get_all_operator_schema(), key=lambda item: item.since_version)
    }
    problems = sorted({problem for node in model.nodes() for problem in _problems(node, schemas)})
    if problems:
        raise UnsupportedError(
            f"the onnxruntime that is installed has no such operators: {'; '.join(problems)}. "
            "Install a newer one, or export without ort_fusions"
        )
    return f"{label}; its operators were checked against the schemas of onnxruntime"


def _problems(
    node: tuple[str, str, int, int, list[str]], schemas: dict[tuple[str, str], Any]
) -> list[str]:
    domain, kind, inputs, outputs, attributes = node
    schema = schemas.get((domain, kind))
    if schema is None:
        return [f"{domain or 'ai.onnx'}.{kind}"]
    found = []
    if not schema.min_input <= inputs <= schema.max_input:
        found.append(f"{kind} with {inputs} inputs")
    if outputs > schema.max_output:
        found.append(f"{kind} with {outputs} outputs")
    found += [f"{kind} with {name}" for name in attributes if name not in schema.attributes]
    return found
