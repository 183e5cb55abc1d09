"""The command that makes a run again, from the config that the run left."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from functools import cache
from typing import Any

from omegaconf import DictConfig, OmegaConf

from bnexp.config.check import DROPPED, SEEDS
from bnexp.config.compose import choices, compose_hydra, quoted, resolve
from bnexp.errors import UserError
from bnexp.runs import EXCLUDED, NEUTRAL

_UNSAID = EXCLUDED - {"plugins", "preset", "measure", "data.path"} | {"id", *DROPPED}
"""Keys that a command leaves out; the last four decide no numbers and yet what is composed."""
_GONE = object()


def command(config: Mapping[str, Any]) -> str:
    """The ``bnexp train`` of few words that asks for the run with this ``config``.

    "" where there is none, because the version that wrote the config knew other keys.
    """
    flat = _flat(config)
    varied = [f"optim.lr={_written(flat.pop('optim.lr'))}", f"seed={_written(flat['seed'])}"]
    seed = flat.pop("seed")
    kind = {key: value for key, value in flat.items() if key not in SEEDS or value != seed}
    overrides = _overrides_or_none(json.dumps(kind, sort_keys=True))
    return "" if overrides is None else shlex.join(["bnexp", "train", *overrides, *varied])


@cache
def _overrides_or_none(kind: str) -> list[str] | None:
    """Those that compose to ``kind``: keys and values as JSON, learning rate and seed left out."""
    try:
        return _overrides(json.loads(kind))
    except UserError:
        return None


def _overrides(wanted: dict[str, Any]) -> list[str]:
    given = [f"plugins={_written(wanted['plugins'])}"] if wanted.get("plugins") else []
    given += [f"preset={wanted.get('preset')}", f"model={wanted.get('model.name')}"]
    for group in ("data", "probes", "norm"):
        names = choices(group, given) if group == "probes" else [wanted.get(f"{group}.name")]
        tried = [given, *([*given, f"{group}={name}"] for name in names)]
        given = min(tried, key=lambda these: _distance(these, group, wanted))
    base = _base(*given).copy()
    for own in (True, False):  # first the values that others are taken from
        for key, value in _difference(base, wanted).items():
            parent, _, name = key.rpartition(".")
            section = OmegaConf.select(base, parent) if parent else base
            if parent.startswith("probes.") and value is _GONE:
                given += [f"~{parent}"] * (section is not None)
                base.probes.pop(parent.removeprefix("probes."), None)
            elif value is _GONE or (section is not None and name not in list(section)):
                raise UserError(f"{key}: expected the keys of this version")
            elif not own or section is None or not OmegaConf.is_interpolation(section, name):
                given.append(f"{'+' * (section is None)}{key}={_written(value)}")
                OmegaConf.update(base, key, value)
    return given


def _distance(overrides: list[str], group: str, wanted: Mapping[str, Any]) -> int:
    """In how many keys, or names of things, the config of ``overrides`` differs in ``group``."""
    mine = {key: value for key, value in _plain(*overrides).items() if key.startswith(f"{group}.")}
    theirs = {key for key in wanted if key.startswith(f"{group}.")}
    named = f"{group}.name"
    return len(theirs ^ mine.keys()) + 100 * (mine.get(named) != wanted.get(named))


@cache
def _base(*overrides: str) -> DictConfig:
    config = compose_hydra(overrides)
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


@cache
def _plain(*overrides: str) -> dict[str, Any]:
    return _flat(resolve(_base(*overrides)))


def _difference(base: DictConfig, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What ``wanted`` has otherwise than ``base``; `_GONE` where it has nothing."""
    mine = {k: v for k, v in _flat(resolve(base)).items() if k not in (*SEEDS, "optim.lr")}
    mine = {key: NEUTRAL[key] for key in NEUTRAL.keys() & wanted.keys()} | mine  # not in each YAML
    both = {key: (mine.get(key, _GONE), wanted.get(key, _GONE)) for key in {**wanted, **mine}}
    return {key: theirs for key, (ours, theirs) in both.items() if ours != theirs}


def _flat(section: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in section.items():
        if (name := f"{prefix}{key}") not in _UNSAID:
            nested = isinstance(value, Mapping)
            flat |= _flat(value, f"{name}.") if nested else {name: value}
    return flat


def _written(value: Any) -> str:
    """A value as Hydra's grammar spells it."""
    if isinstance(value, list):
        return f"[{','.join(map(_written, value))}]"
    if isinstance(value, str):
        return value if re.fullmatch(r"[A-Za-z_][\w./-]*", value) else quoted(value)
    return json.dumps(value)
