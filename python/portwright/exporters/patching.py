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
import logging
import re
import sys
import tokenize
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

from portwright import usage
from portwright.capture import CAPTURE_LOCK
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


_LOG = logging.getLogger("portwright.patches")
_SEGMENT = re.compile(r"[\w*<>]+")
_ABSENT = object()


def register_patch(
    backend: str, *dotted_paths: str, sources: Collection[str] = ()
) -> Callable[[Factory], Factory]:
    """Registers `factory(original) -> replacement` for attributes that exports to `backend` swap.

    The factory gets a function, of a method, static method or class method the function itself
    (which takes `cls` first), and of anything else what is there; a property may be replaced by
    another one or by a function that is its getter.

    Args:
        backend: "dynamo" (every export), "onnx" or "executorch".
        dotted_paths: `package.module.function` or `package.module.Class.attribute`, which the class
            may inherit: the patch is then on the class that is named only. `*` stands for any text
            within the path, of attributes where they are defined. A module that is not loaded is
            not loaded for a patch: a model that needs it has loaded it.
        sources: if given, only originals with one of these `source_fingerprint`s are swapped, so
            that a patch never replaces code that it was not written for.

    Raises:
        InvalidArgumentError: no path, one without a dot, or one with a part that is no name.
    """
    if not dotted_paths or not all(map(_is_dotted, dotted_paths)):
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
    is raised. A function that other modules imported by name is swapped there too. In a block
    within a block, what is installed already stays as it is. What a patch names and this version
    of a library does not have is left out; `patch_inventory` says which, and why.

    Yields:
        The paths of what was swapped.

    Raises:
        InvalidArgumentError: an attribute that cannot be set, as of a built-in type.
    """
    with _applied(backend) as outcomes:
        yield [path for outcome in outcomes for path in outcome.swapped]


@dataclass
class Outcome:
    """What installing one patch came to.

    Attributes:
        patch: the patch.
        swapped: the paths of what it replaced.
        reason: why it replaced nothing; empty if it did.
    """

    patch: Patch
    swapped: list[str]
    reason: str = ""


def patch_inventory(backend: str) -> list[Outcome]:
    """What each patch of `backend` finds to replace in the modules that are loaded now."""
    with _applied(backend) as outcomes:
        return outcomes


# What is swapped at the moment; swaps are process-wide, so they nest and threads take turns.
_installed: set[tuple[int, int, str]] = set()


@contextlib.contextmanager
def _applied(backend: str) -> Iterator[list[Outcome]]:
    done: list[tuple[Any, str, Any]] = []
    with CAPTURE_LOCK:
        before = set(_installed)
        try:
            yield [_install(patch, done) for patch in list(_PATCHES.get(backend, ()))]
        finally:
            for place, name, original in reversed(done):
                if original is not _ABSENT:
                    setattr(place, name, original)
                elif name in vars(place):
                    delattr(place, name)
            _installed.intersection_update(before)


def _is_dotted(path: str) -> bool:
    parts = path.split(".")
    return len(parts) > 1 and all(map(_SEGMENT.fullmatch, parts))


def source_fingerprint(function: Any) -> str:
    """Eight hex digits of a function's source without its comments, docstring and layout; of a
    property's getter; `""` of what has no source."""
    code = getattr(inspect.unwrap(_called(function)), "__code__", None)
    return _fingerprint(code) if code is not None else ""


def _called(attribute: Any) -> Any:
    """The function that runs when the attribute is used."""
    if isinstance(attribute, property):
        return attribute.fget
    return attribute.__func__ if isinstance(attribute, _WRAPPERS) else attribute


def _install(patch: Patch, done: list[tuple[Any, str, Any]]) -> Outcome:
    outcome = Outcome(patch, [])
    owners, outcome.reason = _owners(patch.path)
    for owner, name in owners:
        key = (id(patch), id(owner), name)
        original = inspect.getattr_static(owner, name)
        if key in _installed:
            outcome.reason = "installed already"
            continue
        outcome.reason = _swap(patch, owner, name, original, done)
        if not outcome.reason:
            _installed.add(key)
            outcome.swapped.append(f"{_path(owner)}.{name}")
    if outcome.swapped:
        outcome.reason = ""
    else:
        _LOG.debug("the patch of %s replaces nothing: %s", patch.path, outcome.reason)
    return outcome


def _swap(
    patch: Patch, owner: Any, name: str, original: Any, done: list[tuple[Any, str, Any]]
) -> str:
    """Swaps one attribute wherever it is; gives the reason if it is left alone."""
    function = original.__func__ if isinstance(original, _WRAPPERS) else original
    if patch.sources and source_fingerprint(function) not in patch.sources:
        return "its code is not what the patch was written for"
    replacement = patch.factory(function)
    if replacement is None:
        return "its factory gives None"
    if inspect.isroutine(replacement) and callable(_called(original)):
        replacement = _noting_use(patch, replacement, _called(original))
    if isinstance(original, property) and not isinstance(replacement, property):
        replacement = property(replacement, original.fset, original.fdel, original.__doc__)
    if isinstance(original, _WRAPPERS):
        replacement = type(original)(replacement)
    places = [owner]
    if inspect.ismodule(owner):
        modules = _search_importers(name).found()
        places = [module for module in modules if vars(module).get(name) is original]
    for place in places:
        before = vars(place).get(name, _ABSENT)
        try:
            setattr(place, name, replacement)
        except (TypeError, AttributeError) as error:
            raise InvalidArgumentError(
                f"{_path(owner)}.{name} cannot be patched: {error}"
            ) from error
        done.append((place, name, before))
    return ""


_WRAPPERS = (staticmethod, classmethod)


def _noting_use(patch: Patch, replacement: Any, function: Any) -> Any:
    """The replacement with the signature of the original, whose calls `usage.recorded` notes."""
    name = f"{patch.factory.__module__}:{patch.path}"

    def patched(*args: Any, **kwargs: Any) -> Any:
        usage.note("patch", name)
        return replacement(*args, **kwargs)

    return functools.wraps(function)(patched)


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


def _owners(path: str) -> tuple[list[tuple[Any, str]], str]:
    """Modules and classes with the attribute, or why there are none."""
    if "*" in path:
        return _search_owners(path).found(), "nothing of that name is loaded"
    owner_path, name = path.rsplit(".", 1)
    owner = _resolve(owner_path)
    if owner is None:
        return [], f"{owner_path} is not loaded or not in this version"
    if inspect.getattr_static(owner, name, _ABSENT) is _ABSENT:
        return [], f"{owner_path} has no {name}"
    return [(owner, name)], ""


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
