"""The registry of patches: what is swapped, put back exactly, left alone, and counted as used."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from portwright import usage
from portwright.errors import InvalidArgumentError
from portwright.exporters.patching import (
    _PATCHES,
    apply_patches,
    patch_inventory,
    register_patch,
    source_fingerprint,
)


@pytest.fixture(autouse=True)
def registry() -> Iterator[None]:
    before = {backend: list(patches) for backend, patches in _PATCHES.items()}
    yield
    _PATCHES.clear()
    _PATCHES.update(before)


class Base:
    held = "original"

    def method(self) -> str:
        return "original"

    @staticmethod
    def static(word: str = "original") -> str:
        return word

    @classmethod
    def of_class(cls, word: str = "original") -> str:
        return f"{word} of {cls.__name__}"

    @property
    def place(self) -> str:
        return self.__dict__.get("_place", "original")

    @place.setter
    def place(self, value: str) -> None:
        self.__dict__["_place"] = value


class Derived(Base):
    pass


class Sibling(Base):
    pass


def function() -> str:
    return "original"


def replaced(original: Any) -> Any:
    return lambda *args: "patched"


CALLS: dict[str, Callable[[], str]] = {
    "Base.method": lambda: Base().method(),
    "Base.static": lambda: Base.static(),
    "Base.of_class": lambda: Base.of_class(),
    "Base.place": lambda: Base().place,
    "Derived.method": lambda: Derived().method(),
    "Derived.static": lambda: Derived.static(),
    "Derived.of_class": lambda: Derived.of_class(),
    "Derived.place": lambda: Derived().place,
    "function": lambda: function(),
}


def state() -> list[list[tuple[str, Any]]]:
    """All attributes of the classes, in order, as they are stored."""
    return [
        [(name, value) for name, value in vars(cls).items() if not name.startswith("__")]
        for cls in (Base, Derived, Sibling)
    ]


@pytest.mark.parametrize("path", CALLS)
def test_attributes_are_put_back_exactly_also_when_the_body_raises(path: str) -> None:
    register_patch("test", f"{__name__}.{path}")(replaced)
    before, answer = state(), CALLS[path]()
    with pytest.raises(RuntimeError, match="body"), apply_patches("test") as installed:
        assert installed == [f"{__name__}.{path}"]
        assert CALLS[path]() == "patched"
        raise RuntimeError("body")
    assert CALLS[path]() == answer
    assert all(
        [(name, id(value)) for name, value in now] == [(name, id(value)) for name, value in then]
        for now, then in zip(state(), before, strict=True)
    )


def test_an_inherited_attribute_is_patched_on_the_class_that_is_named_only() -> None:
    register_patch("test", f"{__name__}.Derived.method")(replaced)
    with apply_patches("test"):
        assert "method" in vars(Derived)
        assert (Base().method(), Sibling().method()) == ("original", "original")
    assert "method" not in vars(Derived)


def test_kinds_of_methods_are_kept() -> None:
    def louder(original: Any) -> Any:
        return lambda *args: original(*args).upper()

    for name in ("static", "of_class", "place"):
        register_patch("test", f"{__name__}.Base.{name}")(louder)
    with apply_patches("test"):
        assert [type(vars(Base)[name]) for name in ("static", "of_class", "place")] == [
            staticmethod,
            classmethod,
            property,
        ]
        assert Base().static("word") == "WORD"
        assert Derived.of_class("word") == "WORD OF DERIVED"


def test_the_getter_of_a_property_is_replaced_and_its_setter_kept() -> None:
    def louder(original: property) -> Any:
        assert original.fget is not None
        getter = original.fget
        return lambda self: getter(self).upper()

    register_patch("test", f"{__name__}.Base.place")(louder)
    with apply_patches("test"):
        owner = Base()
        owner.place = "here"
        assert owner.place == "HERE"


def test_values_that_are_no_functions() -> None:
    register_patch("test", f"{__name__}.Base.held")(lambda original: original + " and more")
    with apply_patches("test"):
        assert Base.held == "original and more"
    assert Base.held == "original"


def test_several_patches_of_one_attribute_wrap_each_other() -> None:
    for word in ("first", "second"):
        register_patch("test", f"{__name__}.function")(
            lambda original, word=word: lambda: f"{word} {original()}"
        )
    with apply_patches("test"):
        assert function() == "second first original"
    assert function() == "original"


def test_a_block_within_a_block_leaves_what_is_installed() -> None:
    register_patch("test", f"{__name__}.function")(lambda original: lambda: original() + "!")
    with apply_patches("test"):
        with apply_patches("test") as installed:
            assert installed == []
            assert function() == "original!"
            register_patch("test", f"{__name__}.Derived.method")(replaced)
            with pytest.raises(KeyError), apply_patches("test") as installed:
                assert installed == [f"{__name__}.Derived.method"]
                raise KeyError
            assert Derived().method() == "original"
        assert function() == "original!"
    assert function() == "original"
    with apply_patches("test"):
        assert function() == "original!"


def test_a_factory_that_raises_leaves_nothing_behind() -> None:
    def broken(original: Any) -> Any:
        raise KeyError("factory")

    register_patch("test", f"{__name__}.Derived.method")(replaced)
    register_patch("test", f"{__name__}.function")(broken)
    with pytest.raises(KeyError, match="factory"), apply_patches("test"):
        pass
    assert "method" not in vars(Derived)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("no_such_package.module.function", "no_such_package.module is not loaded"),
        (f"{__name__}.NoClass.method", "NoClass is not loaded or not in this version"),
        (f"{__name__}.Base.nothing", "Base has no nothing"),
        (f"{__name__}.*.nothing", "nothing of that name is loaded"),
        (f"{__name__}.Base.method", "its factory gives None"),
    ],
)
def test_what_is_not_there_is_left_out_and_said(
    path: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    register_patch("test", path)(lambda original: None)
    register_patch("test", f"{__name__}.function")(replaced)
    with caplog.at_level(logging.DEBUG, "portwright.patches"), apply_patches("test") as installed:
        assert installed == [f"{__name__}.function"]
    assert reason in caplog.text and path in caplog.text
    missing, found = patch_inventory("test")
    assert (missing.patch.path, missing.swapped) == (path, []) and reason in missing.reason
    assert (found.swapped, found.reason) == ([f"{__name__}.function"], "")
    assert function() == "original"


@pytest.mark.parametrize(
    "paths", [(), ("forward",), ("a..b",), (".a.b",), ("a.b.",), ("a.b c.d",), ("a.b", "c")]
)
def test_a_malformed_path_is_an_error(paths: tuple[str, ...]) -> None:
    with pytest.raises(InvalidArgumentError, match="dotted paths"):
        register_patch("test", *paths)
    assert "test" not in _PATCHES


def test_what_cannot_be_set_is_an_error_that_names_it() -> None:
    register_patch("test", f"{__name__}.function")(replaced)
    register_patch("test", "builtins.int.bit_length")(replaced)
    with (
        pytest.raises(InvalidArgumentError, match=r"builtins\.int\.bit_length cannot be patched"),
        apply_patches("test"),
    ):
        pass
    assert function() == "original"


def test_the_source_of_every_kind_of_method_is_known() -> None:
    kinds = ("method", "static", "of_class", "place")
    prints = [source_fingerprint(vars(Base)[name]) for name in kinds]
    assert len(set(prints)) == 4 and "" not in prints
    assert source_fingerprint(Base.held) == ""
    for name, fingerprint in zip(kinds, prints, strict=True):
        path = f"{__name__}.Base.{name}"
        register_patch("test", path, sources=[fingerprint])(replaced)
        register_patch("other", path, sources=["00000000"])(replaced)
    with apply_patches("test") as installed:
        assert installed == [f"{__name__}.Base.{name}" for name in kinds]
    assert {outcome.reason for outcome in patch_inventory("other")} == {
        "its code is not what the patch was written for"
    }


def test_patches_that_are_called_are_noted() -> None:
    register_patch("test", f"{__name__}.Base.place")(replaced)
    with usage.recorded() as uses, apply_patches("test"):
        assert Base().place == "patched"
    assert uses == {"patch": {f"{__name__}:{__name__}.Base.place"}}
    for path in ("function", "Base.method"):
        register_patch("test", f"{__name__}.{path}")(replaced)
    with usage.recorded() as outer, apply_patches("test"):
        with usage.recorded() as inner:
            Base().method()
        function()
    function()
    assert inner == {"patch": {f"{__name__}:{__name__}.Base.method"}}
    assert outer["patch"] == {
        f"{__name__}:{__name__}.{path}" for path in ("function", "Base.method")
    }
