"""What a step leaves for the next one outside of its result, made explicit as inputs and outputs:
attributes of modules, as RecurrentGemma's recurrent layers have them, and caches that forward
changes and does not give back.

Nothing here knows a name: attributes that forward sets anew, and that a later forward reads before
it sets them, are state.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from transformers.utils import ModelOutput

from portwright import tree
from portwright.errors import UnsupportedError
from portwright.exporters.recording import arguments_by_name
from portwright.stage import swapped

ARGUMENT = "kept_state"  # the further input and output of a step

_OWN = frozenset(vars(torch.nn.Module()))  # what every module has: _parameters, _buffers, ...

State = dict[str, Any]  # tensors and containers of them, by "<path of the module>.<attribute>"
Fingerprint = list[tuple[str, torch.Tensor, int]]
Fingerprints = dict[str, Fingerprint]


class Seen(NamedTuple):
    """What one forward did with the state.

    Attributes:
        read: what it found in attributes that it read before it set them.
        written: the attributes that it set.
        changed: the arguments that hold other tensors afterwards and are not in its result.
    """

    read: State
    written: frozenset[str]
    changed: frozenset[str]


def _held(module: torch.nn.Module) -> State:
    """The attributes of the module and its parts that are tensors or containers of tensors;
    parameters and buffers are not among them."""
    return {
        f"{path}.{name}" if path else name: value
        for path, part in module.named_modules()
        for name, value in vars(part).items()
        if name not in _OWN and _is_state(value)
    }


@contextlib.contextmanager
def observed(module: torch.nn.Module, names: Collection[str] = ()) -> Iterator[list[Seen]]:
    """What each call of the module during the block reads of the attributes `names`, and all that
    it sets."""
    calls: list[Seen] = []
    open_calls: list[tuple[contextlib.ExitStack, State, Fingerprints, Fingerprints]] = []

    def given_to(args: Any, kwargs: Any) -> State:
        return containers(arguments_by_name(module, args, kwargs))

    def before(module: torch.nn.Module, args: Any, kwargs: Any) -> None:
        stack = contextlib.ExitStack()
        held, given = _fingerprints(_held(module)), _fingerprints(given_to(args, kwargs))
        open_calls.append((stack, stack.enter_context(_reading(module, names)), held, given))

    def after(module: torch.nn.Module, args: Any, kwargs: Any, result: Any) -> None:
        stack, read, held, given = open_calls.pop()
        stack.close()
        arguments = given_to(args, kwargs)
        results = result if isinstance(result, Mapping) else {}
        returned = {
            name
            for name, value in arguments.items()
            if name in results or any(value is other for other in results.values())
        }
        changed = {
            name
            for name, found in _fingerprints(arguments).items()
            if [(leaf, id(t)) for leaf, t, _ in found]
            != [(leaf, id(t)) for leaf, t, _ in given[name]]
        }
        calls.append(Seen(read, _written(held, module), frozenset(changed - returned)))

    handles = [
        module.register_forward_pre_hook(before, with_kwargs=True),
        module.register_forward_hook(after, with_kwargs=True, always_call=True),
    ]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def containers(arguments: Mapping[str, Any]) -> State:
    """The arguments that forward may put other tensors into: caches and other objects."""
    return {
        name: value
        for name, value in arguments.items()
        if tree.is_container(value) and not isinstance(value, (list, tuple, Mapping))
    }


def _fingerprints(values: State) -> Fingerprints:
    """What tells later whether something was set anew, or written to in place."""
    return {
        name: [(leaf, tensor, tensor._version) for leaf, tensor in tree.flatten(value)[0]]
        for name, value in values.items()
    }


def _written(before: Fingerprints, module: torch.nn.Module) -> frozenset[str]:
    now = _fingerprints(_held(module))
    return frozenset(name for name, value in now.items() if not _same(before.get(name), value))


@contextlib.contextmanager
def _reading(module: torch.nn.Module, names: Collection[str]) -> Iterator[State]:
    """Copies of what the block reads of these attributes before it sets them.

    They are out of their modules' sight meanwhile, so that reading one falls through to
    `nn.Module.__getattr__`.
    """
    hidden: dict[tuple[int, str], tuple[str, torch.nn.Module, Any]] = {}
    for name in names:
        part, attribute = _place(module, name)
        if attribute in vars(part):
            hidden[id(part), attribute] = (name, part, vars(part).pop(attribute))
    found: State = {}
    original = torch.nn.Module.__getattr__

    def get(self: torch.nn.Module, attribute: str) -> Any:
        if (id(self), attribute) not in hidden:
            return original(self, attribute)
        name, _, value = hidden.pop((id(self), attribute))
        vars(self)[attribute] = value
        if _is_state(value):
            found[name] = copy.deepcopy(value)
        return value

    with swapped(torch.nn.Module, {"__getattr__": get}):
        try:
            yield found
        finally:
            for (_, attribute), (_, part, value) in hidden.items():
                vars(part).setdefault(attribute, value)


class WithKeptState(torch.nn.Module):
    """A module whose state is an input and an output.

    forward takes `kept_state`, a dict by name, where there is state to read, and gives what the
    module gives as a dict, with the new `kept_state` and the arguments that it changed in it.
    """

    def __init__(
        self, module: torch.nn.Module, written: Collection[str], changed: Collection[str]
    ) -> None:
        super().__init__()
        self.module = module
        self.written, self.changed = sorted(written), sorted(changed)
        self.training = module.training

    def __getattr__(self, name: str) -> Any:
        # config, dtype, get_decoder, ...: what exporters ask of the model is the module's.
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "module":
                raise
            return getattr(self.module, name)

    def forward(self, kept_state: State | None = None, **inputs: Any) -> Any:
        self.keep(kept_state or {})
        result = self.module(**inputs)
        if not isinstance(result, Mapping):
            raise UnsupportedError(
                f"{type(self.module).__name__}.forward gives a {type(result).__name__}, to which "
                "the state that its modules keep cannot be added. Call it with return_dict=True"
            )
        outputs = {**result, **{name: inputs[name] for name in self.changed}}
        return outputs | {ARGUMENT: self.kept(self.written)} if self.written else outputs

    def run(
        self, program: Callable[..., Any], inputs: dict[str, Any], names: Collection[str]
    ) -> Any:
        """Runs the exported module in place of the module: with what its parts hold, which is what
        the program gives afterwards.

        Args:
            program: takes `inputs`, and `kept_state` of `names` where there are any.
        """
        result = program(**inputs, **({ARGUMENT: self.kept(names)} if names else {}))
        self.keep(result.get(ARGUMENT, {}))
        output = ModelOutput()
        for name, value in result.items():
            if name != ARGUMENT:
                output[name] = value
        return output

    def kept(self, names: Collection[str]) -> State:
        """What the module's parts hold now."""
        places = {name: _place(self.module, name) for name in names}
        return {name: getattr(part, attribute) for name, (part, attribute) in places.items()}

    def keep(self, state: State) -> None:
        """Sets what the module's parts hold."""
        for name, value in state.items():
            part, attribute = _place(self.module, name)
            setattr(part, attribute, value)


def _place(module: torch.nn.Module, name: str) -> tuple[torch.nn.Module, str]:
    path, _, attribute = name.rpartition(".")
    return module.get_submodule(path), attribute


def _is_state(value: Any) -> bool:
    if isinstance(value, torch.nn.Module):
        return False
    return isinstance(value, torch.Tensor) or bool(
        tree.is_container(value) and tree.flatten(value)[0]
    )


def _same(before: Fingerprint | None, now: Fingerprint) -> bool:
    return before is not None and [(n, id(t), v) for n, t, v in before] == [
        (n, id(t), v) for n, t, v in now
    ]
