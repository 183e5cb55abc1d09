"""Composing a run's config with Hydra, and finding out which runs a command asks for."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bnexp.errors import UserError


def config_dir() -> Path:
    """Where the configs are: inside the installed package, else beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "configs", package.parent / "configs"):
        if (folder / "train.yaml").is_file():
            return folder
    raise UserError(f"{package / 'configs'}: expected the project's configs there")


def one_line(error: Exception) -> str:
    """Hydra's message on one line, in this project's words where the error is a common one."""
    text = " ".join(str(error).split())
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, name = error.missing_cfg_file.rpartition("/")
        options = [o for o in error.options or [] if not o.startswith("for_preset_")]
        return f"{group}: expected one of {', '.join(options)}; got '{name}'"
    if found := re.search(r"Could not override '(probes\.\w+)", text):
        return f"{found[1]}: that probe is not on here; probes=paper turns the paper's probes on"
    if found := re.search(r"Interpolation key '([^']+)' not found full_key: (\S+)", text):
        return f"{found[2]}: a value is expected; by default it is {found[1]}, which is not there"
    if found := re.search(r"Could not override '([^']+)'", text):
        return f"{found[1]}: no such key; `bnexp train --cfg` prints them all"
    if found := re.search(r"Ambiguous value for argument '([^=]+)=([^']*)'", text):
        return f"{found[1]}: expected one value; got '{found[2]}'; a sweep over several needs -m"
    return "overrides: " + re.split("Config search path:|See https", text)[0].strip()


PATHS = ("out", "data.path", "data.cache")


def path_override(key: str, path: str) -> str:
    """The override that sets ``key`` to ``path``, whatever characters are in it."""
    return f"{key}={QuotedString(text=path, quote=Quote.single).with_quotes()}"


def _spelled(override: str) -> str:
    """``override``, with quotes around a path that Hydra's grammar cannot spell, as in größe."""
    key, _, value = override.partition("=")
    if key not in PATHS:
        return override
    try:
        OverridesParser.create().parse_override(override)
    except HydraException:
        return path_override(key, value)
    return override


def _compose(overrides: Sequence[str], *, hydra: bool) -> DictConfig:
    GlobalHydra.instance().clear()
    overrides = [_spelled(override) for override in overrides]
    try:
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            return hydra_compose("train", overrides=overrides, return_hydra_config=hydra)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(one_line(error)) from None


def compose(overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The resolved config of one run as plain dicts, lists and values.

    Raises:
        UserError: an override names no key or group, or does not parse.
    """
    config = _compose(overrides, hydra=False)
    return resolve(config)


def resolve(config: DictConfig) -> dict[str, Any]:
    """``config`` with every interpolation filled in, as plain values; hydra's own node left out."""
    try:
        bare = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        plain = OmegaConf.to_container(bare, resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(one_line(error)) from None
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def parse(overrides: Sequence[str]) -> list[Override]:
    """The overrides, parsed by Hydra's grammar.

    Raises:
        UserError: one of them does not parse.
    """
    try:
        return OverridesParser.create().parse_overrides([_spelled(o) for o in overrides])
    except HydraException as error:
        raise UserError(one_line(error)) from None


def expand(overrides: Sequence[str]) -> list[list[str]]:
    """The runs that a sweep asks for, each as its own list of overrides.

    ``norm=none,bn seed=range(3)`` gives six. What the chosen experiment sweeps over is included,
    unless ``overrides`` set the same key.

    Raises:
        UserError: an override does not parse, or a sweep is empty.
    """
    given = parse(overrides)
    fixed = [o.input_line or "" for o in given if not o.is_sweep_override()]
    params = _compose(fixed, hydra=True).hydra.sweeper.params or {}
    named = {o.get_key_element() for o in given}
    swept = parse([f"{key}={value}" for key, value in params.items() if key not in named])
    choices: list[list[str]] = []
    for override in [*swept, *given]:
        if override.is_sweep_override():
            key = override.get_key_element()
            values = [f"{key}={value}" for value in override.sweep_string_iterator()]
            if not values:
                raise UserError(f"{key}: expected at least one value to sweep over; got none")
            choices.append(values)
        else:
            choices.append([override.input_line or ""])
    return [list(job) for job in itertools.product(*choices)]
