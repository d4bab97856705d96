"""Builtin types as model code sees them while it is traced: calls keep symbols and lazy lists."""

from __future__ import annotations

from typing import Any

import torch


class SeenType(type):
    """The type of what stands for a builtin type.

    `_builtin` is that type, `_made(*values)` what a call gives, `_lists` what else counts as its
    instances.
    """

    _builtin: type
    _made: Any
    _lists: tuple[type, ...] = ()

    def __call__(cls, *values: Any, **options: Any) -> Any:
        return cls._made(*values, **options)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, (cls._builtin, *cls._lists))

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, cls._builtin)

    def __eq__(cls, other: Any) -> bool:
        return other is cls or other is cls._builtin

    def __hash__(cls) -> int:
        return hash(cls._builtin)

    def __getattr__(cls, name: str) -> Any:
        return getattr(cls._builtin, name)


class Int(metaclass=SeenType):
    """`int`: of a symbol a symbol."""

    _builtin = int

    @staticmethod
    def _made(*values: Any, **options: Any) -> Any:
        if len(values) == 1 and isinstance(values[0], (torch.SymInt, torch.SymFloat)):
            return torch.sym_int(values[0])  # type: ignore[no-untyped-call]
        return int(*values, **options)


class Float(metaclass=SeenType):
    """`float`: of a symbol a symbol."""

    _builtin = float

    @staticmethod
    def _made(*values: Any) -> Any:
        if values and isinstance(values[0], (torch.SymInt, torch.SymFloat)):
            return torch.sym_float(values[0])  # type: ignore[no-untyped-call]
        return float(*values)
