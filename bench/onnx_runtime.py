"""Latency in ONNX Runtime: our artifacts against transformers.exporters' default and fused ones.

python bench/onnx_runtime.py [CASE ...] [--keep FOLDER] [--rounds N]

Every artifact of a case is exported in a process of its own; then each is loaded into one with the
same session options, their outputs are compared, and they are run in turn. What is printed is the
median latency of each and the median of the ratios round by round.
`--keep` exports into a folder that stays, and takes what a former run left there.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from functools import partial

import numpy as np

import cases
import serving

sys.path.pop(0)  # this folder: in it, onnx.py would be the package onnx
# The model and inputs that our side exports, and those of the peer's.
CASES: dict[str, tuple[Callable[[], cases.Model], Callable[[], cases.Model]]] = {
    "decode-256": (partial(cases.decode_fixed, 256), partial(cases.decode, 256)),
    "decode-1024": (partial(cases.decode_fixed, 1024), partial(cases.decode, 1024)),
    "prefill-128": (cases.prefill, cases.prefill),
    "prefill-128-last": (cases.prefill, cases.prefill),
    "bert": (cases.bert, cases.bert),
    "vit": (cases.vit, cases.vit),
    "whisper": (cases.whisper, cases.whisper),
}


def export(case: str, side: str, folder: str) -> None:
    """One artifact, `folder/model.onnx`."""
    ours, theirs = CASES[case]
    if side.startswith("portwright"):
        from portwright.exporters import OnnxConfig, OnnxExporter

        model, inputs = ours()
        config = OnnxConfig(
            dynamic=True,
            ort_fusions=None if side.endswith("standard") else "cpu",
            last_token_logits=case.endswith("last"),
            output_path=os.path.join(folder, "model.onnx"),
        )
        OnnxExporter().export(model, inputs, config)
        return
    from transformers.exporters import OnnxConfig, OnnxExporter

    model, inputs = theirs()
    config = OnnxConfig(dynamic=True, ort_fusions="cpu" if side.endswith("fused") else None)
    OnnxExporter().export(model, inputs, config=config).save_pretrained(folder)


class Artifact:
    """A file bound to its inputs; caches of fixed size are one buffer for input and output."""

    def __init__(self, case: str, side: str, folder: str):
        import onnxruntime

        _, inputs = CASES[case][0 if side.startswith("portwright") else 1]()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            os.path.join(folder, "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self._binding = self._session.io_binding()
        feeds = cases.feeds(inputs)
        self._values = {}
        for item in self._session.get_inputs():
            value = onnxruntime.OrtValue.ortvalue_from_numpy(feeds[item.name])
            self._values[item.name] = value
            self._binding.bind_ortvalue_input(item.name, value)
        # One buffer is the cache before and after.
        buffers = {}
        record = self._session.get_modelmeta().custom_metadata_map.get("portwright.export")
        for item in json.loads(record)["outputs"] if record else []:
            name = item.get("new_value_of", "")
            if name and not name.endswith(".cumulative_length"):
                buffers[item["name"]] = self._values[name]
        for item in self._session.get_outputs():
            if item.name in buffers:
                self._binding.bind_ortvalue_output(item.name, buffers[item.name])
            else:
                self._binding.bind_output(item.name)
        self.runs = [self._run]

    def _run(self) -> None:
        self._session.run_with_iobinding(self._binding)

    def result(self) -> np.ndarray:
        self._run()
        names = [item.name for item in self._session.get_outputs()]
        wanted = "logits" if "logits" in names else "last_hidden_state"
        return self._binding.get_outputs()[names.index(wanted)].numpy()


if __name__ == "__main__":
    serving.main(
        serving.Bench(
            script=__file__,
            usage=__doc__,
            cases=list(CASES),
            sides=["portwright", "portwright-standard", serving.PEER, "peer-fused"],
            processes=3,
            export=export,
            load=Artifact,
            facts=lambda folder, seconds: "",
        )
    )
