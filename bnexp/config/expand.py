"""Which runs a sweep or a recipe asks for. A sweep's config is composed once and varied."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from hydra.core.override_parser.types import Glob, Override, RangeSweep
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from bnexp.config.check import check
from bnexp.config.compose import choices, compose_hydra, parse, resolve
from bnexp.errors import UserError
from bnexp.registry import expect, one_of

MOST_RUNS = 100_000
"""The longest sweep that is taken for meant."""


def expand(overrides: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The configs that a sweep asks for: all combinations of its values and its experiment's."""
    given = parse(overrides)
    first = compose_hydra([str(o.input_line) for o in given if not o.is_sweep_override()])
    params, named = first.hydra.sweeper.params or {}, {o.get_key_element() for o in given}
    every = [*parse([f"{k}={v}" for k, v in params.items() if k not in named]), *given]
    fixed = [str(o.input_line) for o in every if not o.is_sweep_override()]
    axes = [_axis(o, overrides) for o in every if o.is_sweep_override()]
    if (count := math.prod(map(len, axes))) > MOST_RUNS:
        raise UserError(f"-m: expected a sweep of at most {MOST_RUNS} runs; got {count}")
    varied = [_can_be_filled_in(axis, first) for axis in axes]
    templates: dict[tuple[str, ...], str] = {}
    for chosen in itertools.product(*axes):
        lines = [str(o.input_line) for o in chosen]
        composed = tuple(itertools.compress(lines, [not v for v in varied]))
        filled = list(itertools.compress(chosen, varied))
        if composed not in templates:
            config = compose_hydra([*fixed, *lines])
            templates[composed] = _template(config, [o.key_or_group for o in filled])
        yield _filled(templates[composed], [o.value() for o in filled])


def _axis(override: Override, overrides: Sequence[str]) -> list[Override]:
    """The overrides, of one value each, that ``override`` sweeps over."""
    key, sweep = override.get_key_element(), override.value()
    try:
        if isinstance(sweep, Glob):
            texts = sweep.filter(choices(override.key_or_group, overrides))
        else:
            if isinstance(sweep, RangeSweep):  # of which a shuffled one would be held in memory
                count = sum(1 for _ in itertools.islice(sweep.range(), MOST_RUNS + 1))
                expect(count <= MOST_RUNS, key, f"a sweep of at most {MOST_RUNS} runs", sweep)
            texts = list(override.sweep_string_iterator())
    except (HydraException, ArithmeticError, ValueError):
        got = override.get_value_string()
        raise UserError(f"{key}: expected values such as 0,1,2 or range(3); got {got}") from None
    if not texts:
        raise UserError(f"{key}: expected at least one value to sweep over; got none")
    return parse([f"{key}={text}" for text in texts])


def _can_be_filled_in(axis: Sequence[Override], config: DictConfig) -> bool:
    """Whether ``axis`` sets a single key, which can be done without composing again."""
    key = axis[0].key_or_group
    is_key = axis[0].get_key_element() == key and key not in config.hydra.runtime.choices
    simple = all(not isinstance(o.value(), dict) and "${" not in str(o.value()) for o in axis)
    return is_key and simple and not isinstance(OmegaConf.select(config, key), DictConfig)


def _template(config: DictConfig, keys: Sequence[str]) -> str:
    """``config`` as JSON in which the values at ``keys``, wherever they go, are marks."""
    for number, key in enumerate(keys):
        OmegaConf.update(config, key, f"\0{number}\0")
    return json.dumps(resolve(config))


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


def recipe_configs(names: Iterable[str], overrides: Sequence[str]) -> list[dict[str, Any]]:
    """The configs of the runs of the recipes ``names``.

    What ``overrides`` say of models and data holds for the recipes whose networks it suits.
    """
    fitting = {}
    for name in names:
        one_of("experiment", name, recipes(overrides))
        fitting[name] = _fitting(name, overrides)
    unused = [o for o in overrides if not any(o in mine for mine in fitting.values())]
    return [
        plain
        for name, mine in fitting.items()
        for plain in expand([f"experiment={name}", *mine, *unused])
    ]


def _fitting(name: str, overrides: Sequence[str]) -> list[str]:
    """Those of ``overrides`` that suit recipe ``name``: any that do not change its task."""
    particular = [o for o in overrides if o.lstrip("+~").startswith(("model", "data"))]
    mine = [f"experiment={name}", *(o for o in overrides if o not in particular)]
    if particular:
        task = check(next(expand(mine))).model.task
    for override in sorted(particular, key=lambda o: "." in o.partition("=")[0]):
        try:
            config = check(next(expand([*mine, override])))
        except UserError:
            continue
        mine += [override] if config.model.task == task else []
    return mine[1:]
