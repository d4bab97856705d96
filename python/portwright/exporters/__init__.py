"""The exporters and their configs, under the names of the Transformers exporters page."""

from portwright.exporters.auto import AutoExportConfig, AutoHfExporter
from portwright.exporters.base import HfExporter
from portwright.exporters.configs import DynamoConfig, ExecutorchConfig, ExportFormat, OnnxConfig
from portwright.exporters.exporter_dynamo import DynamoExporter
from portwright.exporters.exporter_executorch import ExecutorchExporter, ExecutorchProgram
from portwright.exporters.exporter_onnx import OnnxExporter, ONNXProgram

__all__ = [
    "AutoExportConfig",
    "AutoHfExporter",
    "DynamoConfig",
    "DynamoExporter",
    "ExecutorchConfig",
    "ExecutorchExporter",
    "ExecutorchProgram",
    "ExportFormat",
    "HfExporter",
    "ONNXProgram",
    "OnnxConfig",
    "OnnxExporter",
]
