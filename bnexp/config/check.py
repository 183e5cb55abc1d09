"""From what Hydra composed to a checked `Config`, or one line that says what is wrong.

The options of models, norms, data sets, optimisers and probes stand beside them; those of every run
stand here; the defaults of all in ``configs/``, once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from bnexp import registry
from bnexp.registry import Options, Registry, bind, expect, one_of, positive

REGISTRIES = {
    "model": registry.MODELS,
    "norm": registry.NORMS,
    "data": registry.DATASETS,
    "optim": registry.OPTIMISERS,
    "logger": registry.LOGGERS,
}
SECTIONS = (*REGISTRIES, "probes", "measure")
DROPPED = ("experiment", "sizes", "hydra")
"""Keys by which a config is composed and which say nothing about the run."""

PRECISIONS = ("float32", "float64", "bf16")
"""Of parameters and products; bf16 is float32 with the products in bfloat16 (autocast)."""

SEEDS = ("seed", "seed_data", "seed_init", "seed_order")
COUNTS = {"batch_size": 10**7, "steps": 10**12, "threads": 4096, "checkpoint_steps": 10**12}
"""Keys from 1 to the largest value that is taken for meant."""


@dataclass(frozen=True)
class MeasureConfig(Options):
    """What ``configs/probes`` take schedules and grids from; ``seeds`` are those of a recipe."""

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
    share: bool
    plugins: Any
    preset: str

    def check(self, key: str) -> None:  # noqa: ARG002 - these keys are in no group
        ranges = {name: (1, most) for name, most in COUNTS.items()}
        ranges |= dict.fromkeys(SEEDS, (0, 2**63 - 1))
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            ok = value is None or low <= value <= high
            expect(ok, name, f"a whole number from {low} to {high}", value)
        ok = re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", self.device) is not None
        expect(ok, "device", "auto, cpu, cuda or cuda:N", self.device)
        one_of("precision", self.precision, PRECISIONS)
        positive("checkpoint_minutes", self.checkpoint_minutes)
        one_of("resume", self.resume, ("auto", "never"))
        one_of("stale", self.stale, ("ask", "reuse", "remake"))
        names = self.plugins if isinstance(self.plugins, list) else [None]
        ok = all(isinstance(n, str) and all(p.isidentifier() for p in n.split(".")) for n in names)
        expect(ok, "plugins", "a list of modules like [my_module]", self.plugins)
        expect(bool(self.out) and "\0" not in self.out, "out", "a path", self.out)
        parts, size = Path(self.out).parts, len(self.out.encode("utf-8", "replace"))
        ok = max(len(name.encode("utf-8", "replace")) for name in parts or [""]) <= 255
        ok = ok and len(parts) <= 100 and size <= 3000  # the run's files lie below it
        expect(ok, "out", "names of at most 255 bytes, 100 deep", self.out[:40] + "..")


@dataclass(frozen=True)
class Choice:
    """What a config chose by ``name`` from a registry, its checked options, and what it is for."""

    name: str
    item: Any
    options: Any
    task: str | None


@dataclass(frozen=True)
class Config:
    """One run, checked. ``plain`` is what config.yaml keeps and what the run's id is made from."""

    model: Choice
    norm: Choice
    data: Choice
    logger: Choice
    optim: Choice
    probes: dict[str, Choice]
    run: RunConfig
    plain: dict[str, Any]


def check(plain: Mapping[str, Any]) -> Config:
    """The checked config of one run, from what `compose` gives."""
    rest = {k: v for k, v in plain.items() if k not in (*SECTIONS, *DROPPED)}
    # A sweep's runs differ in their seeds, so these are put in after `bind`, which knows the rest.
    seeds = {key: rest[key] for key in SEEDS if type(rest.get(key)) is int}
    run: RunConfig = replace(bind(RunConfig, {**rest, **dict.fromkeys(seeds, 0)}, ""), **seeds)
    run.check("")
    measure = bind(MeasureConfig, plain.get("measure"), "measure")
    _load_plugins(tuple(run.plugins))
    chosen = {key: _choice(kind, plain.get(key), key) for key, kind in REGISTRIES.items()}
    model, data = chosen["model"], chosen["data"]
    suited = f"data for {model.task}, as model={model.name} needs it"
    expect(data.task == model.task, "data", suited, data.name)
    if hasattr(data.options, "d") and hasattr(model.options, "d"):
        size = model.options.d
        expect(data.options.d == size, "data.d", f"model.d, which is {size}", data.options.d)
    if model.task == "regression":  # whose losses span many orders of magnitude
        ok = run.precision != "bf16"
        expect(ok, "precision", f"float64 or float32 with model={model.name}", run.precision)
    sections: Any = plain.get("probes")
    expect(isinstance(sections, Mapping), "probes", "a group of settings", sections)
    probes = {
        name: _choice(registry.PROBES, options, f"probes.{name}", name)
        for name, options in sections.items()
    }
    # As bound, not as given, so that 0.1 and "0.1" are one run.
    bound = {key: {"name": chosen[key].name, **asdict(chosen[key].options)} for key in chosen}
    bound["probes"] = {name: asdict(probe.options) for name, probe in probes.items()}
    bound |= {"measure": asdict(measure), **asdict(run)}
    return Config(**chosen, probes=probes, run=run, plain=bound)


@lru_cache
def _load_plugins(names: tuple[str, ...]) -> None:
    registry.load_plugins(names)


def _choice(kind: Registry, section: Any, key: str, name: str | None = None) -> Choice:
    """What ``kind`` has under ``name``, by default ``section``'s, with the options given there."""
    expect(isinstance(section, Mapping), key, "a group of settings", section)
    name = name or section.get("name")
    one_of(key, name, kind.names())
    entry = kind[str(name)]
    mine = "name" in {field.name for field in fields(entry.options)}
    options = {k: v for k, v in section.items() if mine or k != "name"}
    task = entry.more.get("task", getattr(entry.item, "task", None))
    return Choice(entry.name, entry.item, bind(entry.options, options, key), task)
