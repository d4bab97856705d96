"""ExecutorchExporter: a model as a program for ExecuTorch's runtime on phones and small devices."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import inspect
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any, ClassVar

import torch

from portwright import _core, tree
from portwright.capture import CapturedProgram, Decompositions
from portwright.errors import InvalidArgumentError, MissingLoweringError, UnsupportedError
from portwright.exporters import decisions_on_data, file_record, operator_decompositions
from portwright.exporters.base import logger
from portwright.exporters.configs import DynamoConfig, ExecutorchConfig
from portwright.exporters.executorch_program import ExecutorchProgram
from portwright.exporters.exporter_dynamo import DynamoExporter
from portwright.exporters.fx_fixes import with_fixes
from portwright.exporters.patching import apply_patches

__all__ = [
    "_BACKEND_PREPARE",
    "ExecutorchConfig",
    "ExecutorchExporter",
    "ExecutorchProgram",
    "NativePartitioner",
    "lower",
    "prepare_for_cuda",
    "prepare_for_portable",
    "prepare_for_xnnpack",
]

Inputs = MutableMapping[str, Any]


@dataclasses.dataclass(frozen=True)
class NativePartitioner:
    """Stands for the engine's own lowering where a backend names its partitioners.

    Args:
        delegate: "xnnpack", or None for the runtime's own kernels alone.
    """

    delegate: str | None


# (model, sample inputs) to both as the backend needs them, and its partitioners: a
# NativePartitioner, or those of executorch, whose own lowering then runs. One that takes a `dtype`,
# too, is given the config's where it has one.
Prepare = Callable[..., tuple[torch.nn.Module, Inputs, list[Any]]]


# ── Stage 1: Backend preparation ──


def prepare_for_xnnpack(
    model: torch.nn.Module, sample_inputs: Inputs, dtype: torch.dtype = torch.float32
) -> tuple[torch.nn.Module, Inputs, list[Any]]:
    """Model and inputs on the CPU, for XNNPACK's delegate; changes the model."""
    return *_moved(model, sample_inputs, "cpu", dtype), [NativePartitioner("xnnpack")]


def prepare_for_portable(
    model: torch.nn.Module, sample_inputs: Inputs, dtype: torch.dtype | None = None
) -> tuple[torch.nn.Module, Inputs, list[Any]]:
    """Model and inputs on the CPU in their own dtypes, for the runtime's kernels."""
    return *_moved(model, sample_inputs, "cpu", dtype), [NativePartitioner(None)]


def prepare_for_cuda(
    model: torch.nn.Module, sample_inputs: Inputs, dtype: torch.dtype = torch.bfloat16
) -> tuple[torch.nn.Module, Inputs, list[Any]]:
    """Model and inputs on the GPU, and the CUDA partitioner; changes the model.

    Raises:
        UnsupportedError: torch sees no GPU, or the package executorch is not there.
    """
    if not torch.cuda.is_available():
        raise UnsupportedError(
            "the backend 'cuda' compiles kernels for the GPU of this machine, and torch sees none: "
            "export on a machine with one, or set backend='xnnpack'"
        )
    try:
        from executorch.backends.cuda.cuda_backend import CudaBackend
        from executorch.backends.cuda.cuda_partitioner import CudaPartitioner
    except ImportError as error:
        raise UnsupportedError(
            f"the backend 'cuda' is executorch's own: pip install executorch ({error})"
        ) from error

    method = CudaBackend.generate_method_name_compile_spec(type(model).__name__)
    return *_moved(model, sample_inputs, "cuda", dtype), [CudaPartitioner([method])]


def _moved(
    model: torch.nn.Module, inputs: Inputs, device: str, dtype: torch.dtype | None
) -> tuple[torch.nn.Module, Inputs]:
    moved = {}
    for name, value in inputs.items():
        leaves, spec = tree.flatten(value)
        tensors = [
            tensor.to(device, dtype if tensor.is_floating_point() else None).contiguous()
            for _, tensor in leaves
        ]
        moved[name] = spec.unflatten(tensors)
    return model.to(device=device, dtype=dtype), moved


_BACKEND_PREPARE: dict[str, Prepare] = {
    "xnnpack": prepare_for_xnnpack,
    "portable": prepare_for_portable,
    "cuda": prepare_for_cuda,
}


def _preparation(config: ExecutorchConfig) -> tuple[Prepare, dict[str, Any]]:
    """That of the config's backend, and what it is called with beside model and inputs."""
    prepare = _BACKEND_PREPARE.get(config.backend)
    if prepare is None:
        raise InvalidArgumentError(
            f"no backend '{config.backend}': there are {', '.join(_BACKEND_PREPARE)}. Another "
            "is added to portwright.exporters.exporter_executorch._BACKEND_PREPARE"
        )
    if config.dtype is None:
        return prepare, {}
    if "dtype" not in inspect.signature(prepare).parameters:
        raise InvalidArgumentError(
            f"the preparation of the backend '{config.backend}' takes no dtype: leave out "
            f"dtype='{config.dtype}', or cast the model in {prepare.__name__}"
        )
    return prepare, {"dtype": getattr(torch, config.dtype)}


class ExecutorchExporter(DynamoExporter):
    """Exports a model to ExecuTorch.

    >>> program = ExecutorchExporter().export(model, inputs, ExecutorchConfig(backend="xnnpack"))
    >>> program.write_to_file("model.pte")
    >>> outputs = program(**inputs)  # in ExecuTorch's runtime
    """

    config_class = ExecutorchConfig
    backends = ("dynamo", "executorch")
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
            An `ExecutorchProgram`; for backends with partitioners of executorch's (as "cuda") an
            `executorch.exir.ExecutorchProgramManager`.

        Raises:
            InvalidArgumentError: a backend without a preparation; lists those there are.
            MissingLoweringError: operators that the runtime has no kernels for, all listed.
            PortwrightError: see `DynamoExporter.export`.
        """
        config = self._config(config)
        assert isinstance(config, ExecutorchConfig)
        prepare, options = _preparation(config)
        model, sample_inputs, partitioners = prepare(model, sample_inputs, **options)
        native = [p for p in partitioners if isinstance(p, NativePartitioner)]
        if native and len(partitioners) > 1:
            raise InvalidArgumentError(
                f"the backend '{config.backend}' prepares for {len(partitioners)} partitioners, of "
                "which the engine's own must be the only one"
            )
        if not native:
            return self._by_executorch(model, sample_inputs, config, partitioners)
        with _experts_as_products(model):
            captured = self._capture(model, sample_inputs, config)
        decisions_on_data.refuse(captured, config.allow_data_assumptions, "ExecuTorch")
        captured = with_fixes(captured, self.backends, lambda: captured)
        return lower(captured, config, native[0])

    def _by_executorch(
        self,
        model: torch.nn.Module,
        sample_inputs: Inputs,
        config: ExecutorchConfig,
        partitioners: list[Any],
    ) -> Any:
        dynamo = DynamoConfig(
            **{
                field.name: getattr(config, field.name)
                for field in dataclasses.fields(DynamoConfig)
                if field.name != "export_format"
            }
        )
        with _experts_as_products(model):
            exported = _ForExecutorch().export(model, sample_inputs, dynamo)
        with apply_patches("executorch"):
            from executorch.exir import to_edge_transform_and_lower

            return to_edge_transform_and_lower(exported, partitioner=partitioners).to_executorch()

    def _decompositions(self) -> Decompositions:
        return Decompositions(frozenset(_core.edge_operators()), operator_decompositions.find)


class _ForExecutorch(DynamoExporter):
    """The program that executorch's own lowering takes."""

    backends = ("dynamo", "executorch")
    has_loops = False


@contextlib.contextmanager
def _experts_as_products(model: torch.nn.Module) -> Iterator[None]:
    """Mixtures of experts as batched matrix products: no runtime here has a grouped one."""
    parts = [
        part
        for part in model.modules()
        if getattr(part, "_can_set_experts_implementation", lambda: False)()
    ]
    before = [part.get_experts_implementation() for part in parts]  # type: ignore[operator]
    try:
        for part in parts:
            part.set_experts_implementation("batched_mm")  # type: ignore[operator]
        yield
    finally:
        for part, implementation in zip(parts, before, strict=True):
            part.set_experts_implementation(implementation)  # type: ignore[operator]


def _check_kernels(lowered: _core.ExecutorchExport) -> None:
    """Whether the release of executorch that is installed has the kernels, where it is not the one
    that the engine's table is of."""
    try:
        version = importlib.metadata.version("executorch")
    except importlib.metadata.PackageNotFoundError:
        return
    if version == _core.executorch_version():
        return
    from executorch.extension.pybindings import portable_lib

    missing = set(lowered.call_counts()) - {"delegate", *portable_lib._get_operator_names()}
    if missing:
        raise MissingLoweringError(
            f"executorch {version} is installed, whose runtime has no kernels for "
            f"{', '.join(sorted(missing))}: install executorch {_core.executorch_version()}"
        )


def lower(
    captured: CapturedProgram,
    config: ExecutorchConfig,
    partitioner: NativePartitioner | None = None,
) -> ExecutorchProgram:
    """The program of a captured one, which stays as it is.

    Raises:
        MissingLoweringError: operators that the runtime has no kernels for, all listed.
        InvalidArgumentError: an upper bound below the sample's size, or of a dim that is not there.
    """
    delegate = config.backend if partitioner is None else partitioner.delegate
    program = captured.program.copy()
    program.run_passes()
    bounds = config.upper_bounds
    lowered = _core.lower_executorch(
        program,
        backend=delegate or "portable",
        alloc_graph_input=config.alloc_graph_input,
        alloc_graph_output=config.alloc_graph_output,
        alloc_mutable_buffers=config.alloc_mutable_buffers,
        bound_of_all=bounds if isinstance(bounds, int) else None,
        bounds=bounds if isinstance(bounds, dict) else {},
        notes=captured.notes,
        versions=file_record.versions(),
    )
    _check_kernels(lowered)
    for note in lowered.notes:
        logger.warning("%s", note)
    return ExecutorchProgram(lowered, captured, config.backend)
