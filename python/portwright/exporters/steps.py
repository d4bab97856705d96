"""A recorded run of generate(): its first step, one after it, and what runs before."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Mapping
from typing import Any

import torch

from portwright.errors import InvalidArgumentError, UnsupportedError
from portwright.exporters.kept_state import ARGUMENT, Seen, WithKeptState, observed
from portwright.exporters.merging import check_empty_past, merged_decode
from portwright.exporters.parts import (
    PROJECTORS,
    Component,
    Components,
    first_calls,
    modal_encoders,
    named_parts,
)
from portwright.exporters.recording import Call, recorded, undisturbed

# Lengths that the caller may have among generate's arguments; the recording sets its own.
_LENGTHS = ("max_new_tokens", "min_new_tokens", "max_length", "min_length")


class Generation:
    """A recorded run of generate()."""

    def __init__(
        self,
        model: Any,
        inputs: Mapping[str, Any],
        generation_config: Any,
        multi_token_decode: bool,
        merge_decode: bool = False,
    ) -> None:
        if not getattr(model, "can_generate", lambda: False)():
            raise InvalidArgumentError(
                f"{type(model).__name__} cannot generate: use a class with a language-modeling "
                "head, for example one that AutoModelForCausalLM gives"
            )
        self._model = model
        self._multi_token = multi_token_decode or merge_decode
        self._merge = merge_decode
        # One step is left out before those of decode: an encoder-decoder model's first has a past
        # of one token, which broadcasts to any length and so would hide what depends on it.
        self._steps = 4 if self._multi_token else 3
        self._parts = self._encoders()
        self._run(inputs, generation_config, [model])
        self._module: torch.nn.Module = model
        if len(self._calls_of(model)) < self._steps:
            # generate() hands over to a part of the model, as that of BLIP-2 does.
            inner = [m for m in model.modules() if m is not model and hasattr(m, "can_generate")]
            self._run(inputs, generation_config, [model, *inner])
            self._module = self._outermost(inner)
        written = frozenset().union(*(seen.written for seen in self._seen))
        if written:  # which of it is read?
            self._run(inputs, generation_config, [self._module], written)

    @property
    def module(self) -> torch.nn.Module:
        """The model, or the part of it whose forward generate() calls for each token."""
        return self._module

    @property
    def state(self) -> frozenset[str]:
        """The attributes in which modules keep what one step leaves for the next."""
        return frozenset(name for seen in self._seen[1:] for name in seen.read)

    def stages(self) -> Components:
        """The first step, and one after it."""
        first, _, *later = [call.arguments for call in self._calls_of(self._module)]
        left = self.state.union(*(seen.changed for seen in self._seen))
        if left:
            if self._multi_token:
                raise UnsupportedError(
                    f"{type(self._module).__name__} leaves what the next step needs in "
                    f"{', '.join(sorted(left))} and not in forward's result, so that steps cannot "
                    "be joined. Leave multi_token_decode and merge_decode out"
                )
            steps = {"prefill": (first, self._seen[0]), "decode": (later[0], self._seen[2])}
            return {name: self._with_state(*step) for name, step in steps.items()}
        decode = merged_decode(self._module, later[:2]) if self._multi_token else later[0]
        if self._merge:
            check_empty_past(self._module, first, decode)
        return {"prefill": (self._module, first), "decode": (self._module, decode)}

    def first_inputs(self) -> dict[str, Any]:
        """What the first step takes."""
        return self._calls_of(self._module)[0].arguments

    @property
    def _seen(self) -> list[Seen]:
        """What each step reads and sets of the state that modules keep."""
        return self._seen_by[id(self._module)]

    def _with_state(self, inputs: dict[str, Any], seen: Seen) -> Component:
        state = {name: value for name, value in seen.read.items() if name in self.state}
        given = {ARGUMENT: state} if state else {}
        module = WithKeptState(self._module, seen.written & self.state, seen.changed)
        return module, inputs | given

    def outside_forward(self) -> Components:
        """Encoders that generate() runs itself before the first step, and their inputs."""
        first = next(i for i, call in enumerate(self._calls) if call.module is self._module)
        return first_calls(self._parts, self._calls[:first])

    def _encoders(self) -> dict[str, Any]:
        parts: dict[str, Any] = modal_encoders(self._model) | named_parts(self._model, PROJECTORS)
        encoder = self._model.get_encoder() if self._model.config.is_encoder_decoder else None
        if encoder not in (None, self._model, *parts.values()):
            parts["encoder"] = encoder
        return parts

    def _calls_of(self, module: torch.nn.Module) -> list[Call]:
        return [call for call in self._calls if call.module is module]

    def _run(
        self,
        inputs: Mapping[str, Any],
        generation_config: Any,
        watched: list[torch.nn.Module],
        state: frozenset[str] = frozenset(),
    ) -> None:
        """Runs generate() and keeps what it calls; `state` is what is watched for reads."""
        model = self._model
        config = copy.deepcopy(
            model.generation_config if generation_config is None else generation_config
        )
        config.max_new_tokens = config.min_new_tokens = self._steps
        config.max_length = config.min_length = None
        given = {name: value for name, value in inputs.items() if name not in _LENGTHS}
        modules = {id(m): m for m in (*watched, *self._parts.values())}
        try:
            with (
                undisturbed(model),
                recorded(modules.values()) as self._calls,
                contextlib.ExitStack() as stack,
            ):
                self._seen_by = {
                    id(module): stack.enter_context(observed(module, state)) for module in watched
                }
                model.generate(**copy.deepcopy(given), generation_config=config)
        except UnsupportedError:
            raise
        except Exception as error:
            raise RuntimeError(
                f"{type(model).__name__}.generate() failed on the inputs {', '.join(inputs)}: "
                f"{error}. They must be what generate() takes"
            ) from error

    def _outermost(self, inner: list[torch.nn.Module]) -> torch.nn.Module:
        for module in inner:
            if len(self._calls_of(module)) >= self._steps:
                return module
        counts = {type(m).__name__: len(self._calls_of(m)) for m in (self._model, *inner)}
        if len(self._calls_of(self._model)) == 1:
            raise UnsupportedError(
                f"generate() of {type(self._model).__name__} calls forward once for all tokens, so "
                "there are no prefill and decode steps. Export the model itself: export(model, "
                "inputs)"
            )
        raise UnsupportedError(
            f"generate() of {type(self._model).__name__} calls no model's forward once per token "
            f"(for {self._steps} tokens it called {counts}), so there are no prefill and decode "
            "steps. Export the modules that it calls by themselves"
        )
