"""Which extension points did something during a block: patches that were called, preparers."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator

Uses = dict[str, set[str]]

_recorders: list[Uses] = []


def note(kind: str, name: str) -> None:
    """Notes a use in all blocks that record."""
    for uses in _recorders:
        uses[kind].add(name)


@contextlib.contextmanager
def recorded() -> Iterator[Uses]:
    """For the block, records uses: names by kind, "patch" (`module:path`) and "preparer"."""
    uses: Uses = defaultdict(set)
    _recorders.append(uses)
    try:
        yield uses
    finally:
        # By identity: recorders compare equal when they hold the same.
        _recorders[:] = [other for other in _recorders if other is not uses]
