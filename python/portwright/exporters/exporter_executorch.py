"""ExecutorchExporter: a model as a program for ExecuTorch's runtime on phones and small devices."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any, ClassVar

import torch

from portwright import tree
from portwright.errors import InvalidArgumentError, UnsupportedError
from portwright.exporters.configs import ExecutorchConfig
from portwright.exporters.exporter_dynamo import DynamoExporter
from portwright.exporters.patching import apply_patches

Inputs = MutableMapping[str, Any]
# (model, sample inputs) to both as the backend needs them, and its partitioners.
Prepare = Callable[[torch.nn.Module, Inputs], tuple[torch.nn.Module, Inputs, list[Any]]]


# ── Stage 1: Backend preparation ──


def prepare_for_xnnpack(
    model: torch.nn.Module, sample_inputs: Inputs
) -> tuple[torch.nn.Module, Inputs, list[Any]]:
    """Model and inputs on the CPU in float32, and XNNPACK's partitioner; changes the model."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner

    return *_moved(model, sample_inputs, "cpu", torch.float32), [XnnpackPartitioner()]


def prepare_for_cuda(
    model: torch.nn.Module, sample_inputs: Inputs
) -> tuple[torch.nn.Module, Inputs, list[Any]]:
    """Model and inputs on the GPU in bfloat16, and the CUDA partitioner; changes the model.

    Raises:
        UnsupportedError: torch sees no GPU.
    """
    if not torch.cuda.is_available():
        raise UnsupportedError(
            "the backend 'cuda' compiles kernels for the GPU of this machine, and torch sees none: "
            "export on a machine with one, or set backend='xnnpack'"
        )
    from executorch.backends.cuda.cuda_backend import CudaBackend
    from executorch.backends.cuda.cuda_partitioner import CudaPartitioner

    method = CudaBackend.generate_method_name_compile_spec(type(model).__name__)
    return *_moved(model, sample_inputs, "cuda", torch.bfloat16), [CudaPartitioner([method])]


def _moved(
    model: torch.nn.Module, inputs: Inputs, device: str, dtype: torch.dtype
) -> tuple[torch.nn.Module, Inputs]:
    moved = {}
    for name, value in inputs.items():
        leaves, spec = tree.flatten(value)
        tensors = [
            tensor.to(device, dtype if tensor.is_floating_point() else tensor.dtype).contiguous()
            for _, tensor in leaves
        ]
        moved[name] = spec.unflatten(tensors)
    return model.to(device=device, dtype=dtype), moved


_BACKEND_PREPARE: dict[str, Prepare] = {
    "xnnpack": prepare_for_xnnpack,
    "cuda": prepare_for_cuda,
}


class ExecutorchExporter(DynamoExporter):
    """Exports a model to ExecuTorch, whose own lowering runs on the captured program.

    >>> program = ExecutorchExporter().export(model, inputs, ExecutorchConfig(backend="xnnpack"))
    >>> with open("model.pte", "wb") as file:
    ...     program.write_to_file(file)
    """

    config_class = ExecutorchConfig
    backends = ("dynamo", "executorch")
    has_loops = False
    required_packages: ClassVar[tuple[str, ...]] = ("executorch",)
    tested_versions: ClassVar[dict[str, str]] = {
        **DynamoExporter.tested_versions,
        "executorch": "1.4.1",
    }

    def export(  # type: ignore[override]  # its own config, as on the exporters page
        self,
        model: torch.nn.Module,
        sample_inputs: MutableMapping[str, Any],
        config: ExecutorchConfig | dict[str, Any] | None = None,
    ) -> Any:
        """Prepares the model for the backend, captures it and lowers it.

        The preparation moves the model to the backend's device and dtype, and leaves it there.

        Returns:
            An `executorch.exir.ExecutorchProgramManager`.

        Raises:
            InvalidArgumentError: a backend without a preparation; lists those there are.
            PortwrightError: see `DynamoExporter.export`.
        """
        config = self._config(config)
        assert isinstance(config, ExecutorchConfig)
        prepare = _BACKEND_PREPARE.get(config.backend)
        if prepare is None:
            raise InvalidArgumentError(
                f"no backend '{config.backend}': there are {', '.join(_BACKEND_PREPARE)}. Another "
                "is added to portwright.exporters.exporter_executorch._BACKEND_PREPARE"
            )
        model, sample_inputs, partitioners = prepare(model, sample_inputs)
        exported = super().export(model, sample_inputs, config)
        with apply_patches("executorch"):
            from executorch.exir import to_edge_transform_and_lower

            return to_edge_transform_and_lower(exported, partitioner=partitioners).to_executorch()
