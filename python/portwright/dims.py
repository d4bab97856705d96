"""Dynamic shapes as torch.export states them, turned into symbols of a capture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.export import Dim

from portwright import _core
from portwright.errors import InvalidArgumentError

_AUTO = Dim.AUTO
_UNBOUNDED = 2**62  # torch states "no maximum" as a huge number

DimSpec = tuple[int, int, int] | None  # (symbol, factor, offset)


class DimTable:
    """The symbol of every dynamic dim of every input leaf.

    Args:
        tracer: owns the symbols.
        inputs: the sample inputs by name.
        leaves: their flattened tensors, in order.
        dynamic: `Dim.AUTO` for all dims when `dynamic_shapes` is None.
        dynamic_shapes: specs by input name: a dict of dim to Dim, a list or tuple with one entry
            per dim, None for static, nested like the input for containers.

    Raises:
        InvalidArgumentError: a spec that does not fit its input.
    """

    def __init__(
        self,
        tracer: _core.Tracer,
        inputs: Mapping[str, Any],
        leaves: list[tuple[str, torch.Tensor]],
        dynamic: bool,
        dynamic_shapes: Mapping[str, Any] | None,
    ) -> None:
        self.notes: list[str] = []
        self._tracer = tracer
        self._named: dict[str, int] = {}
        self._names = {name for name, _ in leaves}
        self._dims: dict[str, list[DimSpec]] = {}
        specs = _leaf_specs(inputs, leaves, dynamic, dynamic_shapes)
        for (name, tensor), spec in zip(leaves, specs, strict=True):
            self._dims[name] = [
                self._symbol(name, axis, size, spec.get(axis))
                for axis, size in enumerate(tensor.shape)
            ]

    def of(self, name: str) -> list[DimSpec]:
        """The dims of one leaf: None for static, else (symbol, factor, offset)."""
        return self._dims.get(name, [])

    def _symbol(self, name: str, axis: int, size: int, dim: Any) -> DimSpec:
        origin = f"{name}.size({axis})"
        if dim is None or dim is Dim.STATIC:
            return None
        if isinstance(dim, int):
            if dim != size:
                raise InvalidArgumentError(
                    f"dynamic_shapes fixes {origin} at {dim}, but the sample input has {size}"
                )
            return None
        if dim is _AUTO or dim is Dim.DYNAMIC:
            return self._anonymous(origin, size, dim is _AUTO)
        if hasattr(dim, "root"):
            return self._derived(origin, size, dim)
        if hasattr(dim, "__name__"):
            return (self._declared(origin, size, dim), 1, 0)
        hint = getattr(dim, "type", None)
        if hint is not None:  # Dim.AUTO(min=..., max=...)
            return self._anonymous(origin, size, "AUTO" in str(hint), dim.min, dim.max)
        raise InvalidArgumentError(
            f"dynamic_shapes has {dim!r} for {origin}: use a torch.export.Dim, Dim.AUTO, "
            "Dim.DYNAMIC, Dim.STATIC, an int or None"
        )

    def _anonymous(
        self, origin: str, size: int, auto: bool, low: int | None = None, high: int | None = None
    ) -> DimSpec:
        if auto and size < 2:
            self.notes.append(
                f"{origin} stays {size}: a size of 0 or 1 in the sample inputs is taken as fixed "
                "under Dim.AUTO; give a larger sample or a Dim to make it dynamic"
            )
            return None
        name = f"s{len(self._named)}"
        symbol = self._tracer.add_symbol(name, low or 0, high, size, origin, not auto)
        self._named[name] = symbol
        return (symbol, 1, 0)

    def _declared(self, origin: str, size: int, dim: Any) -> int:
        name = dim.__name__
        low = max(int(getattr(dim, "min", 0)), 0)
        high = int(getattr(dim, "max", _UNBOUNDED))
        if size < low or size > high:
            raise InvalidArgumentError(
                f"{origin} is {size} in the sample inputs, outside Dim('{name}', min={low}, "
                f"max={high}); widen the Dim or change the sample"
            )
        if name not in self._named:
            self._named[name] = self._tracer.add_symbol(
                name, low, None if high >= _UNBOUNDED else high, size, origin, True
            )
            self._hints = getattr(self, "_hints", {})
            self._hints[name] = (size, origin)
        elif self._hints[name][0] != size:
            other_size, other = self._hints[name]
            raise InvalidArgumentError(
                f"Dim '{name}' is {other_size} at {other} but {size} at {origin} in the sample "
                "inputs: use two Dims, or samples of equal size"
            )
        return self._named[name]

    def _derived(self, origin: str, size: int, dim: Any) -> DimSpec:
        """A linear form of a declared dim: `2 * batch + 1`, recovered from its function."""
        offset = int(dim.fn(0))
        factor = int(dim.fn(1)) - offset
        if factor <= 0 or (size - offset) % factor != 0:
            raise InvalidArgumentError(
                f"{origin} is {size} in the sample inputs, which is not {dim.__name__}"
            )
        root = self._declared(origin, (size - offset) // factor, dim.root)
        return (root, factor, offset)


def _leaf_specs(
    inputs: Mapping[str, Any],
    leaves: list[tuple[str, torch.Tensor]],
    dynamic: bool,
    dynamic_shapes: Mapping[str, Any] | None,
) -> list[dict[int, Any]]:
    if dynamic_shapes is None:
        auto = _AUTO if dynamic else None
        return [dict.fromkeys(range(tensor.dim()), auto) for _, tensor in leaves]
    unknown = sorted(set(dynamic_shapes) - set(inputs))
    if unknown:
        raise InvalidArgumentError(
            f"dynamic_shapes names inputs that are not given: {', '.join(unknown)}; the inputs are "
            f"{', '.join(inputs)}"
        )
    specs: list[dict[int, Any]] = []
    for key in inputs:
        own = [(n, t) for n, t in leaves if n == key or n.startswith(key + ".")]
        specs += _specs_of(key, own, dynamic_shapes.get(key))
    if len(specs) != len(leaves):
        raise InvalidArgumentError("dynamic_shapes does not match the structure of the inputs")
    return specs


def _specs_of(key: str, leaves: list[tuple[str, torch.Tensor]], spec: Any) -> list[dict[int, Any]]:
    if spec is None:
        return [{} for _ in leaves]
    if len(leaves) == 1 and _is_tensor_spec(spec, leaves[0][1]):
        return [_tensor_spec(leaves[0][0], leaves[0][1], spec)]
    flat = _flatten_specs(spec)
    if len(flat) == 1:
        flat = flat * len(leaves)  # one spec for every tensor of a cache
    if len(flat) != len(leaves):
        raise InvalidArgumentError(
            f"dynamic_shapes for '{key}' has {len(flat)} entries, the input has {len(leaves)} "
            f"tensors: {', '.join(name for name, _ in leaves)}"
        )
    return [
        _tensor_spec(name, tensor, item) for (name, tensor), item in zip(leaves, flat, strict=True)
    ]


def _is_tensor_spec(spec: Any, tensor: torch.Tensor) -> bool:
    if isinstance(spec, Mapping):
        return all(isinstance(axis, int) for axis in spec)
    return isinstance(spec, (list, tuple)) and not any(
        isinstance(item, (Mapping, list, tuple)) for item in spec
    )


def _flatten_specs(spec: Any) -> list[Any]:
    if spec is None or (isinstance(spec, Mapping) and all(isinstance(k, int) for k in spec)):
        return [spec]
    if isinstance(spec, Mapping):
        return [item for value in spec.values() for item in _flatten_specs(value)]
    if isinstance(spec, (list, tuple)):
        if spec and not any(isinstance(i, (Mapping, list, tuple)) or i is None for i in spec):
            return [spec]
        return [item for value in spec for item in _flatten_specs(value)]
    return [spec]


def _tensor_spec(name: str, tensor: torch.Tensor, spec: Any) -> dict[int, Any]:
    if spec is None:
        return {}
    if isinstance(spec, Mapping):
        rank = tensor.dim()
        for axis in spec:
            if not isinstance(axis, int) or not -rank <= axis < rank:
                raise InvalidArgumentError(
                    f"dynamic_shapes for '{name}' names dim {axis!r}, the tensor has rank {rank}"
                )
        return {axis % rank: dim for axis, dim in spec.items()}
    if isinstance(spec, (list, tuple)) and len(spec) == tensor.dim():
        return dict(enumerate(spec))
    raise InvalidArgumentError(
        f"dynamic_shapes for '{name}' must be a dict of dim to Dim or one entry for each of its "
        f"{tensor.dim()} dims, not {spec!r}"
    )
