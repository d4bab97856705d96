"""Fingerprints of what a capture may touch and must leave as it was."""

from __future__ import annotations

import builtins
import gc
import inspect
import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from portwright import tree


def of_run(model: nn.Module, inputs: dict[str, Any]) -> dict[str, Any]:
    """The model, its inputs, and torch's state of this process and thread."""
    found: dict[str, Any] = {"thread": _thread(), "inputs": _inputs(inputs)}
    for name, owner in _owners():
        found[name] = _identities(vars(owner))
    for path, module in model.named_modules():
        found[f"module {path}"] = _module(module)
    return found


def of_libraries() -> dict[str, Any]:
    """Every attribute of every loaded module of Transformers and of its classes."""
    found: dict[str, Any] = {}
    for name, module in list(sys.modules.items()):
        if not name.startswith("transformers.") or not inspect.ismodule(module):
            continue
        found[name] = _identities(vars(module))
        for key, value in list(vars(module).items()):
            if inspect.isclass(value) and value.__module__ == name:
                found[f"{name}.{key}"] = _identities(vars(value))
    return found


def difference(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What is not as before, in words; empty where nothing is."""
    problems = []
    for key in before.keys() | after.keys():
        old, new = before.get(key), after.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            names = [n for n in old.keys() | new.keys() if not _same(old.get(n), new.get(n))]
            problems += [f"{key}: {name}" for name in names]
        elif not _same(old, new):
            problems.append(key)
    return problems


def _same(old: Any, new: Any) -> bool:
    if isinstance(old, torch.Tensor) and isinstance(new, torch.Tensor):
        return torch.equal(old, new)
    return bool(old == new)


def _owners() -> Iterator[tuple[str, Any]]:
    from torch._dynamo import _trace_wrapped_higher_order_op

    yield "builtins", builtins
    yield "torch", torch
    yield "torch.Tensor", torch.Tensor
    yield "torch.SymInt", torch.SymInt
    yield "SymNode", torch._C._SymNode
    yield "torch.nn.Module", nn.Module
    yield "torch.nn.functional", nn.functional
    yield "torch.compiler", torch.compiler
    yield "torch.jit", torch.jit
    yield "vmap indexing", _trace_wrapped_higher_order_op


def _identities(names: Any) -> dict[str, Any]:
    flags = (bool, int, str, type(None))
    return {
        name: value if isinstance(value, flags) else id(value)
        for name, value in list(names.items())
        if name not in ("__warningregistry__", "_abc_impl")
    }


def _module(module: nn.Module) -> dict[str, Any]:
    found = _identities(vars(module))
    for key, value in vars(module).items():
        if isinstance(value, dict):
            found[f"{key} holds"] = list(_identities(value).items())
        elif isinstance(value, list):
            found[f"{key} holds"] = [id(item) for item in value]
        elif isinstance(value, set):  # whose order is no state: strings hash anew in each process
            found[f"{key} holds"] = {id(item) for item in value}
    for name, tensor in [*module._parameters.items(), *module._buffers.items()]:
        if tensor is not None:
            found[f"{name} is"] = (tensor.data_ptr(), tensor._version, tensor.requires_grad)
            found[f"{name} has"] = tensor.detach().clone()
    config = getattr(module, "config", None)
    if config is not None:
        found["config holds"] = _identities(vars(config))
    return found


def _inputs(inputs: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, tensor in tree.flatten(inputs)[0]:
        found[f"{name} is"] = (id(tensor), tensor.data_ptr(), tensor._version)
        found[f"{name} has"] = tensor.clone()
    return found


def _thread() -> dict[str, Any]:
    return {
        "grad": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "default dtype": torch.get_default_dtype(),
        "random state": torch.get_rng_state(),
        "dispatch keys included": str(torch._C._dispatch_tls_local_include_set()),
        "dispatch keys excluded": str(torch._C._dispatch_tls_local_exclude_set()),
        "garbage collection": gc.isenabled(),
        "function modes": torch._C._len_torch_function_stack(),
        "dispatch modes": torch._C._len_torch_dispatch_stack(),
        "functorch level": torch._C._functorch.maybe_get_level(torch.empty(0)),
        "functorch stack": torch._C._functorch.peek_interpreter_stack() is None,
        "exporting": (torch.compiler.is_exporting(), torch.compiler.is_compiling()),
    }
