"""Latency in ONNX Runtime: our artifacts against transformers.exporters' default and fused ones.

python bench/onnx_runtime.py [CASE ...] [--keep FOLDER] [--rounds N]

Every artifact of a case is exported in a process of its own; then each is loaded into one with the
same session options, their outputs are compared, and they are run in turn. What is printed is the
median latency of each and the median of the ratios round by round.
`--keep` exports into a folder that stays, and takes what a former run left there.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

sys.path.pop(0)  # this folder: in it, onnx.py would be the package onnx
SIDES = ["portwright", "portwright-standard", "peer", "peer-fused"]
Model = tuple[torch.nn.Module, dict[str, Any]]
PROCESSES = 3
PAUSE = 0.05  # seconds; by then the threads of the process that ran before no longer spin
MAX_CACHE = 1280  # tokens that the shared buffer holds


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


def _prefill() -> Model:
    return _qwen3(), {"input_ids": _ids(128)}


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
    inputs = {
        "input_ids": _ids(1),
        "past_key_values": make_cache(model, past),
    }
    return model, inputs


def _bert() -> Model:
    import transformers

    torch.manual_seed(0)
    ids = _ids(128) % 30000
    model = transformers.BertModel(transformers.BertConfig()).eval()
    return model, {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def _vit() -> Model:
    import transformers

    torch.manual_seed(0)
    model = transformers.ViTModel(transformers.ViTConfig()).eval()
    return model, {"pixel_values": torch.randn(1, 3, 224, 224)}


def _whisper() -> Model:
    import transformers

    torch.manual_seed(0)
    model = transformers.WhisperModel(transformers.WhisperConfig()).get_encoder().eval()
    return model, {"input_features": torch.randn(1, 80, 3000)}


# The model and inputs that our side exports, and those of the peer's.
CASES: dict[str, tuple[Callable[[], Model], Callable[[], Model]]] = {
    "decode-256": (lambda: _decode(256, _fixed_cache), lambda: _decode(256, _grown_cache)),
    "decode-1024": (lambda: _decode(1024, _fixed_cache), lambda: _decode(1024, _grown_cache)),
    "prefill-128": (_prefill, _prefill),
    "prefill-128-last": (_prefill, _prefill),
    "bert": (_bert, _bert),
    "vit": (_vit, _vit),
    "whisper": (_whisper, _whisper),
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


class Run:
    """An artifact bound to its inputs; caches of fixed size are one buffer for input and output."""

    def __init__(self, path: str, model: Model):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )
        self._binding = self._session.io_binding()
        feeds = _feeds(model[1])
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

    def __call__(self) -> None:
        self._session.run_with_iobinding(self._binding)

    def result(self) -> np.ndarray:
        """The model's first output: its logits or hidden states."""
        self()
        names = [item.name for item in self._session.get_outputs()]
        wanted = "logits" if "logits" in names else "last_hidden_state"
        return self._binding.get_outputs()[names.index(wanted)].numpy()


def _feeds(inputs: dict[str, Any]) -> dict[str, np.ndarray]:
    feeds = {}
    for name, value in inputs.items():
        if isinstance(value, torch.Tensor):
            feeds[name] = value.numpy()
            continue
        for i, layer in enumerate(value.layers):
            for kind, tensor in (("key", layer.keys), ("value", layer.values)):
                array = tensor.detach().numpy().copy()
                feeds[f"{name}.{i}.{kind}"] = array
                feeds[f"input.{name}.layers.{i}.{kind}s"] = array  # the peer's name
            if hasattr(layer, "cumulative_length"):
                feeds[f"{name}.{i}.cumulative_length"] = layer.cumulative_length.numpy().copy()
    return feeds


def serve(case: str, side: str, path: str) -> None:
    """Loads an artifact; for each line on stdin runs it and prints the seconds.

    The first line is a path that the artifact's result is saved to.
    """
    with contextlib.redirect_stdout(sys.stderr):
        run = Run(path, CASES[case][0 if side.startswith("portwright") else 1]())
    for line in sys.stdin:
        if line.strip():
            np.save(line.strip(), run.result())
        time.sleep(PAUSE)
        start = time.perf_counter()
        run()
        print(time.perf_counter() - start, flush=True)


class Served:
    """An artifact in a process of its own, where the memory of others does not lie in its way."""

    def __init__(self, case: str, side: str, path: str):
        command = [sys.executable, "-W", "ignore", __file__, "--serve", case, side, path]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, save_to: str = "") -> float:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(save_to + "\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate()


def export_all(case: str, folder: str) -> dict[str, str]:
    """The artifacts' paths by side; each is exported in a process of its own."""
    paths = {}
    for side in SIDES:
        target = os.path.join(folder, f"{case}-{side}")
        paths[side] = os.path.join(target, "model.onnx")
        if os.path.isfile(paths[side]):
            continue
        os.makedirs(target, exist_ok=True)
        command = [sys.executable, "-W", "ignore", __file__, "--export", case, side, target]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"{case} {side} failed:\n{done.stderr[-2000:]}")
    return paths


def check_results(case: str, found: dict[str, np.ndarray]) -> None:
    """Nothing is measured that gives something else than the peer's default."""
    expected = found["peer"]
    for side, result in found.items():
        rows = result.shape[1]  # the last ones, where only they are computed
        error = np.abs(result - expected[:, -rows:]).max() / np.abs(expected).max()
        if error > 1e-3:
            sys.exit(f"{case} {side} differs from the peer's default by {error:.1e}")


def measure(case: str, folder: str, rounds: int) -> None:
    """Prints the latencies of a case's artifacts and their ratios to ours, round by round.

    Processes are started anew a few times, because how memory lies makes a difference of some
    percent for as long as a process lives.
    """
    paths = export_all(case, folder)
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    for _ in range(PROCESSES):
        served = {side: Served(case, side, path) for side, path in paths.items()}
        with tempfile.TemporaryDirectory() as results:
            files = {side: os.path.join(results, f"{side}.npy") for side in SIDES}
            for side, run in served.items():
                run(files[side])
            check_results(case, {side: np.load(file) for side, file in files.items()})
        for _ in range(rounds):
            for side, run in served.items():
                seconds[side].append(run())
        for run in served.values():
            run.close()
    ours = seconds[SIDES[0]]
    for side, found in seconds.items():
        ratio = statistics.median(b / a for a, b in zip(ours, found, strict=True))
        print(f"{case:18}{side:20}{statistics.median(found) * 1e3:9.2f} ms {ratio:6.2f} x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--keep", metavar="FOLDER")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--export", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(*options.serve)
        return
    if options.export:
        export(*options.export)
        return
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/dev/shm") as own:
        for case in options.cases or CASES:
            measure(case, options.keep or own, options.rounds)


if __name__ == "__main__":
    main()
