"""Which Dim each dim of each input tensor was given: `dynamic_shapes` beside the inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.export import AdditionalInputs, Dim, ShapesCollection

from portwright.errors import InvalidArgumentError

Specs = dict[str, dict[int, Any]]  # by leaf name: the Dim of a dim


def specs_by_leaf(
    model: torch.nn.Module,
    inputs: Mapping[str, Any],
    leaves: Mapping[str, torch.Tensor],
    dynamic_shapes: Any,
) -> Specs:
    """Matches specs to tensors.

    Args:
        model: whose forward takes the inputs.
        inputs: the sample inputs by name.
        leaves: their tensors by name, in order.
        dynamic_shapes: as `torch.export.export` takes it: a dict by input name, or a sequence in
            the inputs' order, of specs nested like the inputs. The spec of a tensor is a dict of
            dim to Dim, a sequence with one Dim per dim, or None for static. A cache, or another
            object that holds tensors, takes one spec per tensor in order, the keys' specs and the
            values' specs (`{"key_cache": [...], "value_cache": [...]}` or a pair of lists), or one
            dict for all its tensors. Also a ShapesCollection or an AdditionalInputs.

    Raises:
        InvalidArgumentError: a spec that does not fit; names where.
    """
    if isinstance(dynamic_shapes, ShapesCollection):
        return _of_collection(leaves, dynamic_shapes)
    if isinstance(dynamic_shapes, AdditionalInputs):
        try:
            infer: Any = dynamic_shapes.dynamic_shapes
            dynamic_shapes = infer(model, (), dict(inputs))
        except ValueError as error:
            raise InvalidArgumentError(f"AdditionalInputs do not fit: {error}") from None
    if isinstance(dynamic_shapes, (list, tuple)):
        if len(dynamic_shapes) != len(inputs):
            raise InvalidArgumentError(
                f"dynamic_shapes has {len(dynamic_shapes)} entries, the inputs are "
                f"{', '.join(inputs)}"
            )
        dynamic_shapes = dict(zip(inputs, dynamic_shapes, strict=True))
    if not isinstance(dynamic_shapes, Mapping):
        raise InvalidArgumentError(
            f"dynamic_shapes must be a dict by input name, not {dynamic_shapes!r}"
        )
    unknown = [str(name) for name in dynamic_shapes if name not in inputs]
    if unknown:
        raise InvalidArgumentError(
            f"dynamic_shapes names inputs that are not given: {', '.join(unknown)}; the inputs are "
            f"{', '.join(inputs)}"
        )
    matching = _Matching(leaves)
    for name, value in inputs.items():
        matching.spread(name, value, dynamic_shapes.get(name))
    return matching.found


def number_notes(path: str, value: Any) -> list[str]:
    """One line per number among the inputs, which a program keeps as in the sample."""
    if isinstance(value, Mapping):
        items = list(value.items())
    elif isinstance(value, (list, tuple)):
        items = list(enumerate(value))
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        return [f"{path} stays {value!r}: a number is fixed; pass a tensor for one that changes"]
    else:
        return []
    return [
        note
        for key, item in items
        for note in number_notes(f"{path}.{key}" if path else str(key), item)
    ]


def _of_collection(leaves: Mapping[str, torch.Tensor], shapes: ShapesCollection) -> Specs:
    stated = len(shapes)
    specs = {name: _tensor_spec(name, tensor, shapes[tensor]) for name, tensor in leaves.items()}
    if len(shapes) != len({id(tensor) for tensor in leaves.values()}):
        raise InvalidArgumentError(
            f"the ShapesCollection has specs for {stated} tensors, some of which are not among the "
            f"inputs: {', '.join(leaves)}. Give it the very tensors that are exported"
        )
    return specs


class _Matching:
    def __init__(self, leaves: Mapping[str, torch.Tensor]) -> None:
        self._leaves = leaves
        self.found: Specs = {name: {} for name in leaves}

    def spread(self, path: str, value: Any, spec: Any) -> None:
        """Gives the tensors at and below `path` their specs."""
        own = [n for n in self._leaves if n == path or n.startswith(path + ".")]
        if spec is None:
            return
        if isinstance(value, torch.Tensor):
            self.found[path] = _tensor_spec(path, value, spec)
        elif not own:
            _check_constant(path, value, spec)
        elif isinstance(spec, Mapping) and all(isinstance(axis, int) for axis in spec):
            self._assign(path, own, [spec] * len(own))
        elif isinstance(value, Mapping):
            self._mapping(path, value, spec)
        elif isinstance(value, (list, tuple)):
            if not _is_list(spec) or len(spec) != len(value):
                _mismatch(path, f"a list of {len(value)} specs", spec)
            for index, (item, own_spec) in enumerate(zip(value, spec, strict=True)):
                self.spread(f"{path}.{index}", item, own_spec)
        else:
            self._object(path, value, own, spec)

    def _mapping(self, path: str, value: Mapping[Any, Any], spec: Any) -> None:
        if not isinstance(spec, Mapping) or not set(spec) <= set(value):
            _mismatch(path, f"a dict with keys of {', '.join(map(str, value))}", spec)
        for key, item in value.items():
            self.spread(f"{path}.{key}", item, spec.get(key))

    def _object(self, path: str, value: Any, own: list[str], spec: Any) -> None:
        keys = [name for name in own if name.endswith(".key")]
        values = [name for name in own if name.endswith(".value")]
        parts = spec
        if isinstance(spec, Mapping) and set(spec) == {"key_cache", "value_cache"}:
            parts = [spec["key_cache"], spec["value_cache"]]
        elif isinstance(spec, Mapping) and all(hasattr(value, str(key)) for key in spec):
            for key, item in spec.items():
                self.spread(f"{path}.{key}", getattr(value, key), item)
            return
        if not _is_list(parts):
            _mismatch(path, f"specs for {', '.join(own)}", spec)
        # Two layers in pairs are read as torch.export reads them: all keys, then all values.
        if [len(part) if _is_list(part) else 0 for part in parts] == [len(keys), len(values)] and (
            len(own) == len(keys) + len(values)
        ):
            self._assign(path, keys + values, [*parts[0], *parts[1]])
        elif len(parts) == len(own):
            self._assign(path, own, parts)
        else:
            flat = [item for part in parts if _is_list(part) for item in part]
            if len(flat) != len(own):
                _mismatch(path, f"specs for {', '.join(own)}", spec)
            self._assign(path, own, flat)

    def _assign(self, path: str, names: Sequence[str], specs: Sequence[Any]) -> None:
        for name, spec in zip(names, specs, strict=True):
            self.found[name] = _tensor_spec(name, self._leaves[name], spec)


def _is_list(spec: Any) -> bool:
    return isinstance(spec, (list, tuple))


def _mismatch(path: str, wanted: str, spec: Any) -> None:
    raise InvalidArgumentError(f"dynamic_shapes for '{path}' must be {wanted}, not {spec!r}")


def _check_constant(path: str, value: Any, spec: Any) -> None:
    same = isinstance(spec, int) and spec == value
    if same or spec is Dim.STATIC or spec is Dim.AUTO or not spec:
        return
    raise InvalidArgumentError(
        f"dynamic_shapes has {spec!r} for '{path}', which is {value!r}: what is no tensor stays as "
        "in the sample. Pass a tensor, or state None"
    )


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
