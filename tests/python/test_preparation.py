"""Preparing models and inputs: preparers, state, signatures, dynamic shapes, refused inputs."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.export import Dim

from portwright.exporters import DynamoExporter
from portwright.exporters.preparers import _EXPORT_INPUT_PREPARERS
from portwright.exporters.utils import (
    get_auto_dynamic_shapes,
    patch_forward_signature,
    prepare_for_export,
    register_export_input_preparer,
    reset_model_state,
)


@pytest.fixture
def registries() -> Iterator[None]:
    preparers = dict(_EXPORT_INPUT_PREPARERS)
    yield
    _EXPORT_INPUT_PREPARERS.clear()
    _EXPORT_INPUT_PREPARERS.update(preparers)


class Scaled(nn.Module):
    cached_sequence_length: Any = None

    def forward(self, x: torch.Tensor, steps: Any = None, scale: Any = None) -> torch.Tensor:
        if scale is None:
            scale = torch.tensor([float(n) for n in steps.tolist()])
        if self.cached_sequence_length is not None:
            return x - x
        self.cached_sequence_length = x
        return x * scale


def test_a_preparer_writes_inputs_of_the_program(registries: None) -> None:
    @register_export_input_preparer("x", "steps")
    def prepare(model: nn.Module, inputs: Any) -> None:
        inputs["scale"] = inputs.pop("steps").to(torch.float32)

    inputs = {"x": torch.randn(2, 3), "steps": torch.tensor([1, 2, 3])}
    exported = DynamoExporter().export(Scaled().eval(), inputs)
    assert exported.captured.input_names == ["x", "scale"]
    assert list(inputs) == ["x", "steps"]  # export works on a copy
    prepared = prepare_for_export(Scaled(), {"x": torch.ones(1)})[1]
    assert list(prepared) == ["x"]  # a marker is missing: it does not run


def test_state_of_an_earlier_forward_is_not_traced_and_is_back_afterwards() -> None:
    model, x = Scaled().eval(), torch.randn(2, 3)
    inputs = {"x": x, "scale": torch.tensor(2.0)}
    before = model.cached_sequence_length = torch.ones(1)
    exported = DynamoExporter().export(model, inputs)
    assert model.cached_sequence_length is before
    torch.testing.assert_close(exported.module()(**inputs), x * 2)
    with pytest.raises(RuntimeError, match="body"), reset_model_state(model):
        assert model.cached_sequence_length is None
        raise RuntimeError("body")
    assert model.cached_sequence_length is before


def test_the_signature_of_forward_names_the_inputs() -> None:
    model = Scaled()
    with patch_forward_signature(model, {"scale": 0, "x": 0}):
        assert list(inspect.signature(model.forward).parameters) == ["scale", "x"]
        assert torch.equal(model(torch.tensor(3.0), torch.ones(2)), torch.full((2,), 3.0))
    assert "forward" not in vars(model)


def test_automatic_dynamic_shapes() -> None:
    shapes = get_auto_dynamic_shapes({"x": torch.ones(2, 3), "y": [torch.ones(1), 5], "z": None})
    assert shapes == {"x": {0: Dim.AUTO, 1: Dim.AUTO}, "y": [{0: Dim.AUTO}, None], "z": None}


@pytest.mark.parametrize("name", ["labels", "future_values", "return_loss"])
def test_a_loss_is_refused_by_name(name: str) -> None:
    for value in (torch.ones(1), True):
        with pytest.raises(ValueError, match=f"'{name}' in the sample inputs"):
            prepare_for_export(Scaled(), {"x": torch.ones(1), name: value})
    _, prepared, _ = prepare_for_export(Scaled(), {"x": torch.ones(1), name: None})
    assert list(prepared) == ["x"]
    assert prepare_for_export.__doc__ is not None and f"`{name}`" in prepare_for_export.__doc__


def test_output_flags_are_taken_out_and_given_back() -> None:
    inputs = {"x": torch.ones(1), "use_cache": False, "return_dict": True}
    _, prepared, flags = prepare_for_export(Scaled(), inputs)
    assert prepared is inputs and list(inputs) == ["x"]
    assert flags == {"use_cache": False, "return_dict": True}


def test_caches_of_a_model_become_pytrees_of_torch() -> None:
    from torch.utils import _pytree
    from transformers import DynamicCache, GPT2Config, GPT2Model

    from portwright.exporters.utils import register_cache_pytrees_for_model

    config = GPT2Config(vocab_size=16, n_positions=16, n_embd=8, n_layer=1, n_head=2)
    model = GPT2Model(config).eval()
    register_cache_pytrees_for_model(model)
    register_cache_pytrees_for_model(model)
    with torch.no_grad():
        cache = model(torch.tensor([[1, 2, 3]])).past_key_values
    assert isinstance(cache, DynamicCache)
    leaves, spec = _pytree.tree_flatten(cache)
    tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
    assert [list(tensor.shape) for tensor in tensors] == [[1, 2, 3, 4], [1, 2, 3, 4]]
    back = _pytree.tree_unflatten(leaves, spec)
    assert isinstance(back, DynamicCache) and back.get_seq_length() == 3
