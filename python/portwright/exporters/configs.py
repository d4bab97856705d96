"""Configurations of the exporters: the fields and defaults of the Transformers exporters page."""

from __future__ import annotations

import copy
import dataclasses
import difflib
import os
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from portwright.errors import InvalidArgumentError


class ExportFormat(StrEnum):
    """What an exporter makes."""

    DYNAMO = "dynamo"
    ONNX = "onnx"
    EXECUTORCH = "executorch"


def known_format(name: Any) -> ExportFormat:
    """The format of this name.

    Raises:
        InvalidArgumentError: there is none; lists those there are.
    """
    try:
        return ExportFormat(name)
    except ValueError:
        raise InvalidArgumentError(
            f"unknown export format {name!r}: the formats are {', '.join(ExportFormat)}"
        ) from None


@dataclass(kw_only=True)
class DynamoConfig:
    """How a model is captured.

    Args:
        export_format: what the class is for; another one is an error.
        dynamic: every dim of every input tensor is `Dim.AUTO`, unless `dynamic_shapes` is set.
        strict: trace by torch.export's strict mode instead of the native capture: slower, and more
            of the model's Python is refused.
        dynamic_shapes: specs by input name, as `torch.export.export` takes them.
        prefer_deferred_runtime_asserts_over_guards: a condition that narrows an explicit
            `Dim(min, max)` is checked when the program runs instead of failing the export.

    Raises:
        InvalidArgumentError: a field of the wrong type, an unknown or another class's format.
    """

    export_format: ExportFormat = ExportFormat.DYNAMO
    dynamic: bool = False
    strict: bool = False
    dynamic_shapes: dict[str, Any] | None = None
    prefer_deferred_runtime_asserts_over_guards: bool = False

    def __post_init__(self) -> None:
        self._check_format()
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type == "bool" and not isinstance(value, bool):
                raise InvalidArgumentError(
                    f"{type(self).__name__}.{field.name} must be True or False, not {value!r}"
                )
        if self.dynamic_shapes is not None and not isinstance(self.dynamic_shapes, dict):
            raise InvalidArgumentError(
                "dynamic_shapes must be a dict from input name to spec, not "
                f"{type(self.dynamic_shapes).__name__}"
            )

    def _check_format(self) -> None:
        self.export_format = known_format(self.export_format)
        own = type(self).export_format
        if self.export_format != own:
            raise InvalidArgumentError(
                f"{type(self).__name__} is for the format '{own}', not '{self.export_format}': "
                "AutoExportConfig.from_dict picks the class that belongs to a format"
            )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The config with these fields.

        Raises:
            InvalidArgumentError: an unknown field; names the nearest known one.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        for name in values:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = (
                    f"did you mean '{near[0]}'?" if near else f"the fields are {', '.join(known)}"
                )
                raise InvalidArgumentError(f"{cls.__name__} has no field '{name}': {hint}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """The fields as a dict that `from_dict` takes."""
        return {
            field.name: copy.copy(getattr(self, field.name)) for field in dataclasses.fields(self)
        }


_WEIGHTS = ("copy", "reference")
_RUNTIMES = ("cpu", "cuda", "webgpu", "dml")


@dataclass(kw_only=True)
class OnnxConfig(DynamoConfig):
    """How a model is exported to ONNX; all fields of `DynamoConfig` and these.

    Args:
        output_path: file to save to; None keeps the model in memory.
        opset_version: 18 to 28; None is 23, whatever is installed (21 where the model
            draws random numbers, for which ONNX Runtime has no newer kernels).
        external_data: weights in a `.onnx_data` file beside the model.
        weights: "copy", or "reference": nothing is copied, the external data is the checkpoint's
            own `.safetensors` files, beside which the model must be saved; weights that do not
            lie there byte for byte (cast, merged, folded) go to the `.onnx_data` file.
        optimize: run the passes (constant folding, dead code, common subexpressions, ...) and fuse
            composites (norms, rotary embeddings, attention) into operators of the opset.
        ort_fusions: "cpu", "cuda", "webgpu" or "dml": fuse into ONNX Runtime's own operators for
            that execution provider; no other runtime takes the model then. Needs optimize=True.
        last_token_logits: logits of the last position only, [batch, 1, vocabulary], which is all
            that generation reads; for models whose forward takes `logits_to_keep`.
        export_params: False leaves the weights out: they become inputs of the graph.
        keep_initializers_as_inputs: weights can be overridden by inputs of their names.
        bfloat16_in_float32: operators on bfloat16 compute in float32 and round, as torch's do.
            False writes them in bfloat16, which ONNX Runtime's CPU provider mostly cannot run.
        allow_data_assumptions: export although the model decided on tensor data while it was
            traced. ONNX cannot check such a decision: for other data the result can be wrong.
    """

    export_format: ExportFormat = ExportFormat.ONNX
    output_path: str | os.PathLike[str] | None = None
    opset_version: int | None = None
    external_data: bool = True
    weights: str = "copy"
    optimize: bool = True
    ort_fusions: str | None = None
    last_token_logits: bool = False
    export_params: bool = True
    keep_initializers_as_inputs: bool = False
    bfloat16_in_float32: bool = True
    allow_data_assumptions: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        opset = self.opset_version
        if opset is not None and (isinstance(opset, bool) or not isinstance(opset, int)):
            raise InvalidArgumentError(f"opset_version must be an int or None, not {opset!r}")
        if self.ort_fusions is not None and self.ort_fusions not in _RUNTIMES:
            raise InvalidArgumentError(
                f"ort_fusions must be None or one of {_RUNTIMES}, not {self.ort_fusions!r}"
            )
        if self.ort_fusions is not None and not self.optimize:
            raise InvalidArgumentError("ort_fusions needs optimize=True")
        if self.weights not in _WEIGHTS:
            raise InvalidArgumentError(f"weights must be one of {_WEIGHTS}, not {self.weights!r}")
        if self.weights == "reference" and not (self.external_data and self.export_params):
            raise InvalidArgumentError(
                'weights="reference" is external data: it needs external_data=True and '
                "export_params=True"
            )


_DTYPES = ("float32", "float16", "bfloat16")


def _dtype_name(dtype: Any) -> str:
    name = str(dtype).removeprefix("torch.")
    if name not in _DTYPES:
        raise InvalidArgumentError(f"dtype must be one of {', '.join(_DTYPES)}, not {dtype!r}")
    return name


@dataclass(kw_only=True)
class ExecutorchConfig(DynamoConfig):
    """How a model is exported to ExecuTorch; all fields of `DynamoConfig` and these.

    Args:
        backend: what runs the model: "xnnpack", "portable" (the runtime's own kernels), "cuda",
            or one that was added to `exporter_executorch._BACKEND_PREPARE`.
        dtype: what the preparation casts weights and inputs to: "float32", "float16", "bfloat16" or
            the torch.dtype. None: the backend's own, which is float32 for "xnnpack", the model's
            for "portable" and bfloat16 for "cuda". In float16 XNNPACK needs a CPU with float16
            (ARMv8.2, x86 with F16C) and keeps half the memory.
        upper_bounds: what dynamic dims can be at most where no `Dim(max=)` says it: one size for
            all of them, or sizes by the dim's name or place ("input_ids.size(1)"). Memory is
            planned for them. None: twice the sample's size, at least 128 for tokens and masks
            along all dims but the first; the export logs what was taken.
        alloc_graph_input: each call copies the inputs into planned memory; False reads them where
            the caller has them, whose memory must stay as it is until the call ends: worth it for
            large caches.
        alloc_graph_output: outputs lie in the planned memory; False leaves theirs to the caller.
        alloc_mutable_buffers: buffers that forward writes to lie in planned memory of their own.
        allow_data_assumptions: export although the model decided on tensor data while it was
            traced. ExecuTorch cannot check such a decision: for other data the result can be wrong.
    """

    export_format: ExportFormat = ExportFormat.EXECUTORCH
    backend: str = "xnnpack"
    dtype: Any = None
    upper_bounds: int | dict[str, int] | None = None
    alloc_graph_input: bool = True
    alloc_graph_output: bool = True
    alloc_mutable_buffers: bool = True
    allow_data_assumptions: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.backend, str):
            raise InvalidArgumentError(f"backend must be a name, not {self.backend!r}")
        if self.dtype is not None:
            self.dtype = _dtype_name(self.dtype)
        bounds = self.upper_bounds
        sizes = bounds.values() if isinstance(bounds, dict) else [1 if bounds is None else bounds]
        if any(isinstance(size, bool) or not isinstance(size, int) or size < 1 for size in sizes):
            raise InvalidArgumentError(
                "upper_bounds must be a positive int, or positive ints by the names of dims, not "
                f"{bounds!r}"
            )
