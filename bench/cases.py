"""Models and inputs whose files the runtimes' benchmarks run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

Model = tuple[torch.nn.Module, dict[str, Any]]
MAX_CACHE = 1280  # tokens that a cache of fixed size holds


def _qwen3() -> torch.nn.Module:
    """8 layers of the Qwen3-0.6B shape."""
    import transformers

    config = transformers.Qwen3Config(
        hidden_size=1024,
        intermediate_size=3072,
        num_hidden_layers=8,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        vocab_size=32000,
    )
    torch.manual_seed(0)
    return transformers.Qwen3ForCausalLM(config).eval()


def _ids(length: int) -> torch.Tensor:
    return torch.randint(0, 32000, (1, length), generator=torch.Generator().manual_seed(1))


def _grown_cache(model: torch.nn.Module, past: int) -> Any:
    """A cache of `past` tokens."""
    from transformers import DynamicCache

    cache = DynamicCache(config=model.config)
    draw = torch.Generator().manual_seed(2)
    for layer in range(model.config.num_hidden_layers):
        key, value = torch.randn(2, 1, 8, past, 128, generator=draw) / 4
        cache.update(key, value, layer)
    return cache


def _fixed_cache(model: torch.nn.Module, past: int) -> Any:
    """The same tokens in a cache of fixed size."""
    from transformers import StaticCache

    grown = _grown_cache(model, past)
    cache = StaticCache(config=model.config, max_cache_len=MAX_CACHE)
    for index, layer in enumerate(grown.layers):
        cache.update(layer.keys, layer.values, index)
    return cache


def _decode(past: int, make_cache: Callable[[torch.nn.Module, int], Any]) -> Model:
    model = _qwen3()
    return model, {"input_ids": _ids(1), "past_key_values": make_cache(model, past)}


def prefill() -> Model:
    """A prompt of 128 tokens."""
    return _qwen3(), {"input_ids": _ids(128)}


def decode(past: int) -> Model:
    """One token behind `past` others in a cache that grows."""
    return _decode(past, _grown_cache)


def decode_fixed(past: int) -> Model:
    """One token behind `past` others in a cache of fixed size."""
    return _decode(past, _fixed_cache)


def bert() -> Model:
    """BERT-base and 128 tokens."""
    import transformers

    torch.manual_seed(0)
    ids = _ids(128) % 30000
    model = transformers.BertModel(transformers.BertConfig()).eval()
    return model, {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def vit() -> Model:
    """ViT-base and one image."""
    import transformers

    torch.manual_seed(0)
    model = transformers.ViTModel(transformers.ViTConfig()).eval()
    return model, {"pixel_values": torch.randn(1, 3, 224, 224)}


def whisper() -> Model:
    """The encoder of Whisper-tiny's shape and 30 seconds."""
    import transformers

    torch.manual_seed(0)
    model = transformers.WhisperModel(transformers.WhisperConfig()).get_encoder().eval()
    return model, {"input_features": torch.randn(1, 80, 3000)}


def feeds(inputs: dict[str, Any]) -> dict[str, np.ndarray]:
    """The inputs' arrays by our names, those of caches also by the peer's."""
    arrays = {}
    for name, value in inputs.items():
        if isinstance(value, torch.Tensor):
            arrays[name] = value.numpy()
            continue
        for i, layer in enumerate(value.layers):
            for kind, tensor in (("key", layer.keys), ("value", layer.values)):
                array = tensor.detach().numpy().copy()
                arrays[f"{name}.{i}.{kind}"] = array
                arrays[f"input.{name}.layers.{i}.{kind}s"] = array  # the peer's name
            if hasattr(layer, "cumulative_length"):
                arrays[f"{name}.{i}.cumulative_length"] = layer.cumulative_length.numpy().copy()
    return arrays
