"""Records the arguments with which modules are called, and leaves no trace on the model."""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import torch

from portwright.errors import UnsupportedError
from portwright.stage import unchanged

# A hint of generate() for which rows of the logits it reads: no input of a program.
_HINTS = ("logits_to_keep", "num_logits_to_keep")


class Call(NamedTuple):
    """One call of a module's forward, with its arguments by name."""

    module: torch.nn.Module
    arguments: dict[str, Any]


def arguments_by_name(
    module: torch.nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """The arguments of `module.forward` by name, without those that say nothing: None where None is
    the default, and the hints of generate() for which logits it reads.

    Raises:
        UnsupportedError: forward takes `*args`, which have no names.
    """
    signature = inspect.signature(module.forward)
    named: dict[str, Any] = {}
    for name, value in signature.bind(*args, **kwargs).arguments.items():
        parameter = signature.parameters[name]
        if parameter.kind == inspect.Parameter.VAR_KEYWORD:
            named |= {key: item for key, item in value.items() if item is not None}
        elif parameter.kind == inspect.Parameter.VAR_POSITIONAL:
            raise UnsupportedError(
                f"{type(module).__name__}.forward takes *{name}: arguments without names cannot "
                "be exported. Give them names"
            )
        elif value is not None or parameter.default is not None:
            named[name] = value
    return {name: value for name, value in named.items() if name not in _HINTS}


@contextlib.contextmanager
def recorded(modules: Iterable[torch.nn.Module]) -> Iterator[list[Call]]:
    """The calls of these modules during the block, in order. Arguments are deep copies, made before
    forward runs: later steps write to the caches they are given."""
    calls: list[Call] = []

    def record(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        calls.append(Call(module, copy.deepcopy(arguments_by_name(module, args, kwargs))))

    with contextlib.ExitStack() as stack:
        for module in modules:
            handle = module.register_forward_pre_hook(record, with_kwargs=True)
            stack.callback(handle.remove)
        yield calls


@contextlib.contextmanager
def undisturbed(model: torch.nn.Module) -> Iterator[None]:
    """Runs of the model in eval mode, without gradients and compilation; modes, attributes of
    modules and configs, values of buffers and the random state are as before afterwards."""
    buffers = [(buffer, buffer._version, buffer.clone()) for buffer in model.buffers()]
    random_state = torch.get_rng_state()
    with unchanged(model), torch.no_grad():
        for module in model.modules():
            module.training = False
        try:
            yield
        finally:
            torch.set_rng_state(random_state)
            for buffer, version, value in buffers:
                if buffer._version != version:
                    buffer.copy_(value)
