"""Picks the config or the exporter that belongs to a format which is known only at run time."""

from __future__ import annotations

from typing import Any

from portwright.errors import InvalidArgumentError
from portwright.exporters.base import HfExporter
from portwright.exporters.configs import (
    DynamoConfig,
    ExecutorchConfig,
    ExportFormat,
    OnnxConfig,
    known_format,
)
from portwright.exporters.exporter_dynamo import DynamoExporter
from portwright.exporters.exporter_executorch import ExecutorchExporter
from portwright.exporters.exporter_onnx import OnnxExporter

_BACKENDS: dict[ExportFormat, tuple[type[DynamoConfig], type[HfExporter]]] = {
    ExportFormat.DYNAMO: (DynamoConfig, DynamoExporter),
    ExportFormat.ONNX: (OnnxConfig, OnnxExporter),
    ExportFormat.EXECUTORCH: (ExecutorchConfig, ExecutorchExporter),
}


class AutoExportConfig:
    """Makes the config whose class belongs to `export_format`.

    >>> AutoExportConfig.from_dict({"export_format": "onnx", "dynamic": True})
    """

    @classmethod
    def from_dict(cls, export_config_dict: dict[str, Any]) -> DynamoConfig:
        """The config of these fields.

        Raises:
            InvalidArgumentError: no `export_format`, an unknown one, or an unknown field.
        """
        config, _ = _BACKENDS[_format_of(export_config_dict)]
        return config.from_dict(export_config_dict)


class AutoHfExporter:
    """Makes the exporter that a config is for.

    >>> exporter = AutoHfExporter.from_config(config)
    >>> exporter.export(model, inputs, config=config)
    """

    @classmethod
    def from_config(cls, export_config: DynamoConfig | dict[str, Any], **kwargs: Any) -> HfExporter:
        """The exporter for this config's format; `kwargs` go to its class.

        Raises:
            InvalidArgumentError: no format, or an unknown one.
            ImportError: the exporter needs a package that is not installed.
        """
        _, exporter = _BACKENDS[_format_of(export_config)]
        return exporter(**kwargs)


def _format_of(config: Any) -> ExportFormat:
    if isinstance(config, DynamoConfig):
        return config.export_format
    if not isinstance(config, dict):
        raise InvalidArgumentError(f"a config or a dict is needed, not {type(config).__name__}")
    if "export_format" not in config:
        raise InvalidArgumentError(
            f"the dict has no 'export_format': it is one of {', '.join(ExportFormat)}"
        )
    return known_format(config["export_format"])
