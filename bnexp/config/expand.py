"""Which runs a sweep or a recipe asks for. A sweep's config is composed once and varied."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.types import Glob, Override, QuotedString, RangeSweep, Transformer
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from bnexp.config.check import task_of
from bnexp.config.compose import SEARCH, choices, compose_hydra, keys_of, parse, resolve
from bnexp.errors import UserError
from bnexp.registry import DATASETS, MODELS, expect, unknown

MOST_RUNS = 100_000
"""The longest sweep that is taken for meant."""

TASKS = {"model": MODELS, "data": DATASETS}
"""The groups whose choices suit some recipes only, by the task of what they name."""


@dataclass(frozen=True)
class Request:
    """A run that is asked for: the overrides that ask for it and its resolved config."""

    overrides: tuple[str, ...]
    plain: dict[str, Any]


def expand(overrides: Sequence[str]) -> list[Request]:
    """The runs that a sweep asks for: every combination of its values, and of its experiment's."""
    given = parse(overrides)
    first = compose_hydra([o for o in given if not o.is_sweep_override()])
    params, named = first.hydra.sweeper.params or {}, {o.get_key_element() for o in given}
    every = [*parse([f"{k}={v}" for k, v in params.items() if k not in named]), *given]
    fixed = [str(o.input_line) for o in every if not o.is_sweep_override()]
    sweeps = [o for o in every if o.is_sweep_override()]
    axes = [_axis(o, overrides) for o in sweeps]
    if (count := math.prod(map(len, axes))) > MOST_RUNS:
        raise UserError(f"-m: expected a sweep of at most {MOST_RUNS} runs; got {count}")
    is_value = [_is_value(o, axis, first) for o, axis in zip(sweeps, axes, strict=True)]
    templates: dict[tuple[str, ...], str] = {}
    requests = []
    for chosen in itertools.product(*axes):
        lines = [line for line, _ in chosen]
        values = [item for (_, item), v in zip(chosen, is_value, strict=True) if v]
        groups = tuple(line for line, v in zip(lines, is_value, strict=True) if not v)
        if groups not in templates:
            keys = [o.get_key_element() for o, v in zip(sweeps, is_value, strict=True) if v]
            templates[groups] = _template(compose_hydra([*fixed, *lines]), keys)
        requests.append(Request((*fixed, *lines), _filled(templates[groups], values)))
    return requests


def _axis(override: Override, overrides: Sequence[str]) -> list[tuple[str, Any]]:
    """The values that ``override`` sweeps over, each also as an override of its own."""
    key, sweep = override.get_key_element(), override.value()
    if isinstance(sweep, Glob):
        others = [o for o in overrides if o != override.input_line]
        items: list[Any] = sweep.filter(choices(override.key_or_group, others))
    else:
        try:
            if isinstance(sweep, RangeSweep):
                start, stop, step = (float(x or 0) for x in (sweep.start, sweep.stop, sweep.step))
                ok = (count := (stop - start) / step) <= MOST_RUNS
                expect(ok, key, f"a sweep of at most {MOST_RUNS} runs", count)
            items = list(override.sweep_iterator(Transformer.identity))
        except (HydraException, ArithmeticError):
            got = override.get_value_string()
            raise UserError(
                f"{key}: expected values such as 0,1,2 or range(3); got {got}"
            ) from None
    if not items:
        raise UserError(f"{key}: expected at least one value to sweep over; got none")
    return [(f"{key}={Transformer.str(item)}", _plain(item)) for item in items]


def _plain(item: Any) -> Any:
    """A parsed value without the grammar's quotes."""
    if isinstance(item, QuotedString):
        return item.text
    if isinstance(item, dict):
        return {_plain(key): _plain(part) for key, part in item.items()}
    return [_plain(part) for part in item] if isinstance(item, list) else item


def _is_value(override: Override, axis: Sequence[tuple[str, Any]], config: DictConfig) -> bool:
    """Whether ``override`` sets a single key, which can be done without composing again."""
    key = override.key_or_group
    if override.get_key_element() != key or key in config.hydra.runtime.choices or override.package:
        return False
    simple = all(not isinstance(item, dict) and "${" not in str(item) for _, item in axis)
    return simple and not isinstance(OmegaConf.select(config, key), DictConfig)


def _template(config: DictConfig, keys: Sequence[str]) -> str:
    """``config`` as JSON in which the values at ``keys``, wherever they go, are marks."""
    varied = deepcopy(config)
    for number, key in enumerate(keys):
        OmegaConf.update(varied, key, f"\0{number}\0")
    return json.dumps(resolve(varied))


def _filled(template: str, values: Sequence[Any]) -> dict[str, Any]:
    for number, value in enumerate(values):
        mark = json.dumps(f"\0{number}\0")
        template = template.replace(mark, json.dumps(value))
        template = template.replace(mark[1:-1], json.dumps(str(value))[1:-1])
    filled: dict[str, Any] = json.loads(template)
    return filled


def recipes(overrides: Sequence[str] = ()) -> list[str]:
    """The names of all recipes (``configs/experiment``), those in the user's folders included."""
    return [name for name in choices("experiment", overrides) if name != "none"]


def recipe_requests(names: Iterable[str], overrides: Sequence[str]) -> list[Request]:
    """The runs of the recipes ``names``."""
    known = recipes([o for o in overrides if o.startswith((SEARCH, "plugins"))])
    for name in names:
        if name not in known:
            raise UserError(f"experiment: {unknown(name, known)}")
    fitting = {name: _fitting(name, overrides) for name in names}
    unused = [o for o in overrides if not any(o in mine for mine in fitting.values())]
    return [
        request
        for name, mine in fitting.items()
        for request in expand([f"experiment={name}", *mine, *unused])
    ]


def _fitting(name: str, overrides: Sequence[str]) -> list[str]:
    """Those of ``overrides`` that recipe ``name`` understands."""
    general = [f"experiment={name}"]
    general += [o for o in overrides if o.startswith((SEARCH, "plugins", "preset="))]
    config = compose_hydra(general)
    task = task_of(MODELS[config.model.name])
    keys = {override: override.lstrip("+~").partition("=")[0] for override in overrides}

    def suits(override: str) -> bool:
        """Whether it chooses a model or data for the recipe's task."""
        registry, choice = TASKS[keys[override]], override.partition("=")[2].split(",")[0]
        return choice not in registry or task_of(registry[choice]) in (task, None)

    groups = [o for o in overrides if keys[o] in TASKS and suits(o)]
    there = keys_of(compose_hydra([*general, *groups]) if groups else config)
    return [
        override
        for override, key in keys.items()
        if override in groups
        or (key not in TASKS and (key.split(".")[0] not in TASKS or key in there))
    ]
