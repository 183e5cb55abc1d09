"""What every run has besides what is registered: its own keys, the optimiser, the schedules.

The options of models, norms, data sets and probes stand beside them; the defaults of all in
``configs/``, once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bnexp.registry import Entry, Options, at_least, expect, one_of, positive

PRECISIONS = ("float32", "float64", "bf16")
"""Of parameters and products; bf16 is float32 with the products in bfloat16 (autocast)."""

SEEDS = ("seed", "seed_data", "seed_init", "seed_order")

MOST = {"threads": 4096, "batch_size": 10**7, "steps": 10**12, "seed": 2**63 - 1}
"""The largest values that are taken for meant."""


@dataclass(frozen=True)
class OptimConfig(Options):
    """The optimiser; weight decay is part of the objective (``bnexp/objective.py``)."""

    name: str
    lr: float
    momentum: float
    weight_decay: float
    decay: str

    def check(self, key: str) -> None:
        one_of(f"{key}.name", self.name, ("sgd",))
        positive(f"{key}.lr", self.lr)
        expect(0 <= self.momentum < 1, f"{key}.momentum", "a number in [0, 1)", self.momentum)
        at_least(f"{key}.weight_decay", self.weight_decay, 0)
        one_of(f"{key}.decay", self.decay, ("weights", "all"))


@dataclass(frozen=True)
class MeasureConfig(Options):
    """What ``configs/probes`` take their schedules and grids from.

    ``seeds``, as in 0,1,2, are those that a recipe runs.
    """

    every: int
    eval_every: int
    etas: Any
    layers: Any
    seeds: str


@dataclass(frozen=True)
class RunConfig(Options):
    """The keys that are in no group."""

    batch_size: int | None
    steps: int
    seed: int
    seed_data: int
    seed_init: int
    seed_order: int
    device: str
    precision: str
    compile: bool
    tf32: bool
    deterministic: bool
    threads: int | None
    out: str
    progress: bool
    checkpoint_minutes: float
    checkpoint_steps: int | None
    resume: str
    stale: str
    fail_fast: bool
    plugins: Any
    preset: str

    def check(self, key: str) -> None:  # noqa: ARG002 - these keys are in no group
        for name in ("batch_size", "steps", "threads", "checkpoint_steps"):
            if (value := getattr(self, name)) is not None:
                most = MOST.get(name, MOST["steps"])
                expect(1 <= value <= most, name, f"a whole number from 1 to {most}", value)
        for name in SEEDS:
            value, most = getattr(self, name), MOST["seed"]
            expect(0 <= value <= most, name, f"a whole number from 0 to {most}", value)
        ok = re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", self.device) is not None
        expect(ok, "device", "auto, cpu, cuda or cuda:N", self.device)
        one_of("precision", self.precision, PRECISIONS)
        positive("checkpoint_minutes", self.checkpoint_minutes)
        one_of("resume", self.resume, ("auto", "never"))
        one_of("stale", self.stale, ("ask", "reuse", "remake"))
        names = self.plugins if isinstance(self.plugins, list) else [None]
        ok = all(isinstance(n, str) and all(p.isidentifier() for p in n.split(".")) for n in names)
        expect(ok, "plugins", "a list of modules like [my_module]", self.plugins)
        check_path("out", self.out)


def check_path(key: str, path: str) -> None:
    """Raise unless ``path`` could be that of a file."""
    expect(bool(path) and "\0" not in path, key, "a path", path)
    long = [part for part in Path(path).parts if len(part.encode("utf-8", "replace")) > 255]
    expect(not long, key, "names of at most 255 bytes", "".join(long)[:40] + "..")


def task_of(entry: Entry) -> str | None:
    """The task that a model or data set was registered with, or that its class names."""
    task = entry.more.get("task", getattr(entry.item, "task", None))
    return None if task is None else str(task)


@dataclass(frozen=True)
class Choice:
    """What a config chose by ``name`` from a registry, and its checked options."""

    name: str
    item: Any
    options: Any
    task: str | None
    """What a model or data set is for: classification or regression."""


@dataclass(frozen=True)
class Config:
    """One run, checked. ``plain`` is what config.yaml keeps and what the run's id is made from."""

    model: Choice
    norm: Choice
    data: Choice
    probes: dict[str, Choice]
    optim: OptimConfig
    run: RunConfig
    plain: dict[str, Any]
