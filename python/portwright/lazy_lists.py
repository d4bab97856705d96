"""Lists whose length is a symbol, while a model is traced.

`lengths.tolist()`, and `torch.split` by such a list, give Python lists whose length the program
decides when it runs. Most models only pass them on: `torch.cat(torch.split(x, lengths), dim)` is
x, and attention over the pieces is attention over x with a block-diagonal mask. Here such lists
stay unread until Python really needs their elements; only then is their length fixed.

A comprehension over the pieces is given one `Piece`, which stands for all of them. It knows no
operation but attention, `reshape` and `torch.cat`. Whatever else happens to it ends this attempt,
and `capture` traces once more, with that loop as a loop node (`portwright.loops`); where that fails
too, with the loop unrolled. `portwright.lazy_functions` has the functions that take lazy lists.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import torch

from portwright.indexing import SymbolicIndexing
from portwright.loops import NeedsUnrolling, Rounds, starts_loop

Place = tuple[str, int]
# How a loop is captured: "piece" (one Piece stands for all), "loop" (a loop node), or the name of
# a higher-order operator (a loop node).
Way = tuple[Place, str]


@dataclass
class Scope:
    """What one attempt to trace a model did with its lazy lists.

    Attributes:
        unrolled: ways that were tried in vain.
        loops: whether a loop with a symbolic number of rounds may become a loop node.
        stood_for: ways that are tried in this attempt.
    """

    unrolled: frozenset[Way]
    loops: bool = True
    stood_for: set[Way] = field(default_factory=set)
    rounds: list[tuple[Rounds | OpenLoop, Way]] = field(default_factory=list)
    indexing: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def open(self, rounds: Rounds | OpenLoop, way: Way) -> None:
        """Notes a loop; until all have ended, indexing takes symbols."""
        if not self._unfinished():
            self.indexing.enter_context(SymbolicIndexing())
        self.rounds.append((rounds, way))
        rounds.when_finished = self._close

    def _unfinished(self) -> list[Way]:
        return [way for rounds, way in self.rounds if not rounds.finished]

    def _close(self) -> None:
        if not self._unfinished():
            self.indexing.close()

    def check_finished(self) -> None:
        """Raises NeedsUnrolling when a loop was left before its end."""
        if self._unfinished():
            raise NeedsUnrolling

    def culprits(self, error: Exception) -> frozenset[Way]:
        """What not to try again: what the error names, the innermost open loop, or all."""
        if isinstance(error, NeedsUnrolling) and error.way is not None:
            return frozenset([error.way])
        unfinished = self._unfinished()
        return frozenset(unfinished[-1:] or self.stood_for)


_scope: Scope | None = None


@contextlib.contextmanager
def scope(unrolled: frozenset[Way], loops: bool = True) -> Iterator[Scope]:
    """The scope of one attempt; captures take turns, so there is one at a time."""
    global _scope
    before, _scope = _scope, Scope(unrolled, loops)
    try:
        yield _scope
    finally:
        _scope.indexing.close()
        _scope = before


class OpenLoop:
    """A loop that is being captured as a node, opened in the scope until `finish`."""

    def __init__(self) -> None:
        self.finished = False
        self.when_finished: Callable[[], None] = lambda: None

    def finish(self) -> None:
        self.finished = True
        self.when_finished()


def open_loop(way: Way) -> OpenLoop | None:
    """Opens a loop that is captured this way, unless that was tried in vain."""
    if _scope is None or not _scope.loops or not _tries(way):
        return None
    loop = OpenLoop()
    _scope.open(loop, way)
    return loop


def _tries(way: Way) -> bool:
    """Whether a loop is captured this way; notes that it is tried."""
    if _scope is None or way in _scope.unrolled:
        return False
    _scope.stood_for.add(way)
    return True


class LazyList(Sequence[Any]):
    """A list whose length is a symbol. Reading all of it fixes its length.

    Subclasses say how long it is, how to read all of it, and what a loop over it gives.
    """

    _items: Sequence[Any] | None = None

    @property
    def size(self) -> Any:
        """The number of elements, an int or a SymInt."""
        raise NotImplementedError

    def read_all(self) -> Sequence[Any]:
        """The elements, their number being fixed."""
        raise NotImplementedError

    def reader(self) -> Callable[[Any], Any]:
        """Gives the element at an index, a SymInt; what elements share is computed here."""
        raise NotImplementedError

    def piece(self, way: Way) -> Any:
        """The one element that stands for all, or None."""
        return None

    def real(self) -> Sequence[Any]:
        """The elements, which fixes their number."""
        if self._items is None:
            self._items = self.read_all()
        return self._items

    def __len__(self) -> int:
        return len(self.real())

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice) and self._is_whole(index):
            return self
        if self._items is not None or not isinstance(index, (int, torch.SymInt)):
            return self.real()[index]
        place = index if index >= 0 else self.size + index
        if not (place >= 0 and place < self.size):
            raise IndexError("list index out of range")
        return self.reader()(place)

    def _is_whole(self, index: slice) -> bool:
        if index.start not in (None, 0) or index.step not in (None, 1):
            return False
        return index.stop is None or (
            isinstance(index.stop, torch.SymInt) and bool(index.stop == self.size)
        )

    def __iter__(self) -> Iterator[Any]:
        return self.iterate(sys._getframe(1))

    def iterate(self, frame: FrameType) -> Iterator[Any]:
        """The elements for the loop that the frame runs."""
        place = (frame.f_code.co_filename, frame.f_lineno)
        piece = self.piece((place, "piece"))
        if piece is not None and _tries((place, "piece")):
            return iter((piece,))
        if not isinstance(self.size, torch.SymInt) or not starts_loop(frame):
            return iter(self.real())
        if _scope is None or not _scope.loops or not _tries((place, "loop")):
            return iter(self.real())
        rounds = Rounds(self.size, self.reader(), frame, _collected, Repeated)
        _scope.open(rounds, (place, "loop"))
        return rounds


class Numbers(LazyList):
    """The elements of an integer tensor of shape (n,), n a symbol, as `tolist` gives them."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor

    @property
    def size(self) -> Any:
        return self.tensor.shape[0]

    def read_all(self) -> Sequence[Any]:
        return [item.item() for item in self.tensor.unbind(0)]

    def reader(self) -> Callable[[Any], Any]:
        return lambda index: self.tensor.select(0, index).item()


class Lists(LazyList):
    """An integer tensor of more dims, the first a symbol, as `tolist` gives it."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor

    @property
    def size(self) -> Any:
        return self.tensor.shape[0]

    def read_all(self) -> Sequence[Any]:
        return [item.tolist() for item in self.tensor.unbind(0)]

    def reader(self) -> Callable[[Any], Any]:
        return lambda index: self.tensor.select(0, index).tolist()


class Rows(LazyList):
    """`list(tensor)` for a symbolic number of rows."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor

    @property
    def size(self) -> Any:
        return self.tensor.shape[0]

    def read_all(self) -> Sequence[Any]:
        return self.tensor.unbind(0)

    def reader(self) -> Callable[[Any], Any]:
        return lambda index: self.tensor.select(0, index)


class Repeated(LazyList):
    """One constant, so many times."""

    def __init__(self, value: Any, times: Any) -> None:
        self.value = value
        self.times = times

    @property
    def size(self) -> Any:
        return self.times

    def read_all(self) -> Sequence[Any]:
        return [self.value] * int(self.times)

    def reader(self) -> Callable[[Any], Any]:
        return lambda index: self.value


class Pieces(LazyList):
    """`torch.split(tensor, lengths, dim)` for a symbolic number of lengths."""

    def __init__(self, tensor: torch.Tensor, lengths: Numbers, dim: int) -> None:
        self.tensor = tensor
        self.lengths = lengths
        self.dim = dim % tensor.dim()

    @property
    def size(self) -> Any:
        return self.lengths.size

    def read_all(self) -> Sequence[Any]:
        items: Sequence[Any] = split_real(self.tensor, self.lengths.real(), self.dim)
        return items

    def reader(self) -> Callable[[Any], Any]:
        lengths = self.lengths.tensor
        ends = lengths.cumsum(0)

        def piece(index: Any) -> Any:
            length: Any = lengths.select(0, index).item()
            end: Any = ends.select(0, index).item()
            return self.tensor.narrow(self.dim, end - length, length)

        return piece

    def piece(self, way: Way) -> Any:
        return Piece(self.tensor, self.lengths, self.dim, way)


class Zipped(LazyList):
    """`zip` of lazy lists, or `enumerate` of one: tuples."""

    def __init__(self, lists: Sequence[LazyList]) -> None:
        self.lists = lists

    @property
    def size(self) -> Any:
        size = self.lists[0].size
        for items in self.lists[1:]:
            size = torch.sym_min(size, items.size)  # type: ignore[no-untyped-call]
        return size

    def read_all(self) -> Sequence[Any]:
        return list(zip(*(items.real() for items in self.lists), strict=False))

    def reader(self) -> Callable[[Any], Any]:
        readers = [items.reader() for items in self.lists]
        return lambda index: tuple(read(index) for read in readers)

    def piece(self, way: Way) -> Any:
        if not all(items.size == self.size for items in self.lists):
            return None  # the longer ones have elements that belong to no tuple
        found = [items.piece(way) for items in self.lists]
        return None if any(piece is None for piece in found) else tuple(found)


def _collected(numbers: bool, results: list[Any]) -> LazyList:
    """The list that the rounds of a loop appended to: per append of a round, see Rounds."""
    if len(results) > 1:
        tensors = [tensor for tensor, lengths, _ in results if lengths is None]
        if len(tensors) < len(results) or numbers:
            raise NeedsUnrolling
        return Rows(torch.stack(tensors, 1).flatten(0, 1))
    tensor, lengths, dim = results[0]
    if lengths is not None:
        return Pieces(tensor, Numbers(lengths), dim)
    return Numbers(tensor) if numbers else Rows(tensor)


class Range(LazyList):
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

    def read_all(self) -> Sequence[Any]:
        # This fixes the length, not the bounds.
        return [*self.head, *(self.start + i * self.step for i in range(int(self.steps)))]

    def reader(self) -> Callable[[Any], Any]:
        if self.head:
            raise NeedsUnrolling
        return lambda index: self.start + index * self.step

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

    def __init__(self, tensor: torch.Tensor, lengths: Numbers, dim: int, way: Way) -> None:
        self._tensor = tensor
        self._lengths = lengths
        self._dim = dim
        self._way = way

    @property
    def shape(self) -> _PieceShape:
        """The size of each dim but the one that is cut."""
        return _PieceShape(self._tensor.shape, self._dim, self._way)

    def reshape(self, *sizes: Any) -> Piece:
        """`piece.reshape(-1, last)`, which keeps what is cut in the first dim, in order."""
        if self._dim != 0 or len(sizes) != 2 or sizes[0] != -1 or self._tensor.dim() < 2:
            raise NeedsUnrolling(self._way)
        inner = self._tensor[0].numel() // sizes[1]
        return Piece(
            self._tensor.reshape(sizes), Numbers(self._lengths.tensor * inner), 0, self._way
        )

    @classmethod
    def __torch_function__(cls, *args: Any, **kwargs: Any) -> Any:
        raise NeedsUnrolling

    def __getattr__(self, name: str) -> Any:
        raise NeedsUnrolling(self._way)


class _PieceShape:
    def __init__(self, sizes: Sequence[Any], cut: int, way: Way) -> None:
        self._sizes = sizes
        self._cut = cut
        self._way = way

    def __getitem__(self, index: Any) -> Any:
        if not isinstance(index, int) or index % len(self._sizes) == self._cut:
            raise NeedsUnrolling(self._way)
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
            raise NeedsUnrolling(pieces[0]._way)
        whole = [item._tensor for item in pieces]
        boolean = "sdpa" in getattr(attention, "__name__", "")
        mask = _block_diagonal(lengths, whole[0], boolean)
        result = attention(module, *whole, attention_mask=mask, **kwargs)
        return (Piece(result[0], pieces[0]._lengths, 1, pieces[0]._way), *result[1:])

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


split_real: Any = torch.Tensor.split
