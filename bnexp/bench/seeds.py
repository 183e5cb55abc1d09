"""Many seeds of the deep linear network: what a step of all of them takes, over that of one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

import torch

from bnexp.bench.comparisons import SETTINGS, Row, make_trainer
from bnexp.training.joined import Joined, joinable
from bnexp.training.memory import keep_freed_memory

SEEDS = 10
WARM_UP = 10


def many_seeds(seconds: float) -> Iterator[Row]:
    """Ten seeds as ``bnexp train -m`` makes them side by side on the cores, against one alone."""
    cores = min(len(os.sched_getaffinity(0)), SEEDS)
    for norm in ("none", "bn"):
        asked = (*SETTINGS["dln"], f"norm={norm}", "device=cpu")
        many, one = (step_seconds(asked, n, k, seconds) for n, k in ((SEEDS, cores), (1, 1)))
        yield Row(f"dln {norm}", f"{SEEDS} seeds, {cores} processes", "one seed", many, one, 4.0)


def step_seconds(overrides: Sequence[str], runs: int, processes: int, seconds: float) -> float:
    """Seconds that a training step of ``runs`` seeds takes, in so many ``processes`` at once."""
    parts = [list(range(runs))[i::processes] for i in range(processes)]
    begun = [
        subprocess.Popen(
            [sys.executable, "-m", "bnexp.bench.seeds", json.dumps([[*overrides], part, seconds])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for part in parts
    ]
    for one in begun:
        assert one.stdout is not None
        one.stdout.readline()  # it is ready
    told = []
    for one in begun:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    for one in begun:
        told.append(one.communicate()[0])
        if one.returncode:
            raise RuntimeError(f"a process of the bench ended with code {one.returncode}")
    return max(map(float, told))


def measured(overrides: Sequence[str], numbers: Sequence[int], seconds: float) -> None:
    """Print the seconds of a step of the seeds ``numbers``, all made in this process."""
    torch.set_num_threads(1)
    keep_freed_memory()
    trainers = [make_trainer(*overrides, f"seed={number}", "probes=none") for number in numbers]
    if joinable(trainers):
        Joined(trainers)
    step = 0

    def work() -> None:
        nonlocal step
        step += 1
        for trainer in trainers:
            trainer.step(step, lambda rows: None)  # noqa: ARG005

    for _ in range(WARM_UP):
        work()
    print("ready", flush=True)
    sys.stdin.readline()
    begin = time.perf_counter()
    while (spent := time.perf_counter() - begin) < seconds:
        work()
    print(spent / (step - WARM_UP))


if __name__ == "__main__":
    measured(*json.loads(sys.argv[1]))
