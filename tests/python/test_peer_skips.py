"""What transformers.exporters' own tests skip: captured with every dim dynamic, and right.

Where an input that eager takes is refused, `REFUSED` says which and for what reason.
"""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from portwright.errors import GuardViolatedError
from portwright.exporters import DynamoConfig, DynamoExporter
from portwright.verify import CAPTURE_TOLERANCE, compare

sys.path.insert(0, str(Path(__file__).parents[1] / "zoo"))

import peer_skips

# By model, sizes and the reason that the error gives.
REFUSED: dict[str, dict[str, str]] = {
    # The positions that the image's place in the prompt gives are a list of real length.
    "GlmImageModel": {"1, 9": r"a value of a tensor.*modeling_glm_image\.py"},
    # Fewer than two windows of 4: the model takes another branch.
    "DeepseekV4ForCausalLM": {"1, 6": r"input_ids\.size\(1\)\) is 6.*floordiv\(s1, 4\) >= 2"},
    # How many patches the bytes make is the end of a slice; 3 x 9 bytes make as many.
    "BltForCausalLM": {
        "2, 14": r"a value of a tensor.*modeling_blt\.py",
        "1, 6": r"input_ids\.size\(1\)\) is 6, the program takes \[9, inf\]",
    },
}


def run_beside_eager(model: torch.nn.Module, run: Any, inputs: dict[str, Any]) -> list[str]:
    """What differs, with the same random state on both sides."""
    torch.manual_seed(1)
    with torch.no_grad():
        expected = model(**copy.deepcopy(inputs))
    torch.manual_seed(1)
    result = compare("", inputs, run(**copy.deepcopy(inputs)), expected, CAPTURE_TOLERANCE)
    assert result.differences, "no output was compared"
    return result.problems


@pytest.mark.parametrize("name", peer_skips.SKIPS)
def test_the_peers_skip_is_captured(name: str) -> None:
    model, sample, others = peer_skips.build(name)
    run = DynamoExporter().export(model, copy.deepcopy(sample), DynamoConfig(dynamic=True)).module()
    assert run_beside_eager(model, run, sample) == []
    refused = REFUSED.get(name, {})
    assert refused.keys() <= others.keys()
    for sizes, inputs in others.items():
        if sizes in refused:
            with pytest.raises(GuardViolatedError, match=refused[sizes]):
                run(**inputs)
        else:
            assert run_beside_eager(model, run, inputs) == [], sizes
