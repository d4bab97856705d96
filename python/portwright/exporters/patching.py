"""The registry of patches: reversible swaps of attributes while a model is exported.

As the Transformers exporters page describes it: a patch is a function `factory(original) ->
replacement`, registered for a backend and one or more dotted paths, and installed by
`apply_patches(backend)` for the duration of a block.
"""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import hashlib
import inspect
import io
import sys
import tokenize
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

from portwright.errors import InvalidArgumentError

Factory = Callable[[Any], Any]


@dataclass(frozen=True)
class Patch:
    """One registered patch.

    Attributes:
        path: dotted path of a function, or of a method of a class; `*` stands for any text.
        factory: makes the replacement from the original; None leaves the original in place.
        sources: fingerprints of the originals that the factory knows; empty for any original.
    """

    path: str
    factory: Factory
    sources: frozenset[str]


_PATCHES: dict[str, list[Patch]] = {}


def register_patch(
    backend: str, *dotted_paths: str, sources: Collection[str] = ()
) -> Callable[[Factory], Factory]:
    """Registers `factory(original) -> replacement` for attributes that exports to `backend` swap.

    Args:
        backend: "dynamo" (every export), "onnx" or "executorch".
        dotted_paths: `package.module.function` or `package.module.Class.method`. `*` stands for
            any text within the path. A module that is not loaded is not loaded for a patch: a
            model that needs it has loaded it.
        sources: if given, only originals with one of these `source_fingerprint`s are swapped, so
            that a patch never replaces code that it was not written for.

    Raises:
        InvalidArgumentError: no path, or one without a dot.
    """
    if not dotted_paths or any("." not in path for path in dotted_paths):
        raise InvalidArgumentError(
            "register_patch takes a backend and dotted paths such as "
            f'"transformers.models.bert.modeling_bert.BertModel.forward", not {dotted_paths}'
        )

    def register(factory: Factory) -> Factory:
        known = frozenset(sources)
        _PATCHES.setdefault(backend, []).extend(
            Patch(path, factory, known) for path in dotted_paths
        )
        return factory

    return register


@contextlib.contextmanager
def apply_patches(backend: str) -> Iterator[list[str]]:
    """Installs the patches of `backend` for the block; the originals are back afterwards, whatever
    is raised. A function that other modules imported by name is swapped there too.

    Yields:
        The paths of what was swapped.
    """
    done: list[tuple[Any, str, Any]] = []
    try:
        yield list(_install(_PATCHES.get(backend, ()), done))
    finally:
        for owner, name, original in reversed(done):
            setattr(owner, name, original)


def source_fingerprint(function: Any) -> str:
    """Eight hex digits of a function's source without its comments, docstring and layout."""
    function = inspect.unwrap(function)
    return _fingerprint(function.__code__)


def _install(patches: Collection[Patch], done: list[tuple[Any, str, Any]]) -> Iterator[str]:
    for patch in list(patches):
        for owner, name in _owners(patch.path):
            original = vars(owner)[name]
            if patch.sources and source_fingerprint(original) not in patch.sources:
                continue
            static = isinstance(original, staticmethod)
            function = original.__func__ if static else original
            replacement = patch.factory(function)
            if replacement is None:
                continue
            if callable(replacement) and callable(function):
                replacement = functools.wraps(function)(replacement)
            if static:
                replacement = staticmethod(replacement)
            places = [owner]
            if inspect.ismodule(owner):
                modules = _search_importers(name).found()
                places = [module for module in modules if vars(module).get(name) is original]
            for place in places:
                done.append((place, name, original))
                setattr(place, name, replacement)
            yield f"{_path(owner)}.{name}"


class _Search:
    """What `look(module)` finds in the loaded modules; each module is looked through once."""

    def __init__(self, look: Callable[[Any], list[Any]]) -> None:
        self._look = look
        self._seen: set[str] = set()
        self._found: list[Any] = []

    def found(self) -> list[Any]:
        if len(self._seen) != len(sys.modules):
            for name in sys.modules.keys() - self._seen:
                self._seen.add(name)
                module = sys.modules[name]
                if inspect.ismodule(module):
                    self._found += self._look(module)
        return self._found


@functools.cache
def _search_owners(path: str) -> _Search:
    """Modules and classes that have what a path with `*` names."""
    root = path.split("*")[0].rsplit(".", 1)[0]
    name = path.rsplit(".", 1)[1]

    def look(module: Any) -> list[tuple[Any, str]]:
        if not module.__name__.startswith(root):
            return []
        classes = [
            value
            for value in list(vars(module).values())
            if inspect.isclass(value) and value.__module__ == module.__name__
        ]
        return [
            (owner, name)
            for owner in (module, *classes)
            if name in vars(owner) and fnmatch.fnmatchcase(f"{_path(owner)}.{name}", path)
        ]

    return _Search(look)


@functools.cache
def _search_importers(name: str) -> _Search:
    return _Search(lambda module: [module] if name in vars(module) else [])


def _owners(path: str) -> list[tuple[Any, str]]:
    if "*" in path:
        return _search_owners(path).found()
    owner_path, name = path.rsplit(".", 1)
    owner = _resolve(owner_path)
    return [(owner, name)] if owner is not None and name in vars(owner) else []


def _path(owner: Any) -> str:
    return owner.__name__ if inspect.ismodule(owner) else f"{owner.__module__}.{owner.__qualname__}"


def _resolve(path: str) -> Any:
    """The loaded module or class at a dotted path, or None."""
    parts = path.split(".")
    for split in range(len(parts), 0, -1):
        owner: Any = sys.modules.get(".".join(parts[:split]))
        if owner is not None:
            for part in parts[split:]:
                owner = getattr(owner, part, None)
            return owner
    return None


@functools.lru_cache(maxsize=4096)
def _fingerprint(code: Any) -> str:
    lines = inspect.getsource(code)
    words = []
    layout = (tokenize.NL, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT, tokenize.NEWLINE)
    statement_start = True
    for token in tokenize.generate_tokens(io.StringIO(_dedent(lines)).readline):
        if token.type in layout:
            statement_start = statement_start or token.type != tokenize.COMMENT
            continue
        is_docstring = token.type == tokenize.STRING and statement_start
        statement_start = token.string in (":", ";")
        if not is_docstring:
            words.append(token.string)
    return hashlib.sha256(" ".join(words).encode()).hexdigest()[:8]


def _dedent(lines: str) -> str:
    indent = len(lines) - len(lines.lstrip())
    return "\n".join(line[indent:] for line in lines.splitlines()) + "\n"
