"""From what Hydra composed to a checked `Config`, or one line that says what is wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from functools import lru_cache
from typing import Any

from bnexp.config.schema import (
    SEEDS,
    Choice,
    Config,
    MeasureConfig,
    OptimConfig,
    RunConfig,
    task_of,
)
from bnexp.errors import UserError
from bnexp.registry import (
    DATASETS,
    MODELS,
    NORMS,
    PROBES,
    Options,
    Registry,
    bind,
    expect,
    load_plugins,
    unknown,
)

REGISTRIES = {"model": MODELS, "norm": NORMS, "data": DATASETS}
SECTIONS = (*REGISTRIES, "probes", "optim", "measure")
DROPPED = ("experiment", "sizes", "hydra")
"""Keys by which a config is composed and which say nothing about the run."""


def check(plain: Mapping[str, Any]) -> Config:
    """The checked config of one run, from what `compose` gives.

    The run's own keys are checked before anything that is registered is imported.

    Raises:
        UserError: one line that names the key and what was expected.
    """
    for name in SECTIONS:
        _group(name, plain.get(name))
    rest = {k: v for k, v in plain.items() if k not in (*SECTIONS, *DROPPED)}
    run = _run(rest)
    optim = _bind(OptimConfig, plain["optim"], "optim")
    measure = _bind(MeasureConfig, plain["measure"], "measure")
    for name, options in plain["probes"].items():
        _group(f"probes.{name}", options)
    _load_plugins(tuple(run.plugins))
    chosen = {
        name: _choice(registry, plain[name].get("name"), plain[name], name)
        for name, registry in REGISTRIES.items()
    }
    task = chosen["model"].task
    if task != chosen["data"].task:
        names = [name for name in DATASETS.names() if task_of(DATASETS[name]) == task]
        raise UserError(
            f"data: model={chosen['model'].name} needs one of {', '.join(names)}; "
            f"got {chosen['data'].name}"
        )
    size, wanted = (getattr(chosen[name].options, "d", None) for name in ("data", "model"))
    if size is not None and wanted is not None:
        expect(size == wanted, "data.d", f"model.d, which is {wanted}", size)
    for name in plain["probes"]:
        if name not in PROBES:
            raise UserError(f"probes.{name}: {unknown(name, PROBES.names())}")
    probes = {
        str(name): _choice(PROBES, str(name), options, f"probes.{name}")
        for name, options in plain["probes"].items()
    }
    # As bound, not as given, so that 0.1 and "0.1" are one run.
    bound = {name: {"name": one.name, **asdict(one.options)} for name, one in chosen.items()}
    bound["probes"] = {name: asdict(one.options) for name, one in probes.items()}
    bound |= {"optim": asdict(optim), "measure": asdict(measure)}
    return Config(**chosen, probes=probes, optim=optim, run=run, plain={**bound, **asdict(run)})


@lru_cache
def _load_plugins(names: tuple[str, ...]) -> None:
    load_plugins(names)


def _run(section: Mapping[str, Any]) -> RunConfig:
    """The run's own keys. Those that differ only in their seeds are bound once."""
    seeds = {key: section[key] for key in SEEDS if type(section.get(key)) is int}
    run = _bind(RunConfig, {**section, **dict.fromkeys(seeds, 0)}, "")
    run = replace(run, **seeds)
    run.check("")
    assert isinstance(run, RunConfig)
    return run


def _group(key: str, section: Any) -> None:
    if not isinstance(section, Mapping):
        raise UserError(f"{key}: expected a group of settings; got {section!r}")


def _choice(registry: Registry, name: Any, section: Mapping[str, Any], key: str) -> Choice:
    """What ``registry`` has under ``name``, with the options that ``section`` gives."""
    if name is None:
        raise UserError(f"{key}.name: a value is expected; none was given")
    entry = registry[name]
    mine = "name" in {field.name for field in fields(entry.options)}
    options = {k: v for k, v in section.items() if mine or k != "name"}
    return Choice(entry.name, entry.item, _bind(entry.options, options, key), task_of(entry))


def _bind(schema: type[Options], section: Mapping[str, Any], key: str) -> Any:
    """As `bind`, but the same section is bound once: a sweep's runs share most of theirs."""
    try:
        text = json.dumps(section)
    except (TypeError, ValueError):
        return bind(schema, section, key)
    return _bind_text(schema, text, key)  # type: ignore[arg-type]


@lru_cache(maxsize=4096)
def _bind_text(schema: type[Options], text: str, key: str) -> Any:
    return bind(schema, json.loads(text), key)
