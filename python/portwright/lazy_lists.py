"""Lists whose length is a symbol, while a model is traced.

`lengths.tolist()`, and `torch.split` by such a list, give Python lists whose length the program
decides when it runs. Most models only pass them on: `torch.cat(torch.split(x, lengths), dim)` is
x, and attention over the pieces is attention over x with a block-diagonal mask. Here such lists
stay unread until Python really needs their elements; only then is their length fixed.

A comprehension over the pieces is given one `Piece`, which stands for all of them. It knows no
operation but attention, `reshape` and `torch.cat`. Whatever else happens to it ends this attempt,
and `capture` traces once more with the loop at that line unrolled.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from portwright import _core
from portwright.indexing import SymbolicIndexing
from portwright.loops import Items, NeedsUnrolling, Rounds, is_for_statement

Place = tuple[str, int]


@dataclass
class Scope:
    """What one attempt to trace a model did with its lazy lists.

    Attributes:
        unrolled: lines of loops that run over real pieces, their number being fixed.
        loops: whether a loop with a symbolic number of rounds may become a loop node.
        stood_for: lines of loops in which one Piece stood for all.
    """

    unrolled: frozenset[Place]
    loops: bool = True
    stood_for: set[Place] = field(default_factory=set)
    rounds: list[Rounds] = field(default_factory=list)
    indexing: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def open(self, rounds: Rounds) -> None:
        """Notes a loop; until all have ended, indexing takes symbols."""
        if all(other.finished for other in self.rounds):
            self.indexing.enter_context(SymbolicIndexing())
        self.rounds.append(rounds)
        rounds.when_finished = self._close

    def _close(self) -> None:
        if all(rounds.finished for rounds in self.rounds):
            self.indexing.close()

    def check_finished(self) -> None:
        """Raises NeedsUnrolling when a loop was left before its end."""
        if not all(rounds.finished for rounds in self.rounds):
            raise NeedsUnrolling


_scope: Scope | None = None


@contextlib.contextmanager
def scope(unrolled: frozenset[Place], loops: bool = True) -> Iterator[Scope]:
    """The scope of one attempt; captures take turns, so there is one at a time."""
    global _scope
    before, _scope = _scope, Scope(unrolled, loops)
    try:
        yield _scope
    finally:
        _scope.indexing.close()
        _scope = before


def stands_for_all(place: Place) -> bool:
    """Whether the loop at `place` is captured as one; notes that it is tried."""
    if _scope is None or place in _scope.unrolled:
        return False
    _scope.stood_for.add(place)
    return True


def _scope_of_attempt() -> Scope:
    assert _scope is not None
    return _scope


class Numbers(Sequence[Any]):
    """The elements of an integer tensor of shape (n,), n a symbol, as `tolist` gives them."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor
        self._items: list[Any] | None = None

    def real(self) -> list[Any]:
        """The elements, which fixes their number."""
        if self._items is None:
            self._items = [item.item() for item in self.tensor.unbind(0)]
        return self._items

    def __len__(self) -> int:
        return len(self.real())

    def __getitem__(self, index: Any) -> Any:
        return self.real()[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.real())


class Pieces(Sequence[Any]):
    """`torch.split(tensor, lengths, dim)` for a symbolic number of lengths."""

    def __init__(self, tensor: torch.Tensor, lengths: Numbers, dim: int) -> None:
        self.tensor = tensor
        self.lengths = lengths
        self.dim = dim % tensor.dim()
        self._items: tuple[torch.Tensor, ...] | None = None

    def real(self) -> tuple[torch.Tensor, ...]:
        """The pieces, which fixes their number."""
        if self._items is None:
            self._items = _split(self.tensor, self.lengths.real(), self.dim)
        return self._items

    def __len__(self) -> int:
        return len(self.real())

    def __getitem__(self, index: Any) -> Any:
        return self.real()[index]

    def __iter__(self) -> Iterator[Any]:
        frame = sys._getframe(1)
        if not stands_for_all((frame.f_code.co_filename, frame.f_lineno)):
            return iter(self.real())
        return iter((Piece(self.tensor, self.lengths, self.dim),))


class Rows(Sequence[Any]):
    """`list(tensor)` for a symbolic number of rows."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor
        self._items: tuple[torch.Tensor, ...] | None = None

    def real(self) -> tuple[torch.Tensor, ...]:
        """The rows, which fixes their number."""
        if self._items is None:
            self._items = self.tensor.unbind(0)
        return self._items

    def __len__(self) -> int:
        return len(self.real())

    def __getitem__(self, index: Any) -> Any:
        return self.real()[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.real())


class Range(Sequence[Any]):
    """`range(start, stop, step)` with symbols among its bounds."""

    def __init__(self, start: Any, stop: Any, step: int, head: tuple[Any, ...] = ()) -> None:
        self.start = start
        self.stop = stop
        self.step = step
        self.head = head  # elements before the progression

    @property
    def steps(self) -> Any:
        """The number of elements of the progression."""
        distance = (self.stop - self.start) if self.step > 0 else (self.start - self.stop)
        count = (distance + abs(self.step) - 1) // abs(self.step)
        return torch.sym_max(count, 0)  # type: ignore[no-untyped-call]

    @property
    def size(self) -> Any:
        """The number of elements."""
        return self.steps + len(self.head)

    def real(self) -> list[int]:
        """The elements, which fixes their number, not the bounds."""
        return [*self.head, *(self.start + i * self.step for i in range(int(self.steps)))]

    def __len__(self) -> int:
        return len(self.real())

    def __iter__(self) -> Iterator[Any]:
        frame = sys._getframe(1)
        place = (frame.f_code.co_filename, frame.f_lineno)
        captured = not self.head and isinstance(self.steps, torch.SymInt)
        captured = captured and _scope is not None and _scope.loops
        if not captured or not is_for_statement(frame) or not stands_for_all(place):
            return iter(self.real())
        rounds = Rounds(self.start, self.step, self.steps, frame)
        _scope_of_attempt().open(rounds)
        return rounds

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self._slice(index)
        if not isinstance(index, int):
            return self.real()[index]
        if 0 <= index < len(self.head):
            return self.head[index]
        place = index - len(self.head) if index >= 0 else self.steps + index
        if not (place < self.steps and place >= 0):
            raise IndexError("range object index out of range")
        return self.start + place * self.step

    def _slice(self, index: slice) -> Any:
        """Slices from a first element, up to so many before the last, forwards or backwards."""
        first, last, step = index.start or 0, index.stop or 0, index.step or 1
        plain = all(isinstance(item, int) for item in (first, last, step))
        if not plain or first < 0 or last > 0 or (index.stop is not None and last == 0):
            return self.real()[index]
        if step < 0:
            if first or last or self.head or step != -1:
                return self.real()[index]
            final = self.start + (self.steps - 1) * self.step
            return Range(final, self.start - self.step, -self.step)
        skipped = max(0, first - len(self.head))
        head = self.head[first::step]
        if len(self.head) > first:
            skipped = (first - len(self.head)) % step
        start = self.start + skipped * self.step
        stop = self.start + (self.steps + last) * self.step
        return Range(start, stop, self.step * step, head)

    def __radd__(self, other: Any) -> Any:
        return Range(self.start, self.stop, self.step, (*other, *self.head))


class Piece:
    """Stands for every piece of a Pieces: the whole tensor, and where it is cut."""

    def __init__(self, tensor: torch.Tensor, lengths: Numbers, dim: int) -> None:
        self._tensor = tensor
        self._lengths = lengths
        self._dim = dim

    @property
    def shape(self) -> _PieceShape:
        """The size of each dim but the one that is cut."""
        return _PieceShape(self._tensor.shape, self._dim)

    def reshape(self, *sizes: Any) -> Piece:
        """`piece.reshape(-1, last)`, which keeps what is cut in the first dim, in order."""
        if self._dim != 0 or len(sizes) != 2 or sizes[0] != -1 or self._tensor.dim() < 2:
            raise NeedsUnrolling
        inner = self._tensor[0].numel() // sizes[1]
        return Piece(self._tensor.reshape(sizes), Numbers(self._lengths.tensor * inner), 0)

    @classmethod
    def __torch_function__(cls, *args: Any, **kwargs: Any) -> Any:
        raise NeedsUnrolling

    def __getattr__(self, name: str) -> Any:
        raise NeedsUnrolling(name)


class _PieceShape:
    def __init__(self, sizes: Sequence[Any], cut: int) -> None:
        self._sizes = sizes
        self._cut = cut

    def __getitem__(self, index: Any) -> Any:
        if not isinstance(index, int) or index % len(self._sizes) == self._cut:
            raise NeedsUnrolling
        return self._sizes[index]


def attention_over_pieces(attention: Any) -> Any:
    """A Transformers attention function that also takes Pieces of query, key and value.

    The pieces attend to themselves only, so that on the whole tensors a block-diagonal mask says
    the same.
    """

    def attend(module: Any, query: Any, key: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
        pieces = [item for item in (query, key, value) if isinstance(item, Piece)]
        if not pieces:
            return attention(module, query, key, value, *args, **kwargs)
        mask = kwargs.pop("attention_mask", args[0] if args else None)
        lengths = pieces[0]._lengths.tensor
        alike = len(pieces) == 3 and all(
            item._dim == 2 and item._lengths.tensor is lengths for item in pieces
        )
        if not alike or mask is not None or len(args) > 1 or kwargs.get("is_causal") is not False:
            raise NeedsUnrolling
        whole = [item._tensor for item in pieces]
        boolean = "sdpa" in getattr(attention, "__name__", "")
        mask = _block_diagonal(lengths, whole[0], boolean)
        result = attention(module, *whole, attention_mask=mask, **kwargs)
        return (Piece(result[0], pieces[0]._lengths, 1), *result[1:])

    return attend


def _block_diagonal(lengths: torch.Tensor, query: torch.Tensor, boolean: bool) -> torch.Tensor:
    size = query.shape[2]
    places = torch.arange(size, device=query.device)
    piece = torch.bucketize(places, lengths.cumsum(0), right=True)
    same = (piece[:, None] == piece[None, :])[None, None]
    if boolean:
        return same
    lowest = torch.full((), torch.finfo(query.dtype).min, dtype=query.dtype, device=query.device)
    return torch.where(same, torch.zeros_like(lowest), lowest)


def read(obj: Any) -> Any:
    """A lazy list as a real one, for what leaves the model; anything else as it is."""
    if isinstance(obj, (Piece, Items)):
        raise NeedsUnrolling
    return obj.real() if isinstance(obj, (Numbers, Pieces, Rows, Range)) else obj


_split: Any = torch.Tensor.split
_cat = torch.cat
_stack = torch.stack
_tensor = torch.tensor
_as_tensor = torch.as_tensor


def tolist(tensor: torch.Tensor) -> Any:
    """`Tensor.tolist` of a traced tensor."""
    if tensor.dim() == 0:
        return tensor.item()
    if tensor.dim() == 1 and isinstance(tensor.shape[0], torch.SymInt):
        return Numbers(tensor)
    return [item.tolist() for item in tensor.unbind(0)]


def split(tensor: torch.Tensor, split_size: Any, dim: int = 0) -> Any:
    """`Tensor.split`, which keeps a symbolic number of pieces unread."""
    if isinstance(split_size, Numbers):
        if _core.is_traced(tensor):
            return Pieces(tensor, split_size, dim)
        split_size = split_size.real()
    return _split(tensor, split_size, dim)


def cat(tensors: Any, dim: int = 0, **kwargs: Any) -> torch.Tensor:
    """`torch.cat`, which joins unread pieces to what they were cut from."""
    dim = kwargs.pop("axis", dim)
    if isinstance(tensors, Pieces):
        if dim % tensors.tensor.dim() == tensors.dim:
            return tensors.tensor
        tensors = tensors.real()
    elif isinstance(tensors, Rows):
        if dim % (tensors.tensor.dim() - 1) == 0:
            return tensors.tensor.flatten(0, 1)
        tensors = tensors.real()
    elif _is_collected(tensors):
        dim = dim % (tensors[0].stacked.dim() - 1)
        return tensors[0].stacked.movedim(0, dim).flatten(dim, dim + 1)  # type: ignore[no-any-return]
    elif isinstance(tensors, (list, tuple)) and any(isinstance(item, Piece) for item in tensors):
        only = tensors[0]
        if len(tensors) > 1 or dim % only._tensor.dim() != only._dim:
            raise NeedsUnrolling
        return only._tensor  # type: ignore[no-any-return]
    return _cat(tensors, dim, **kwargs)


def _is_collected(tensors: Any) -> bool:
    return (
        isinstance(tensors, (list, tuple)) and len(tensors) == 1 and isinstance(tensors[0], Items)
    )


def stack(tensors: Any, dim: int = 0, **kwargs: Any) -> torch.Tensor:
    """`torch.stack`, which puts unread rows back together."""
    if isinstance(tensors, Rows):
        if dim == 0:
            return tensors.tensor
        tensors = tensors.real()
    elif _is_collected(tensors):
        return tensors[0].stacked.movedim(0, dim)  # type: ignore[no-any-return]
    return _stack(tensors, dim, **kwargs)


def tensor(data: Any, *, dtype: Any = None, device: Any = None, **kwargs: Any) -> torch.Tensor:
    """`torch.tensor` and `torch.as_tensor`, whose numbers may be symbols or traced tensors."""
    dtype = getattr(dtype, "_builtin", dtype)
    if isinstance(data, Range) and not data.head:
        return torch.arange(data.start, data.stop, data.step, dtype=dtype, device=device)
    if not _has_symbols(data):
        return _tensor(data, dtype=dtype, device=device, **kwargs)
    result = _assembled(data, device)
    return result if dtype is None else result.to(dtype)


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> torch.Tensor:
    """`torch.as_tensor`, whose numbers may be symbols or traced tensors."""
    if isinstance(data, Range) or _has_symbols(data):
        return tensor(data, dtype=dtype, device=device)
    return _as_tensor(data, dtype=getattr(dtype, "_builtin", dtype), device=device)


def _has_symbols(data: Any) -> bool:
    if isinstance(data, (list, tuple)):
        return any(_has_symbols(item) for item in data)
    if isinstance(data, (torch.SymInt, torch.SymFloat, torch.SymBool)):
        return True
    return isinstance(data, torch.Tensor) and data.dim() == 0 and _core.is_traced(data)


def _assembled(data: Any, device: Any) -> torch.Tensor:
    if isinstance(data, (list, tuple)):
        parts = [_assembled(item, device) for item in data]
        dtype = parts[0].dtype
        for part in parts[1:]:
            dtype = torch.promote_types(dtype, part.dtype)
        return _stack([part.to(dtype) for part in parts])
    if isinstance(data, torch.Tensor):
        return data if device is None else data.to(device)
    kinds = {torch.SymInt: torch.int64, torch.SymFloat: torch.get_default_dtype()}
    kind = kinds.get(type(data), torch.bool if isinstance(data, torch.SymBool) else None)
    return torch.full((), data, dtype=kind or _tensor(data).dtype, device=device)


def length(obj: Any) -> Any:
    """`len`, which may be a symbol."""
    if isinstance(obj, torch.Tensor) and obj.dim() and _core.is_traced(obj):
        return obj.shape[0]
    if isinstance(obj, Numbers):
        return obj.tensor.shape[0]
    if isinstance(obj, Pieces):
        return obj.lengths.tensor.shape[0]
    if isinstance(obj, Rows):
        return obj.tensor.shape[0]
    if isinstance(obj, Range):
        return obj.size
    if isinstance(obj, (list, tuple)) and obj and isinstance(obj[0], (Piece, Items)):
        raise NeedsUnrolling
    return len(obj)


def _reduction(builtin: Any, name: str, pair: Any = None) -> Any:
    """`sum`, `min` or `max`; `pair` says how two symbols are reduced without comparing them."""

    def reduce(*args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and not kwargs and isinstance(args[0], Numbers):
            return getattr(args[0].tensor, name)().item()
        values = args[0] if len(args) == 1 and isinstance(args[0], (list, tuple)) else args
        if pair is not None and not kwargs and _are_numbers(values):
            return functools.reduce(pair, values)
        return builtin(*args, **kwargs)

    return reduce


def _are_numbers(values: Any) -> bool:
    """Whether there are at least two numbers, symbols among them."""
    symbols = (torch.SymInt, torch.SymFloat)
    return (
        len(values) > 1
        and any(isinstance(value, symbols) for value in values)
        and all(isinstance(value, (int, float, *symbols)) for value in values)
    )


def progression(*bounds: Any) -> Any:
    """`range`, whose bounds may be symbols."""
    if not any(isinstance(bound, torch.SymInt) for bound in bounds):
        return range(*bounds)
    start, stop, step = (0, *bounds, 1) if len(bounds) == 1 else (*bounds, 1)[:3]
    return Range(start, stop, int(step))


class _Seen(type):
    """The type of a builtin type as model code sees it, which makes other objects of some values.

    `_builtin` is the type that it stands for, `_made(*values)` what a call gives.
    """

    _builtin: type
    _made: Any

    def __call__(cls, *values: Any, **options: Any) -> Any:
        return cls._made(*values, **options)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, cls._builtin)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, cls._builtin)

    def __eq__(cls, other: Any) -> bool:
        return other is cls or other is cls._builtin

    def __hash__(cls) -> int:
        return hash(cls._builtin)

    def __getattr__(cls, name: str) -> Any:
        return getattr(cls._builtin, name)


class _List(metaclass=_Seen):
    _builtin = list

    @staticmethod
    def _made(*items: Any) -> Any:
        if items and isinstance(items[0], (Numbers, Pieces, Rows, Range)):
            return items[0]
        if items and isinstance(items[0], torch.Tensor) and _has_symbolic_rows(items[0]):
            return Rows(items[0])
        return list(*items)


class _Int(metaclass=_Seen):
    _builtin = int

    @staticmethod
    def _made(*values: Any, **options: Any) -> Any:
        if len(values) == 1 and isinstance(values[0], (torch.SymInt, torch.SymFloat)):
            return torch.sym_int(values[0])  # type: ignore[no-untyped-call]
        return int(*values, **options)


class _Float(metaclass=_Seen):
    _builtin = float

    @staticmethod
    def _made(*values: Any) -> Any:
        if values and isinstance(values[0], (torch.SymInt, torch.SymFloat)):
            return torch.sym_float(values[0])  # type: ignore[no-untyped-call]
        return float(*values)


def _has_symbolic_rows(tensor: torch.Tensor) -> bool:
    return tensor.dim() > 1 and isinstance(tensor.shape[0], torch.SymInt)


# Builtins that model code sees in a form that leaves symbolic lists unread.
BUILTINS = {
    "float": _Float,
    "int": _Int,
    "len": length,
    "list": _List,
    "max": _reduction(max, "max", torch.sym_max),
    "min": _reduction(min, "min", torch.sym_min),
    "range": progression,
    "sum": _reduction(sum, "sum"),
}

# Functions of torch that take such lists.
TORCH_FUNCTIONS = {
    "as_tensor": as_tensor,
    "cat": cat,
    "concat": cat,
    "concatenate": cat,
    "stack": stack,
    "tensor": tensor,
}
