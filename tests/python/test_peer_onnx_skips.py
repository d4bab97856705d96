"""What transformers.exporters' own tests skip for ONNX: dynamic, and right in ONNX Runtime.

Where an input that eager takes is refused, `REFUSED` says which and for what reason.
"""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import pytest
import torch

import onnx
from portwright import OnnxConfig, OnnxExporter
from portwright.errors import GuardViolatedError
from portwright.verify import RUNTIME_TOLERANCE, compare

sys.path.insert(0, str(Path(__file__).parents[1] / "zoo"))

import peer_onnx_skips

# By model, sizes and the reason that the error gives.
REFUSED: dict[str, dict[str, str]] = {
    # The blocks that each block attends to are planned in numpy, for a number of blocks.
    "BigBirdForMaskedLM": {
        "2, 80": r"floordiv\(s1, 4\) == 16.*modeling_big_bird\.py",
        "1, 72": r"floordiv\(s1, 4\) == 16.*modeling_big_bird\.py",
    },
}


@pytest.mark.parametrize("name", peer_onnx_skips.SKIPS)
def test_the_peers_onnx_skip_is_right(name: str, tmp_path: Path) -> None:
    model, sample, others = peer_onnx_skips.build(name)
    path = tmp_path / "model.onnx"
    config = OnnxConfig(dynamic=True, output_path=path)
    program = OnnxExporter().export(model, copy.deepcopy(sample), config)
    onnx.checker.check_model(path, full_check=True)
    refused = REFUSED.get(name, {})
    assert refused.keys() <= others.keys()
    for sizes, inputs in {"sample": sample, **others}.items():
        if sizes in refused:
            with pytest.raises(GuardViolatedError, match="(?s)" + refused[sizes]):
                program(**inputs)
            continue
        with torch.no_grad():
            expected = model(**copy.deepcopy(inputs))
        result = compare(sizes, inputs, program(**inputs), expected, RUNTIME_TOLERANCE)
        assert result.differences, "no output was compared"
        assert result.problems == [], sizes
