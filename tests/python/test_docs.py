"""The Python blocks of docs/exporters.md, run as they stand beside a tiny local checkpoint."""

from __future__ import annotations

import importlib.util
import re
import runpy
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

import registries
from models import qwen3_config

PAGE = Path(__file__).parents[2] / "docs" / "exporters.md"
BLOCKS = re.findall(r"^```python ?(\w*)\n(.*?)^```$", PAGE.read_text(), re.M | re.S)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which "Qwen/Qwen3-0.6B" is a tiny model with a tokenizer of a few words."""
    folder = tmp_path_factory.mktemp("docs")
    checkpoint = folder / "Qwen" / "Qwen3-0.6B"
    Qwen3ForCausalLM(qwen3_config()).save_pretrained(checkpoint)
    words = ["[PAD]", "[UNK]", "Hello", ",", "world", "!", "Hi"]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]")
    fast.save_pretrained(checkpoint)
    return folder


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_a_block_of_the_page_runs(
    number: int, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs, code = BLOCKS[number]
    if needs and importlib.util.find_spec(needs) is None:
        pytest.skip(f"{needs} is not installed")
    monkeypatch.chdir(workplace)
    script = workplace / f"block_{number}.py"
    script.write_text(code)
    with registries.restored():
        runpy.run_path(str(script), run_name="__main__")


def test_the_page_has_its_blocks() -> None:
    assert len(BLOCKS) == 13
