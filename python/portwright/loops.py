"""`for i in range(n)` with a symbolic n, while a model is traced: one loop node in the program.

The iterator drives the capture. The body runs once to find what it carries on from round to round
(local variables that are set anew, tensors that are written in place) and what it appends to lists;
then once more with stand-ins for what is carried, set into the local variables of the running
function; after that the variables hold what the loop node gives. Whatever does not fit (a round
that differs, a carried number, a break) raises, and the capture starts again with the loop
unrolled, which fixes the number of rounds.
"""

from __future__ import annotations

import ctypes
import dis
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch

from portwright import _core

_GET_ITER = dis.opmap["GET_ITER"]


class NeedsUnrolling(Exception):
    """What is done with a stand-in can only be done round by round."""


def is_for_statement(frame: FrameType) -> bool:
    """Whether the frame is at the start of a `for` over the object itself, not over a zip of it."""
    return frame.f_code.co_code[frame.f_lasti] == _GET_ITER


class Items:
    """Stands in a list for what the rounds of a loop appended to it."""

    def __init__(self, stacked: torch.Tensor) -> None:
        self.stacked = stacked  # along dim 0


class Rounds:
    """The iterator of a `for` statement with a symbolic number of rounds."""

    def __init__(self, start: Any, step: int, count: Any, frame: FrameType) -> None:
        self.finished = False
        self.when_finished: Callable[[], None] = lambda: None
        self._start = start
        self._step = step
        self._count = count
        self._frame = frame
        self._tracing = 0  # which round of tracing it is
        self._counter: Any = None
        self._names: list[str] = []
        self._lists: list[tuple[list[Any], int]] = []

    def __iter__(self) -> Rounds:
        return self

    def __next__(self) -> Any:
        if sys._getframe(1) is not self._frame:  # a comprehension keeps its list out of sight
            raise NeedsUnrolling
        self._tracing += 1
        if self._tracing == 1:
            return self._begin()
        if self._tracing == 2:
            return self._restart()
        self._end()
        raise StopIteration

    def _begin(self) -> Any:
        number: Any = torch.SymInt
        counter = number(_core.begin_loop(self._count.node))
        self._counter = self._start + counter * self._step
        self._before = dict(self._frame.f_locals)
        self._lists = [
            (value, len(value)) for value in self._before.values() if type(value) is list
        ]
        return self._counter

    def _restart(self) -> Any:
        now = self._frame.f_locals
        for name, value in self._before.items():
            if name not in now or now[name] is value or now[name] is self._counter:
                continue
            both = (value, now[name])
            if not all(isinstance(item, torch.Tensor) for item in both):
                if type(value) is type(now[name]) and isinstance(value, (bool, str, type(None))):
                    continue
                raise NeedsUnrolling
            self._names.append(name)
        for items, length in self._lists:
            del items[length:]
        stand_ins = _core.restart_loop([self._before[name] for name in self._names])
        self._set(stand_ins)
        return self._counter

    def _end(self) -> None:
        now = self._frame.f_locals
        grown = [(items, length) for items, length in self._lists if len(items) > length]
        tensors = [now[name] for name in self._names] + [items[-1] for items, _ in grown]
        alike = all(length == 0 and len(items) == 1 for items, length in grown)
        if not alike or not all(isinstance(item, torch.Tensor) for item in tensors):
            raise NeedsUnrolling
        last, stacked = _core.end_loop(
            [now[name] for name in self._names], [items[0] for items, _ in grown]
        )
        self._set(last)
        for (items, _), tensor in zip(grown, stacked, strict=True):
            items[:] = [Items(tensor)]
        self.finished = True
        self.when_finished()

    def _set(self, tensors: list[torch.Tensor]) -> None:
        """Sets the carried variables of the running function (PEP 667 from Python 3.13 on)."""
        names = self._frame.f_locals
        names.update(zip(self._names, tensors, strict=True))
        if sys.version_info < (3, 13):
            frame = ctypes.py_object(self._frame)
            ctypes.pythonapi.PyFrame_LocalsToFast(frame, ctypes.c_int(0))
