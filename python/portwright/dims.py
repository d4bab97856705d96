"""Dynamic shapes as torch.export states them, turned into symbols of a capture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.export import Dim

from portwright import _core
from portwright.dim_specs import Specs
from portwright.errors import InvalidArgumentError

_HINT = type(Dim.AUTO)
_UNBOUNDED = 2**62  # torch states "no maximum" as a number above all

DimSpec = tuple[int, int, int] | None  # (symbol, factor, offset)


def has_small_automatic_dims(leaves: list[tuple[str, torch.Tensor]], specs: Specs) -> bool:
    """Whether a `Dim.AUTO` has a size of 0 or 1 in the sample inputs."""
    return any(
        _is_small_automatic(size, specs.get(name, {}).get(axis))
        for name, tensor in leaves
        for axis, size in enumerate(tensor.shape)
    )


def _is_small_automatic(size: int, dim: Any) -> bool:
    return size < 2 and isinstance(dim, _HINT) and dim.type is Dim.AUTO.type


@dataclass(frozen=True)
class _Named:
    symbol: int
    limits: tuple[int, int]
    size: int  # in the sample
    origin: str


class DimTable:
    """The symbol of every dynamic dim of every input leaf.

    Args:
        tracer: owns the symbols.
        leaves: the sample inputs' tensors with their names, in order.
        specs: the Dims by leaf name; dims without one are static.
        fix_small: why automatic dims whose sample size is 0 or 1 stay static; None makes symbols
            of them like of other dims.

    Attributes:
        notes: what was taken for fixed, and why.
        must_vary: the symbols of `Dim.DYNAMIC`, with the dims that they are.

    Raises:
        InvalidArgumentError: a Dim that does not fit its dim.
    """

    def __init__(
        self,
        tracer: _core.Tracer,
        leaves: list[tuple[str, torch.Tensor]],
        specs: Specs,
        fix_small: str | None = None,
    ) -> None:
        self.notes: list[str] = []
        self.must_vary: dict[str, str] = {}
        self._fix_small = fix_small
        self._tracer = tracer
        self._named: dict[str, _Named] = {}
        self._reserved = {
            name
            for spec in specs.values()
            for dim in spec.values()
            for name in [getattr(getattr(dim, "root", dim), "__name__", None)]
        }
        self._count = 0
        self._kept: dict[int, list[str]] = {}  # by size: the origins of what fix_small fixed
        self._dims: dict[str, list[DimSpec]] = {}
        for name, tensor in leaves:
            self._dims[name] = [
                self._symbol(f"{name}.size({axis})", size, specs[name].get(axis))
                for axis, size in enumerate(tensor.shape)
            ]
        for size, origins in self._kept.items():
            which = ", ".join(origins)
            self.notes.append(f"kept at {size}: {which}; with other sizes, {fix_small}")

    def of(self, name: str) -> list[DimSpec]:
        """The dims of one leaf: None for static, else (symbol, factor, offset)."""
        return self._dims.get(name, [])

    def _symbol(self, origin: str, size: int, dim: Any) -> DimSpec:
        if dim is None or (isinstance(dim, int) and dim == size):
            return None
        if isinstance(dim, int):
            raise InvalidArgumentError(
                f"dynamic_shapes fixes {origin} at {dim}, but the sample input has {size}"
            )
        if isinstance(dim, _HINT):
            return self._hinted(origin, size, dim)
        if isinstance(dim, Dim):
            return self._derived(origin, size, dim)
        raise InvalidArgumentError(
            f"dynamic_shapes has {dim!r} for {origin}: use a torch.export.Dim, Dim.AUTO, "
            "Dim.DYNAMIC, Dim.STATIC, an int or None"
        )

    def _hinted(self, origin: str, size: int, dim: Any) -> DimSpec:
        """Dim.AUTO, Dim.DYNAMIC or Dim.STATIC, which may have limits: Dim.AUTO(min=2, max=8)."""
        if dim.type is Dim.STATIC.type:
            return None
        low, high = dim.min or 0, dim.max
        if size < low or (high is not None and size > high):
            raise InvalidArgumentError(
                f"{origin} is {size} in the sample inputs, outside {dim!r}; widen it or change the "
                "sample"
            )
        if self._fix_small and _is_small_automatic(size, dim):
            self._kept.setdefault(size, []).append(origin)
            return None
        while f"s{self._count}" in self._reserved:
            self._count += 1
        name = f"s{self._count}"
        self._count += 1
        if dim.type is Dim.DYNAMIC.type:
            self.must_vary[name] = origin
        return (self._tracer.add_symbol(name, low, high, size, origin, False), 1, 0)

    def _derived(self, origin: str, size: int, dim: Any) -> DimSpec:
        """A Dim, or a linear form of one: `2 * batch + 1`, recovered from its function."""
        if not hasattr(dim, "root"):
            return (self._declared(origin, size, dim), 1, 0)
        offset = int(dim.fn(0))
        factor = int(dim.fn(1)) - offset
        if (size - offset) % factor != 0:
            raise InvalidArgumentError(
                f"{origin} is {size} in the sample inputs, which is not {dim.__name__}"
            )
        return (self._declared(origin, (size - offset) // factor, dim.root), factor, offset)

    def _declared(self, origin: str, size: int, dim: Any) -> int:
        """The symbol of a named Dim, one for all dims that share the name."""
        name = dim.__name__
        low, high = max(int(dim.min), 0), int(min(dim.max, _UNBOUNDED))
        if size < low or size > high:
            raise InvalidArgumentError(
                f"{origin} makes '{name}' {size} in the sample inputs, outside {dim!r}; widen the "
                "Dim or change the sample"
            )
        known = self._named.get(name)
        if known is None:
            limit = None if high >= _UNBOUNDED else high
            symbol = self._tracer.add_symbol(name, low, limit, size, origin, True)
            self._named[name] = _Named(symbol, (low, high), size, origin)
            return symbol
        if known.limits != (low, high):
            raise InvalidArgumentError(
                f"dynamic_shapes has two Dims named '{name}' with different limits, at "
                f"{known.origin} and {origin}: give them different names, or the same limits"
            )
        if known.size != size:
            raise InvalidArgumentError(
                f"Dim '{name}' is {known.size} at {known.origin} but {size} at {origin} in the "
                "sample inputs: use two Dims, or samples of equal size"
            )
        return known.symbol
