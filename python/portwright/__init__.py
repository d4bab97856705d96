"""Portwright exports Transformers models and PyTorch modules, captured natively and verified."""

from portwright.errors import PortwrightError
from portwright.exporters import (
    AutoExportConfig,
    AutoHfExporter,
    DynamoConfig,
    DynamoExporter,
    ExecutorchConfig,
    ExecutorchExporter,
    ExportFormat,
    HfExporter,
    OnnxConfig,
    OnnxExporter,
    ONNXProgram,
)
from portwright.exporters.executorch_file import ExecutorchFile
from portwright.exporters.onnx_file import ONNXFile
from portwright.loading import load

__version__ = "0.1.0"

__all__ = [
    "AutoExportConfig",
    "AutoHfExporter",
    "DynamoConfig",
    "DynamoExporter",
    "ExecutorchConfig",
    "ExecutorchExporter",
    "ExecutorchFile",
    "ExportFormat",
    "HfExporter",
    "ONNXFile",
    "ONNXProgram",
    "OnnxConfig",
    "OnnxExporter",
    "PortwrightError",
    "__version__",
    "load",
]
