"""OnnxExporter: a model as an ONNX file that runs in any ONNX runtime."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import os
import tempfile
from collections.abc import MutableMapping
from typing import Any, ClassVar

import torch

from portwright import _core, tree
from portwright.capture import CapturedProgram, Decompositions
from portwright.differences import OutputReport, report
from portwright.errors import (
    FileError,
    InvalidArgumentError,
    UnsupportedError,
)
from portwright.exporters import (
    decisions_on_data,
    file_record,
    onnx_kernels,
    onnx_schemas,
    onnx_session,
    operator_decompositions,
)
from portwright.exporters.configs import OnnxConfig
from portwright.exporters.exported_program import ExportedProgram
from portwright.exporters.exporter_dynamo import DynamoExporter
from portwright.exporters.fx_fixes import with_fixes
from portwright.exporters.onnx_extensions import (
    _IR_FIXES,
    _ONNX_TRANSLATION_TABLE,
    IrModel,
    apply_onnx_ir_fixes,
    translate,
    translations,
)
from portwright.verify import RUNTIME_TOLERANCE

__all__ = [
    "_IR_FIXES",
    "_ONNX_TRANSLATION_TABLE",
    "ONNXProgram",
    "OnnxConfig",
    "OnnxExporter",
    "apply_onnx_ir_fixes",
    "lower",
]


class ONNXProgram:
    """An ONNX model in memory: call it, look at it, save it."""

    def __init__(
        self,
        model: _core.OnnxModel,
        captured: CapturedProgram,
        config: OnnxConfig,
        checkpoint: str = "",
    ):
        self._model: _core.OnnxModel | IrModel = model
        self._notes = list(model.notes)
        self._mutations = dict(model.mutations)
        self._record = model.record() if model.has_guards else None
        self._captured = captured
        self._config = config
        self._checkpoint = checkpoint
        self._session: Any = None
        self._initializer: onnx_session.Initializer = onnx_session.open_on_cpu
        self._saved_path: str | None = None

    @property
    def input_names(self) -> list[str]:
        return list(self._model.input_names)

    @property
    def output_names(self) -> list[str]:
        return list(self._model.output_names)

    @property
    def opset_version(self) -> int:
        return int(self._model.opset)

    @property
    def captured(self) -> CapturedProgram:
        """The capture that the model was lowered from."""
        return self._captured

    @property
    def notes(self) -> list[str]:
        """What the capture narrowed or fixed, each with the model's source line."""
        return [*self._captured.notes, *self._notes]

    @property
    def conditions(self) -> list[dict[str, Any]]:
        """What the model and its lowering need of sizes: `text`, `kind`, `source`, `module`."""
        program = self._captured.program if self._record is None else self._record.program
        return program.guards()

    @property
    def node_count(self) -> int:
        return int(self._model.node_count)

    @property
    def model(self) -> Any:
        """The model as an `onnx_ir.Model`. Edits of it are in what is run and saved afterwards."""
        if not isinstance(self._model, IrModel):
            self._model = IrModel(self._model)
        self._saved_path = self._session = None
        return self._model.ir

    @property
    def model_proto(self) -> Any:
        """The model as an `onnx.ModelProto`, weights embedded (at most 2 GB)."""
        import onnx

        return onnx.load_from_string(self._model.serialize())

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        include_initializers: bool | None = None,
        keep_initializers_as_inputs: bool | None = None,
        external_data: bool | None = None,
        weights: str | None = None,
    ) -> dict[str, Any]:
        """Writes the model; weights go to `<path>_data` beside it.

        The files are written aside and renamed: an existing model stays whole when this fails.

        Args:
            path: the `.onnx` file.
            include_initializers: False leaves the weights out, as `export_params=False` does: they
                are inputs of the graph; None is as exported.
            keep_initializers_as_inputs: True has the weights as inputs too; None is as exported.
            external_data: False embeds the weights (at most 2 GB); None is the config's.
            weights: "copy" or "reference", see `OnnxConfig`; None is the config's.

        Returns:
            `model_path`, `data_path` ("" when there is none), `record_path` (`<stem>.export.json`:
            names, dims, conditions and notes of the export), `model_bytes`, `data_bytes`,
            `referenced` (bytes by `.safetensors` file), `copied` (the weights in `data_path`).

        Raises:
            FileError: the path cannot be written or the disk is full.
            InvalidArgumentError: the checkpoint's files cannot be referred to from there; says why.
            UnsupportedError: weights are to become inputs of a model that was edited.
        """
        path = os.fspath(path)
        if os.path.isdir(path):
            raise FileError(f"'{path}' is a directory: give the path of the .onnx file")
        changes: dict[str, Any] = {
            "export_params": include_initializers,
            "keep_initializers_as_inputs": keep_initializers_as_inputs,
            "external_data": external_data,
            "weights": weights,
        }
        config = dataclasses.replace(
            self._config, **{name: value for name, value in changes.items() if value is not None}
        )
        if _contract(config) != _contract(self._config):
            return self._lowered_anew(config).save(path)
        checkpoint = ""
        if config.weights == "reference":
            checkpoint = self._checkpoint_folder()
        facts = dict(self._model.write(path, config.external_data, checkpoint))
        self._saved_path, self._session = path, None
        return facts

    def _lowered_anew(self, config: OnnxConfig) -> ONNXProgram:
        if isinstance(self._model, IrModel):
            raise UnsupportedError(
                "the model is an onnx_ir model now, made for an IR fix, a translation or "
                "`ONNXProgram.model`: set export_params and keep_initializers_as_inputs in the "
                "OnnxConfig of its export"
            )
        return lower(self._captured, config, self._checkpoint)

    @property
    def exported_program(self) -> ExportedProgram:
        """The program that the model was lowered from, as PyTorch's."""
        return ExportedProgram(self._captured)

    def _checkpoint_folder(self) -> str:
        if os.path.isdir(self._checkpoint):
            return self._checkpoint
        raise InvalidArgumentError(
            'weights="reference" points into the folder that the model was loaded from with '
            f"from_pretrained, and '{self._checkpoint}' is none: use weights=\"copy\""
        )

    def __call__(self, **inputs: Any) -> Any:
        """Runs the model in ONNX Runtime on the CPU: the file that was saved last, if there is one.

        Returns:
            The model's own output structure (a ModelOutput with its cache rebuilt), of CPU tensors.

        Raises:
            InvalidArgumentError: an input is missing, unexpected, or of another rank or dtype.
            GuardViolatedError: sizes that the model was not captured for.
        """
        leaves = tree.match(self._captured.input_tree, inputs)
        symbols = self._captured.interpreter.known_symbols(leaves)
        if self._record is not None:  # the lowering has conditions of its own
            file_record.check(self._record, leaves)
        if self._session is None:
            self._session = self._open()
        given = dict(zip(self._captured.input_names, leaves, strict=True))
        if not self._config.export_params:
            weights = {item.name for item in self._session.get_inputs()} - set(given)
            raise InvalidArgumentError(
                f"the model was exported without its {len(weights)} weights (export_params=False): "
                "run the saved file in onnxruntime and pass them as inputs"
            )
        results = onnx_session.run(self._session, given)
        onnx_session.write_back(
            self._mutations, dict(zip(self.output_names, results, strict=True)), given
        )
        results = results[len(results) - len(self._captured.output_names) :]
        return self._captured.output_tree.unflatten(
            results,
            # numbers that other data decides are not among the graph's outputs: None
            lambda number: _core.value_of_number(number.node, symbols),
        )

    def initialize_inference_session(
        self, initializer: onnx_session.Initializer = onnx_session.open_on_cpu
    ) -> None:
        """Opens the session that calls of the program use from now on.

        Args:
            initializer: takes the path of the .onnx file and gives an
                onnxruntime.InferenceSession, with session options and providers of its own.
        """
        self._initializer = initializer
        self._session = self._open()

    def release(self) -> None:
        """Closes the session; the next call opens another."""
        self._session = None

    def compare(
        self,
        inputs: dict[str, Any],
        model: torch.nn.Module | None = None,
        *,
        tolerance: float = RUNTIME_TOLERANCE,
    ) -> OutputReport:
        """Runs ONNX Runtime and eager on the same inputs, and compares every output.

        Args:
            inputs: forward's keyword arguments.
            model: what to compare with; None is the captured program, run by PyTorch.
            tolerance: of the rule in `portwright.differences`.

        Raises:
            GuardViolatedError: sizes that the model was not captured for.
        """
        actual = self(**copy.deepcopy(inputs))
        own = copy.deepcopy(inputs)
        with torch.no_grad():
            expected = self._captured.run(own) if model is None else model(**own)
        return report(actual, expected, tolerance)

    def _open(self) -> Any:
        if self._saved_path is not None and os.path.isfile(self._saved_path):
            return self._initializer(self._saved_path)
        with tempfile.TemporaryDirectory(prefix="portwright-") as folder:
            path = os.path.join(folder, "model.onnx")
            self._model.write(path, True)
            return self._initializer(path)


class OnnxExporter(DynamoExporter):
    """Exports a model to ONNX.

    >>> onnx_program = OnnxExporter().export(model, inputs, config=OnnxConfig(dynamic=True))
    >>> outputs = onnx_program(**inputs)  # in ONNX Runtime
    >>> onnx_program.save("model.onnx")
    """

    config_class = OnnxConfig
    backends = ("dynamo", "onnx")
    tested_versions: ClassVar[dict[str, str]] = {
        **DynamoExporter.tested_versions,
        "onnx": "1.23.2",
        "onnxruntime": "1.32.0",
    }

    def export(  # type: ignore[override]  # its own config, as on the exporters page
        self,
        model: torch.nn.Module,
        sample_inputs: MutableMapping[str, Any],
        config: OnnxConfig | dict[str, Any] | None = None,
    ) -> ONNXProgram:
        """Captures the model and lowers it; saves it when `config.output_path` is set.

        Raises:
            MissingLoweringError: operators without a lowering, all listed with their lines.
            PortwrightError: see `DynamoExporter.export`, `ONNXProgram.save`.
        """
        config = self._config(config)
        assert isinstance(config, OnnxConfig)
        if config.last_token_logits:
            sample_inputs = _for_last_token(model, sample_inputs)
        captured = self._capture(model, sample_inputs, config)
        decisions_on_data.refuse(
            captured, config.allow_data_assumptions, "ONNX"
        )  # a fixed program has them as assertions
        captured = with_fixes(captured, self.backends, lambda: captured)
        program = lower(captured, config, checkpoint=getattr(model, "name_or_path", ""))
        if config.output_path is not None:
            program.save(config.output_path)
        return program

    def _decompositions(self) -> Decompositions:
        kept = frozenset(_core.lowered_operators()).union(translations())
        return Decompositions(kept, operator_decompositions.find)


def lower(captured: CapturedProgram, config: OnnxConfig, checkpoint: str = "") -> ONNXProgram:
    """The ONNX model of a captured program, which stays as it is.

    Args:
        checkpoint: the folder that the model was loaded from, for `weights="reference"`.

    Raises:
        DataDependentError: the program holds for the sample's data, and ONNX has no assertions.
        MissingLoweringError: operators without a lowering.
    """
    decisions_on_data.refuse(captured, config.allow_data_assumptions, "ONNX")
    program = captured.program.copy()
    if config.optimize:
        program.run_passes()
    own = {op: call for op, call in translations().items() if op in program.op_counts()}
    opset = config.opset_version
    if opset is None:
        opset = _core.default_opset(program)
    model = _core.lower_onnx(
        program,
        opset=opset,
        export_params=config.export_params,
        keep_initializers_as_inputs=config.keep_initializers_as_inputs,
        bfloat16_in_float32=config.bfloat16_in_float32,
        fuse=config.optimize,
        ort_fusions=config.ort_fusions,
        notes=captured.notes,
        versions=file_record.versions(),
        placeholders=set(own),
    )
    result = ONNXProgram(model, captured, config, checkpoint)
    if model.has_other_floats and config.ort_fusions in (None, "cpu"):
        result._notes += onnx_kernels.missing(model)
    if config.ort_fusions not in (None, "cpu"):
        result._notes.append(onnx_schemas.check(model, config.ort_fusions))
    if own:
        translate(result.model, own)
    apply_onnx_ir_fixes(result)
    return result


def _for_last_token(
    model: torch.nn.Module, inputs: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    if "logits_to_keep" not in inspect.signature(model.forward).parameters:
        raise InvalidArgumentError(
            f"last_token_logits=True needs a forward that takes logits_to_keep; "
            f"{type(model).__name__}'s does not: export it without, and take the last logits"
        )
    return {**inputs, "logits_to_keep": 1}


def _contract(config: OnnxConfig) -> tuple[bool, bool]:
    """Which inputs the graph has for its weights."""
    return config.export_params, config.keep_initializers_as_inputs
