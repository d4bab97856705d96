"""The exporters and their configs, under the names of the Transformers exporters page."""

from portwright.exporters.base import HfExporter
from portwright.exporters.configs import DynamoConfig, ExportFormat, OnnxConfig
from portwright.exporters.exporter_dynamo import DynamoExporter
from portwright.exporters.exporter_onnx import OnnxExporter, ONNXProgram

__all__ = [
    "DynamoConfig",
    "DynamoExporter",
    "ExportFormat",
    "HfExporter",
    "ONNXProgram",
    "OnnxConfig",
    "OnnxExporter",
]
