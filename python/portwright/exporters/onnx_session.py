"""ONNX Runtime beside torch: sessions, and tensors that go in and come out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

_BFLOAT16 = 16  # TensorProto.DataType

# Opens the model at a path; gives an onnxruntime.InferenceSession.
Initializer = Callable[[str], Any]


def open_on_cpu(path: str) -> Any:
    """A session of the CPU provider that is quiet about warnings."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run(session: Any, inputs: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
    """The session's outputs, as CPU tensors that share ONNX Runtime's memory.

    Args:
        session: an onnxruntime.InferenceSession.
        inputs: by name; those that the session does not take are left out.
    """
    taken = {item.name for item in session.get_inputs()}
    feeds = {name: ort_value(tensor) for name, tensor in inputs.items() if name in taken}
    return [
        torch.utils.dlpack.from_dlpack(value._ortvalue)
        for value in session.run_with_ort_values(None, feeds)
    ]


def write_back(
    mutations: Mapping[str, str],
    outputs: Mapping[str, torch.Tensor],
    given: Mapping[str, torch.Tensor],
) -> None:
    """Writes new values to the inputs that forward writes to, as caches of fixed size.

    Args:
        mutations: the output by the input that it is the new value of; buffers are left out.
        outputs: by name.
        given: the inputs, by name.
    """
    for name, output in mutations.items():
        if name in given:
            given[name].copy_(outputs[output])


def ort_value(tensor: torch.Tensor) -> Any:
    """A tensor as ONNX Runtime takes it; numpy has no bfloat16."""
    import onnxruntime

    own = tensor.detach().cpu().contiguous()
    if own.dtype != torch.bfloat16:
        return onnxruntime.OrtValue.ortvalue_from_numpy(own.numpy())
    return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(
        own.view(torch.uint16).numpy(), _BFLOAT16
    )
