"""Artifacts of several exporters, each exported and run in a process of its own, in turn.

How memory lies makes a difference for as long as a process lives, hence several processes a side.
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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

PAUSE = 0.05  # seconds; by then the threads of the process that ran before no longer spin
EXPORTED = "exported"  # an empty file in the folder of an artifact that is whole
PEER = "peer"


class Artifact(Protocol):
    """A loaded file with its inputs."""

    runs: Sequence[Callable[[], object]]  # what is timed, the whole file first

    def result(self) -> np.ndarray:
        """The model's first output: its logits or hidden states."""


@dataclass(frozen=True)
class Bench:
    """What the benchmark of a runtime gives to this module."""

    script: str  # calls main
    usage: str
    cases: Sequence[str]
    sides: Sequence[str]  # ours first; one is PEER
    processes: int
    export: Callable[[str, str, str], None]  # case, side, folder that it writes to
    load: Callable[[str, str, str], Artifact]  # the same
    facts: Callable[[str, list[list[float]]], str]  # folder, seconds by round and run


def serve(artifact: Artifact) -> None:
    """For each line on stdin runs an artifact and prints the seconds of its runs.

    A line that is not empty is a path that the artifact's result is saved to.
    """
    for line in sys.stdin:
        if line.strip():
            np.save(line.strip(), artifact.result())
        seconds = []
        for run in artifact.runs:
            time.sleep(PAUSE)
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
        print(json.dumps(seconds), flush=True)


class Served:
    """An artifact in a process of its own."""

    def __init__(self, bench: Bench, case: str, side: str, folder: str):
        self._process = subprocess.Popen(
            _command(bench, "--serve", case, side, folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, save_to: str = "") -> list[float]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(save_to + "\n")
        self._process.stdin.flush()
        while line := self._process.stdout.readline():
            with contextlib.suppress(json.JSONDecodeError):  # runtimes print to stdout, too
                return list(json.loads(line))
        sys.exit("an artifact ended: see above")

    def close(self) -> None:
        self._process.communicate()


def _command(bench: Bench, *arguments: str) -> list[str]:
    return [sys.executable, "-W", "ignore", bench.script, *arguments]


def export_all(bench: Bench, case: str, folder: str) -> dict[str, str]:
    """The artifacts' folders by side; what a former run left there is taken."""
    folders = {}
    for side in bench.sides:
        target = folders[side] = os.path.join(folder, f"{case}-{side}")
        if os.path.isfile(os.path.join(target, EXPORTED)):
            continue
        os.makedirs(target, exist_ok=True)
        command = _command(bench, "--export", case, side, target)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"{case} {side} failed:\n{done.stderr[-2000:]}")
        with open(os.path.join(target, EXPORTED), "w", encoding="utf-8"):
            pass
    return folders


def check_results(case: str, found: dict[str, np.ndarray]) -> None:
    """Nothing is measured that gives something else than the peer's."""
    expected = found[PEER]
    for side, result in found.items():
        rows = result.shape[1]  # the last ones, where only they are computed
        error = np.abs(result - expected[:, -rows:]).max() / np.abs(expected).max()
        if not error <= 1e-3:
            sys.exit(f"{case} {side} differs from the peer's by {error:.1e}")


def measure(bench: Bench, case: str, folder: str, rounds: int) -> None:
    """Prints the latencies of a case's artifacts and their ratios to ours, round by round."""
    folders = export_all(bench, case, folder)
    seconds: dict[str, list[list[float]]] = {side: [] for side in bench.sides}
    for _ in range(bench.processes):
        served = {side: Served(bench, case, side, path) for side, path in folders.items()}
        with tempfile.TemporaryDirectory() as results:
            files = {side: os.path.join(results, f"{side}.npy") for side in bench.sides}
            for side, run in served.items():
                run(files[side])
            check_results(case, {side: np.load(file) for side, file in files.items()})
        for _ in range(rounds):
            for side, run in served.items():
                seconds[side].append(run())
        for run in served.values():
            run.close()
    ours = [item[0] for item in seconds[bench.sides[0]]]
    for side, found in seconds.items():
        whole = [item[0] for item in found]
        ratio = statistics.median(b / a for a, b in zip(ours, whole, strict=True))
        print(
            f"{case:18}{side:20}{statistics.median(whole) * 1e3:9.2f} ms {ratio:6.2f} x"
            f"{bench.facts(folders[side], found)}",
            flush=True,
        )


def main(bench: Bench) -> None:
    """The command line of a runtime's benchmark."""
    parser = argparse.ArgumentParser(
        description=bench.usage, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(bench.cases))
    parser.add_argument("--keep", metavar="FOLDER")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--export", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        with contextlib.redirect_stdout(sys.stderr):
            artifact = bench.load(*options.serve)
        serve(artifact)
        return
    if options.export:
        bench.export(*options.export)
        return
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/dev/shm") as own:
        for case in options.cases or bench.cases:
            measure(bench, case, options.keep or own, options.rounds)
