"""The Python blocks of docs/exporters.md, run as they stand beside a tiny local checkpoint."""

from __future__ import annotations

import importlib.util
import re
import runpy
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
    Qwen3ForCausalLM,
)

import generative
import registries
from models import qwen3_config

PAGE = Path(__file__).parents[2] / "docs" / "exporters.md"
BLOCKS = re.findall(r"^```python ?(\w*)\n(.*?)^```$", PAGE.read_text(), re.M | re.S)


CHAT = (
    "{% for part in messages[0].content %}{% if part.type == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}{% endfor %}"
)


def _tokenizer(words: dict[str, int]) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = [word for word in words if word.startswith("<|")]
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        additional_special_tokens=special,
    )


def _save_qwen3(folder: Path) -> None:
    Qwen3ForCausalLM(qwen3_config()).save_pretrained(folder)
    words = ["[PAD]", "[UNK]", "Hello", ",", "world", "!", "Hi"]
    _tokenizer({word: i for i, word in enumerate(words)}).save_pretrained(folder)


def _save_qwen2_vl(folder: Path) -> None:
    model, _ = generative.case("qwen2_vl")
    model.save_pretrained(folder)
    words = {"[PAD]": 0, "[UNK]": 1, "Describe": 3, "this": 4, "image": 5, ".": 6}
    words |= {"<|image_pad|>": generative.IMAGE_TOKEN, "<|video_pad|>": 94}
    words |= {"<|vision_start|>": generative.START_TOKEN, "<|vision_end|>": generative.END_TOKEN}
    vision = model.config.vision_config
    images = Qwen2VLImageProcessor(
        patch_size=vision.patch_size,
        merge_size=vision.spatial_merge_size,
        temporal_patch_size=vision.temporal_patch_size,
        size={"shortest_edge": 64, "longest_edge": 256},
    )
    Qwen2VLProcessor(
        images, _tokenizer(words), Qwen2VLVideoProcessor(), chat_template=CHAT
    ).save_pretrained(folder)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which the names of two checkpoints are tiny models with random weights, and
    tokenizers of a few words."""
    folder = tmp_path_factory.mktemp("docs")
    _save_qwen3(folder / "Qwen" / "Qwen3-0.6B")
    if importlib.util.find_spec("torchvision") is not None:  # which its processor needs
        _save_qwen2_vl(folder / "Qwen" / "Qwen2-VL-2B-Instruct")
    return folder


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_a_block_of_the_page_runs(
    number: int, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs, code = BLOCKS[number]
    if needs and importlib.util.find_spec(needs) is None:
        pytest.skip(f"{needs} is not installed")
    monkeypatch.chdir(workplace)
    picture = torch.randint(0, 256, (3, 24, 32), dtype=torch.uint8)  # for the one at the address
    loader = "transformers.image_processing_backends.load_image_as_tensor"
    monkeypatch.setattr(loader, lambda address: picture)
    script = workplace / f"block_{number}.py"
    script.write_text(code)
    with registries.restored():
        runpy.run_path(str(script), run_name="__main__")


def test_the_page_has_its_blocks() -> None:
    assert len(BLOCKS) == 16
