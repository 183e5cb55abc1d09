"""Which runs a sweep asks for. Its config is composed once and varied."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.types import (
    ChoiceSweep,
    Glob,
    Override,
    QuotedString,
    RangeSweep,
    Transformer,
)
from omegaconf import DictConfig, OmegaConf

from bnexp.config.compose import choices, compose_hydra, parse, resolve
from bnexp.errors import UserError

MOST_RUNS = 100_000
"""The longest sweep that is taken for meant."""


@dataclass(frozen=True)
class Request:
    """A run that is asked for: the overrides that ask for it and its resolved config."""

    overrides: tuple[str, ...]
    plain: dict[str, Any]


@dataclass(frozen=True)
class Axis:
    """A key of a sweep with its values, each also as Hydra's grammar spells it."""

    key: str
    lines: Sequence[str]
    values: Sequence[Any]


def expand(overrides: Sequence[str]) -> list[Request]:
    """The runs that a sweep asks for: every combination of its values.

    ``norm=none,bn seed=range(3)`` gives six. What the chosen experiment sweeps over is included,
    unless ``overrides`` set the same key. Hydra composes one config for each combination of
    choices of groups; values of single keys are set in copies of it.

    Raises:
        UserError: an override is not understood, or a sweep is empty or too long.
    """
    given = parse(overrides)
    fixed = [o for o in given if not o.is_sweep_override()]
    first = compose_hydra(fixed)
    params = first.hydra.sweeper.params or {}
    named = {o.get_key_element() for o in given}
    swept = parse([f"{key}={value}" for key, value in params.items() if key not in named])
    fixed += [o for o in swept if not o.is_sweep_override()]
    over = [o for o in (*swept, *given) if o.is_sweep_override()]
    if (count := math.prod(_length(o, overrides) for o in over)) > MOST_RUNS:
        raise UserError(f"-m: expected a sweep of at most {MOST_RUNS} runs; got {count}")
    axes = [_axis(o, overrides) for o in over]
    values = {a.key: _is_value(a, o, first) for a, o in zip(axes, over, strict=True)}
    templates: dict[tuple[str, ...], Template] = {}
    requests = []
    lines = tuple(str(o.input_line) for o in fixed)
    for picked in itertools.product(*(range(len(axis.lines)) for axis in axes)):
        chosen = tuple(axis.lines[i] for axis, i in zip(axes, picked, strict=True))
        groups = tuple(c for c, a in zip(chosen, axes, strict=True) if not values[a.key])
        if groups not in templates:
            keys = [axis.key for axis in axes if values[axis.key]]
            sample = [c for c, a in zip(chosen, axes, strict=True) if values[a.key]]
            config = compose_hydra([*fixed, *parse(groups), *parse(sample)])
            templates[groups] = Template(config, keys)
        row = [a.values[i] for a, i in zip(axes, picked, strict=True) if values[a.key]]
        requests.append(Request((*lines, *chosen), templates[groups].fill(row)))
    return requests


def _length(override: Override, overrides: Sequence[str]) -> int:
    """How many values ``override`` sweeps over."""
    key, sweep = override.get_key_element(), override.value()
    expected = "expected values such as 0,1,2 or range(3)"
    if isinstance(sweep, ChoiceSweep):
        count = len(sweep.list)
    elif isinstance(sweep, Glob):
        count = len(_matching(override, overrides))
    elif isinstance(sweep, RangeSweep):
        start, stop, step = (float(x or 0) for x in (sweep.start, sweep.stop, sweep.step))
        if step == 0 or not all(map(math.isfinite, (start, stop, step))):
            raise UserError(f"{key}: {expected}; got {override.get_value_string()}")
        count = max(0, math.ceil((stop - start) / step))
    else:
        raise UserError(f"{key}: {expected}; got {override.get_value_string()}")
    if count == 0:
        raise UserError(f"{key}: expected at least one value to sweep over; got none")
    return count


def _matching(override: Override, overrides: Sequence[str]) -> list[str]:
    """The choices that ``group=glob(..)`` names."""
    glob: Any = override.value()
    others = [o for o in overrides if o != override.input_line]
    names: list[str] = glob.filter(choices(override.key_or_group, others))
    return names


def _axis(override: Override, overrides: Sequence[str]) -> Axis:
    key = override.get_key_element()
    if isinstance(override.value(), Glob):
        names = _matching(override, overrides)
        return Axis(key, [f"{key}={name}" for name in names], names)
    items = list(override.sweep_iterator(Transformer.identity))
    lines = [f"{key}={Transformer.str(item)}" for item in items]
    return Axis(key, lines, [_plain(item) for item in items])


def _plain(item: Any) -> Any:
    """A parsed value without the grammar's quotes."""
    if isinstance(item, QuotedString):
        return item.text
    if isinstance(item, list):
        return [_plain(part) for part in item]
    if isinstance(item, dict):
        return {_plain(key): _plain(part) for key, part in item.items()}
    return item


def _is_value(axis: Axis, override: Override, config: DictConfig) -> bool:
    """Whether ``axis`` sets a single key, which can be done without composing again."""
    key = override.key_or_group
    if axis.key != key or key in config.hydra.runtime.choices or override.package:
        return False
    plain = all(not isinstance(v, dict) and "${" not in str(v) for v in axis.values)
    return plain and not isinstance(OmegaConf.select(config, key), DictConfig)


class Template:
    """A config in which the values of some keys are still to be filled in."""

    def __init__(self, config: DictConfig, keys: Sequence[str]) -> None:
        marks = [f"\0{number}\0" for number in range(len(keys))]
        varied = deepcopy(config)
        for key, mark in zip(keys, marks, strict=True):
            OmegaConf.update(varied, key, mark)
        self.plain = resolve(varied)
        self.places = [
            (path, marks.index(value)) for path, value in _leaves(self.plain) if value in marks
        ]
        self.mixed = [
            (path, value)
            for path, value in _leaves(self.plain)
            if isinstance(value, str) and value not in marks and "\0" in value
        ]
        self.marks = marks

    def fill(self, values: Sequence[Any]) -> dict[str, Any]:
        """The config with ``values`` at the keys and wherever these are interpolated.

        What is the same in all configs is shared between them.
        """
        filled = dict(self.plain)
        copied: set[tuple[str, ...]] = set()
        for path, number in self.places:
            _set(filled, path, values[number], copied)
        for path, text in self.mixed:
            for mark, value in zip(self.marks, values, strict=True):
                text = text.replace(mark, str(value))
            _set(filled, path, text, copied)
        return filled


def _leaves(
    section: dict[str, Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in section.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*path, key))
        elif not isinstance(value, list):
            yield (*path, key), value


def _set(
    section: dict[str, Any], path: tuple[str, ...], value: Any, copied: set[tuple[str, ...]]
) -> None:
    """Set ``value`` at ``path``; each section on the way is copied once."""
    for depth in range(1, len(path)):
        if path[:depth] not in copied:
            section[path[depth - 1]] = dict(section[path[depth - 1]])
            copied.add(path[:depth])
        section = section[path[depth - 1]]
    section[path[-1]] = value
