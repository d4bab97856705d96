"""The exception classes that Portwright raises.

One class per error code of the engine (src/base/error.h); all derive from `PortwrightError`.
"""

from __future__ import annotations


class PortwrightError(Exception):
    """Base of all errors that Portwright raises on purpose.

    Attributes:
        source_file: the model's Python file, `""` when unknown.
        source_line: the line in it, `0` when unknown.
        module_path: the `nn.Module` path, for example `"encoder.layer.0"`, `""` when unknown.
    """

    source_file: str = ""
    source_line: int = 0
    module_path: str = ""


class InvalidArgumentError(PortwrightError, ValueError):
    """The caller passed something that can never work."""


class UnsupportedError(PortwrightError, NotImplementedError):
    """Valid, but this version cannot do it."""


class MissingLoweringError(PortwrightError, NotImplementedError):
    """Operators without a lowering for the backend; all of them are listed."""


class DataDependentError(PortwrightError, RuntimeError):
    """The model decides on the value of a tensor while it is traced."""


class GuardViolatedError(PortwrightError, RuntimeError):
    """An input or an explicit Dim breaks a condition that the program was captured under."""


class SymbolOverflowError(PortwrightError, OverflowError):
    """Shape arithmetic left the range of 64-bit integers."""


class FileError(PortwrightError, OSError):
    """The operating system refused to read or write a file."""


class CorruptFileError(PortwrightError, ValueError):
    """A file is truncated or is not what it claims to be."""


class IrParseError(PortwrightError, ValueError):
    """Text that does not follow the grammar of the IR."""


class VerificationError(PortwrightError, AssertionError):
    """An artifact ran but differs from eager."""


class InternalError(PortwrightError, RuntimeError):
    """A bug in Portwright: please report it with the message."""
