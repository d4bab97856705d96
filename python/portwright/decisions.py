"""How conditions on symbolic sizes are decided while a model is traced."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from portwright import _core


def as_operator(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, whose conditions are decided as those of operators: 0 and 1 are like any size.

    For code whose branches are ways to one result, so that the one for larger sizes also holds for
    these. Nothing is recorded that would exclude them.
    """

    @functools.wraps(function)
    def decided(*args: Any, **kwargs: Any) -> Any:
        before = _core.set_read_as_operator(True)
        try:
            return function(*args, **kwargs)
        finally:
            _core.set_read_as_operator(before)

    return decided
