"""Sweeps: capture and verify many models, each in a worker process with limits; resumable.

Rows are JSON lines (see `sweep_worker.run_case`). Cases that have a row are not run again.
"""

from __future__ import annotations

import collections
import json
import os
import queue
import re
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class SweepOptions:
    """What a sweep runs and under which limits.

    Args:
        zoo: folder of the models, see `sweep_worker`.
        stage: a name in `sweep_worker.STAGES`, or "generation".
        dynamic: every dim dynamic, and a run at other sizes.
        jobs: worker processes.
        timeout: seconds for one case, building it included.
        memory_gib: limit of a worker's memory, in GiB.
        peer: run transformers.exporters instead of portwright.
    """

    zoo: str
    stage: str = "capture"
    dynamic: bool = True
    jobs: int = 2
    timeout: float = 120.0
    memory_gib: float = 8.0
    peer: bool = False


class _Worker:
    """A process that answers case ids; started anew after a timeout or a crash."""

    def __init__(self, options: SweepOptions) -> None:
        self._options = options
        self._process: subprocess.Popen[str] | None = None

    def run(self, case: str) -> dict[str, Any]:
        options = self._options
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "portwright.sweep_worker",
                    os.path.abspath(options.zoo),
                    options.stage,
                    "dynamic" if options.dynamic else "static",
                    "peer" if options.peer else "portwright",
                    str(options.memory_gib),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        row = {"id": case, **_key(options), "status": "wrong"}
        start = time.perf_counter()
        try:
            process.stdin.write(case + "\n")
            process.stdin.flush()
            ready, _, _ = select.select([process.stdout], [], [], options.timeout)
            if not ready:
                self.close()
                return {**row, "reason": "timed out", "detail": f"after {options.timeout:g} s"}
            line = process.stdout.readline()
            if line:
                return {**json.loads(line), "total_s": round(time.perf_counter() - start, 3)}
        except BrokenPipeError:
            pass
        code = process.wait()
        return {**row, "reason": "crashed", "detail": f"the worker ended with {code}"}

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def _key(options: SweepOptions) -> dict[str, Any]:
    """What tells the rows of one sweep from those of others in the same file."""
    return {"stage": options.stage, "dynamic": options.dynamic, "peer": options.peer}


def read_rows(path: str) -> list[dict[str, Any]]:
    """The rows of an earlier sweep; a last line that was cut off is left out."""
    rows = []
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            for line in file:
                try:
                    rows.append(json.loads(line))
                except json.JSONDecodeError:
                    continue
    return rows


def sweep(
    cases: Iterable[str],
    options: SweepOptions,
    path: str,
    progress: Callable[[dict[str, Any], int, int], None] = lambda row, done, total: None,
) -> list[dict[str, Any]]:
    """Runs the cases that `path` has no row for, and gives all rows of `cases`.

    Args:
        cases: case ids of the zoo.
        options: what to run.
        path: JSON lines, appended to after each case.
        progress: called with each new row, how many are done and how many there are.
    """
    wanted = list(dict.fromkeys(cases))
    done = {
        row["id"]: row
        for row in read_rows(path)
        if all(row.get(name) == value for name, value in _key(options).items())
    }
    todo: queue.SimpleQueue[str] = queue.SimpleQueue()
    for case in wanted:
        if case not in done:
            todo.put(case)
    lock = threading.Lock()

    def work() -> None:
        worker = _Worker(options)
        try:
            while True:
                try:
                    case = todo.get_nowait()
                except queue.Empty:
                    return
                row = worker.run(case)
                with lock:
                    done[case] = row
                    with open(path, "a", encoding="utf-8") as file:
                        file.write(json.dumps(row) + "\n")
                    progress(row, sum(case in done for case in wanted), len(wanted))
        finally:
            worker.close()

    threads = [threading.Thread(target=work) for _ in range(options.jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [done[case] for case in wanted]


def reason_group(row: dict[str, Any]) -> str:
    """The reason without what differs from case to case: numbers, names, lines."""
    first = str(row["detail"]).strip().splitlines()[:1] or [""]
    text = re.sub(r"\[?/?[\w./-]+\.py:\d+\]?", "<line>", first[0])
    text = re.sub(r"\b[su]\d+\b", "s", text)
    text = re.sub(r"\d+(\.\d+)?(e-?\d+)?", "N", text)
    return f"{row['reason']}: {text[:140]}"


def summary(rows: list[dict[str, Any]]) -> str:
    """Shares, times and the reasons of failure with their counts and cases."""
    right = [row for row in rows if row["status"] == "right"]
    times = sorted(row["export_s"] for row in rows if "export_s" in row)
    lines = [f"{len(right)} of {len(rows)} right ({100 * len(right) / max(len(rows), 1):.1f} %)"]
    if times:
        lines.append(
            f"export: median {times[len(times) // 2] * 1e3:.1f} ms, longest {times[-1]:.2f} s, "
            f"total {sum(times):.1f} s"
        )
    groups = collections.defaultdict(list)
    for row in rows:
        if row["status"] != "right":
            groups[reason_group(row)].append(row["id"])
    for reason, ids in sorted(groups.items(), key=lambda item: -len(item[1])):
        more = f" and {len(ids) - 3} more" if len(ids) > 3 else ""
        lines.append(f"{len(ids):5}  {reason}\n         {', '.join(ids[:3])}{more}")
    for kind in ("patches", "preparers"):
        counts = collections.Counter(name for row in rows for name in row.get(kind, ()))
        cases = sum(bool(row.get(kind)) for row in rows)
        lines.append(f"{cases} cases used {kind}" + (", each in so many:" if counts else ""))
        lines += [f"{count:5}  {name}" for name, count in counts.most_common()]
    return "\n".join(lines)


def comparison(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> str:
    """Two sweeps of the same cases beside each other: shares, export times, and who is right."""
    by_case = {row["id"]: row for row in theirs}
    pairs = [(row, by_case[row["id"]]) for row in ours if row["id"] in by_case]
    right = [(row["status"] == "right", peer["status"] == "right") for row, peer in pairs]
    lines = [
        f"right: {sum(mine for mine, _ in right)} here, {sum(peer for _, peer in right)} by "
        f"transformers.exporters, of {len(pairs)}"
    ]
    ratios = sorted(
        peer["export_s"] / row["export_s"]
        for row, peer in pairs
        if "export_s" in row and "export_s" in peer
    )
    if ratios:
        lines.append(
            f"export, times faster: median {ratios[len(ratios) // 2]:.0f}, "
            f"least {ratios[0]:.1f}, of {len(ratios)}"
        )
    for title, wanted in (
        ("right there, not here", (False, True)),
        ("and only here", (True, False)),
    ):
        ids = [row["id"] for (row, _), found in zip(pairs, right, strict=True) if found == wanted]
        lines.append(f"{title}: {len(ids)} {', '.join(ids)}")
    return "\n".join(lines)
