"""Python loops with a symbolic number of rounds, while a model is traced: loop nodes.

The iterator of a `for` statement or of a list comprehension drives the capture. The body runs once
to find what it carries on from round to round (local variables that are set anew, tensors that are
written in place) and what it appends to lists; then once more with stand-ins for what is carried,
set into the local variables of the running function; after that the variables hold what the loop
node gives, and the lists are lazy ones. Local variables that cannot be carried on are unbound, so
that reading them is an error. Whatever does not fit (a round that differs, a carried number, a
break) raises, and the capture starts again with the loop unrolled, which fixes the number of
rounds.
"""

from __future__ import annotations

import ctypes
import dis
import sys
from collections.abc import Callable
from types import CodeType, FrameType, ModuleType
from typing import Any

import torch

from portwright import _core

_GET_ITER = dis.opmap["GET_ITER"]
_COMPREHENSIONS = ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>")
CONSTANTS = (bool, int, float, str, type(None))


class NeedsUnrolling(Exception):
    """What is done with a stand-in can only be done round by round.

    Attributes:
        way: which way of capturing a loop made the stand-in, if that is known.
    """

    def __init__(self, way: Any = None) -> None:
        super().__init__("a loop can only be captured round by round")
        self.way = way


def starts_loop(frame: FrameType) -> bool:
    """Whether the frame is at the start of a `for` over the object itself, not in a call."""
    return frame.f_code.co_code[frame.f_lasti] == _GET_ITER


class Appended:
    """Stands in a list for what the rounds of a loop appended to it; it knows no operation."""


class Rounds:
    """The iterator of a loop with a symbolic number of rounds.

    Attributes:
        finished: whether the loop has become a node.

    Args:
        count: the number of rounds, a SymInt.
        element: what the loop's variable is, given the counter.
        frame: the function that runs the loop.
        collected: makes a lazy list of what the rounds appended, given whether these are numbers
            and, per append of a round, the tensor, the lengths and the dim of `_core.end_loop`.
        repeated: makes a lazy list of one constant, so many times.
    """

    def __init__(
        self,
        count: Any,
        element: Callable[[Any], Any],
        frame: FrameType,
        collected: Callable[[bool, list[Any]], Any],
        repeated: Callable[[Any, Any], Any],
    ) -> None:
        self.finished = False
        self.when_finished: Callable[[], None] = lambda: None
        self._count = count
        self._element = element
        self._frame = frame
        self._collected = collected
        self._repeated = repeated
        self._slot: ctypes.c_void_p | None = None  # of a comprehension: where its list is
        self._tracing = 0  # which round of tracing it is
        self._counter: Any = None
        self._targets: set[str] = set()
        self._before: dict[str, Any] = {}
        self._carried: list[str] = []
        self._dropped: list[str] = []
        self._lists: list[tuple[list[Any], int]] = []
        self._state: list[tuple[dict[Any, Any], dict[Any, Any]]] = []
        self._first: dict[int, list[Any]] = {}  # what the first round of tracing appended

    def __iter__(self) -> Rounds:
        return self

    def __next__(self) -> Any:
        frame = sys._getframe(1)
        self._tracing += 1
        if self._tracing == 1:
            self._enter(frame)
            return self._begin()
        if frame is not self._frame:
            raise NeedsUnrolling
        if self._tracing == 2:
            return self._restart()
        self._end()
        raise StopIteration

    def _enter(self, frame: FrameType) -> None:
        """Finds whether a `for` statement or a list comprehension asks."""
        own = frame is self._frame
        if own == (frame.f_code.co_name in _COMPREHENSIONS):
            raise NeedsUnrolling
        if not own:
            if frame.f_code.co_name != "<listcomp>" or frame.f_back is not self._frame:
                raise NeedsUnrolling
            self._frame = frame
            self._slot = _list_of_comprehension(frame, self)
        elif not _is_for_statement(frame):
            raise NeedsUnrolling
        self._targets = _loop_targets(frame.f_code, frame.f_lasti)

    def _begin(self) -> Any:
        number: Any = torch.SymInt
        self._counter = number(_core.begin_loop(self._count.node))
        self._before = dict(self._frame.f_locals)
        lists = [value for value in self._before.values() if type(value) is list]
        if self._slot is not None:
            lists.append(ctypes.cast(self._slot, ctypes.py_object).value)
        self._lists = [(items, len(items)) for items in lists]
        self._state = _state_of(self._before)
        return self._element(self._counter)

    def _restart(self) -> Any:
        now = self._frame.f_locals
        for name, value in self._before.items():
            if name in self._targets:
                continue
            if name not in now:
                raise NeedsUnrolling
            if now[name] is value or _same_constant(value, now[name]):
                continue
            carried = _same_type(value, now[name])
            (self._carried if carried else self._dropped).append(name)
        for items, length in self._lists:
            if len(items) > length:
                self._first[id(items)] = items[length:]
                for item in items[length:]:
                    _as_tensor(item)  # as in the second round, with which this one is compared
                items[length:] = [Appended()]  # the list is no longer as in the first round
        stand_ins = _core.restart_loop([self._before[name] for name in self._carried])
        self._set(stand_ins)
        return self._element(self._counter)

    def _end(self) -> None:
        now = self._frame.f_locals
        if _is_changed(self._state):
            raise NeedsUnrolling
        lazy: dict[int, Any] = {}
        grown = []
        for items, length in self._lists:
            if len(items) > length:
                if length > 0 or len(items) < 2 or type(items[0]) is not Appended:
                    raise NeedsUnrolling
                if isinstance(items[1], CONSTANTS) and type(items[1]) is not int:
                    if len(items) > 2 or self._first[id(items)] != items[1:]:
                        raise NeedsUnrolling
                    lazy[id(items)] = self._repeated(items[1], self._count)
                    continue
                grown.append((items, [_as_tensor(item) for item in items[1:]]))
        carried = [now[name] for name in self._carried]
        appended = [tensor for _, tensors in grown for tensor in tensors]
        if not all(isinstance(item, torch.Tensor) for item in carried + appended):
            raise NeedsUnrolling
        last, results = _core.end_loop(carried, appended)
        for items, tensors in grown:
            count = len(tensors)
            numbers = not isinstance(items[1], torch.Tensor)
            lazy[id(items)] = self._collected(numbers, [results.pop(0) for _ in range(count)])
        for items, _ in self._lists:
            if id(items) in lazy:
                items[:] = [Appended()]
        names = [name for name, value in now.items() if id(value) in lazy]
        self._carried += names
        self._set(last + [lazy[id(now[name])] for name in names])
        if self._slot is not None:
            _replace(self._slot, lazy)
        self.finished = True
        self.when_finished()

    def _set(self, values: list[Any]) -> None:
        """Sets the carried variables of the running function, and unbinds those that are not."""
        if not self._carried and not self._dropped:
            return
        names = self._frame.f_locals
        names.update(zip(self._carried, values, strict=True))
        if sys.version_info >= (3, 13):  # PEP 667: they are written through, and stay bound
            if self._dropped:
                raise NeedsUnrolling
            return
        for name in self._dropped:
            names.pop(name, None)
        frame = ctypes.py_object(self._frame)
        ctypes.pythonapi.PyFrame_LocalsToFast(frame, ctypes.c_int(1))


_NO_STATE = (torch.Tensor, type, ModuleType, Rounds)


def _state_of(names: dict[str, Any]) -> list[tuple[dict[Any, Any], dict[Any, Any]]]:
    """What variables hold besides tensors: attributes and items, and how many there are in them."""
    found = []
    for value in names.values():
        objects = value.modules() if isinstance(value, torch.nn.Module) else [value]
        for obj in objects:
            items = obj if type(obj) is dict else getattr(obj, "__dict__", None)
            if type(items) is dict and not isinstance(obj, _NO_STATE):
                found.append((items, _shallow(items)))
    return found


def _shallow(items: dict[Any, Any]) -> dict[Any, Any]:
    return {
        key: (value, len(value) if type(value) in (list, dict, set) else None)
        for key, value in items.items()
        if not isinstance(value, torch.Tensor)
    }


def _is_changed(state: list[tuple[dict[Any, Any], dict[Any, Any]]]) -> bool:
    """Whether rounds left something that is not carried on. Tensors of a round are found later."""
    for items, before in state:
        now = _shallow(items)
        if now.keys() != before.keys():
            return True
        for key, (value, size) in now.items():
            same = value is before[key][0] or _same_constant(before[key][0], value)
            if not same or size != before[key][1]:
                return True
    return False


def _same_constant(before: Any, now: Any) -> bool:
    return type(before) is type(now) and isinstance(before, CONSTANTS) and bool(before == now)


def _same_type(before: Any, now: Any) -> bool:
    """Whether both are tensors of the same dtype and shape; takes no decision on symbols."""
    if not isinstance(before, torch.Tensor) or not isinstance(now, torch.Tensor):
        return False
    return before.dtype == now.dtype and sizes_text(before) == sizes_text(now)


def sizes_text(tensor: torch.Tensor) -> list[str]:
    """A tensor's sizes as text, by which they can be compared without a decision on symbols."""
    symbolic = torch.SymInt
    return [
        _core.sym_str(size.node) if isinstance(size, symbolic) else str(size)
        for size in tensor.shape
    ]


def _as_tensor(item: Any) -> Any:
    """What was appended, as a tensor: an integer as one of no dims."""
    number: Any = item
    if isinstance(item, (int, torch.SymInt)) and not isinstance(item, bool):
        return torch.full((), number, dtype=torch.int64)
    return item


def _is_for_statement(frame: FrameType) -> bool:
    """Whether the iterator was made for a `for` statement: right after GET_ITER it is asked."""
    instructions = list(dis.get_instructions(frame.f_code))
    asked = next(i for i, item in enumerate(instructions) if item.offset == frame.f_lasti)
    before = [item.opname for item in instructions[:asked] if item.opname != "EXTENDED_ARG"]
    return bool(before) and before[-1] == "GET_ITER"


def _loop_targets(code: CodeType, asked: int) -> set[str]:
    """The variables that the loop at the FOR_ITER sets: `for a, (b, c) in ...`."""
    names: set[str] = set()
    left = 1
    for item in dis.get_instructions(code):
        if item.offset <= asked or item.opname in ("EXTENDED_ARG", "CACHE"):
            continue
        if left == 0:
            break
        if item.opname == "UNPACK_SEQUENCE":
            left += int(item.argval) - 1
        elif item.opname in ("STORE_FAST", "STORE_DEREF"):
            names.add(item.argval)
            left -= 1
        else:
            break
    return names


# In CPython 3.11 the list of a comprehension is on the value stack of its frame:
# PyFrameObject is (refcount, type, f_back, f_frame), and f_frame is (f_func, f_globals, f_builtins,
# f_locals, f_code, frame_obj, previous, prev_instr, (stacktop, is_entry, owner), localsplus...).
_WORD = ctypes.sizeof(ctypes.c_void_p)
_F_FRAME = 3
_F_CODE = 4
_FRAME_OBJ = 5
_LOCALS = 9


def _word(address: int) -> int:
    return ctypes.c_size_t.from_address(address).value


def _list_of_comprehension(frame: FrameType, iterator: Any) -> ctypes.c_void_p:
    """Where the frame of a list comprehension has the list that it fills.

    Everything that is known of the frame is compared with what is found there.
    """
    if sys.version_info[:2] != (3, 11) or sys.implementation.name != "cpython":
        raise NeedsUnrolling
    code = frame.f_code
    if any(item.opname == "STORE_DEREF" for item in dis.get_instructions(code)):
        raise NeedsUnrolling
    inner = _word(id(frame) + _F_FRAME * _WORD)
    fields = inner + _LOCALS * _WORD
    stack = fields + (code.co_nlocals + len(code.co_cellvars) + len(code.co_freevars)) * _WORD
    found = [
        _word(inner + _F_CODE * _WORD) == id(code),
        _word(inner + _FRAME_OBJ * _WORD) == id(frame),
        _word(fields) == id(iterator),
        _word(stack + _WORD) == id(iterator),
    ]
    if not all(found) or _word(_word(stack) + _WORD) != id(list):
        raise NeedsUnrolling
    return ctypes.c_void_p.from_address(stack)


def _replace(slot: ctypes.c_void_p, lazy: dict[int, Any]) -> None:
    """Makes the lazy list what the comprehension gives."""
    before = ctypes.cast(slot, ctypes.py_object).value
    if id(before) not in lazy:
        return
    after = lazy[id(before)]
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(after))
    slot.value = id(after)
    ctypes.pythonapi.Py_DecRef(ctypes.py_object(before))
