"""Composing a run's config with Hydra; what is wrong is said in one line.

A user's own YAML is found in the folders of ``hydra.searchpath`` (``--config-dir``) and in the
folder ``configs`` beside a plug-in's module.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bnexp.config.check import DROPPED
from bnexp.errors import UserError
from bnexp.registry import PLUGINS, unknown

PATHS = ("out", "data.path", "data.cache")
GROUPS = ("model", "norm", "data", "optim", "probes", "preset", "experiment", "hydra/launcher")
SEARCH = "hydra.searchpath"
ERRORS = (HydraException, OmegaConfBaseException, ValueError, TypeError)
"""What composing raises where an override is wrong."""


def config_dir() -> Path:
    """Where the configs are: inside the installed package, else beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def quoted(text: str) -> str:
    """``text`` as Hydra's grammar spells it, whatever characters are in it."""
    return QuotedString(text=text, quote=Quote.single).with_quotes()


def parse(overrides: Sequence[str]) -> list[Override]:
    """The overrides, parsed by Hydra's grammar; ``~`` in paths is the home folder."""
    return [_parsed(override) for override in overrides]


def _parsed(text: str) -> Override:
    key, _, value = text.partition("=")
    if key in PATHS and value.startswith("~"):
        text = f"{key}={quoted(str(Path(value).expanduser()))}"
    parser = OverridesParser.create()
    try:
        override = parser.parse_override(text)
    except Exception as error:  # the grammar raises errors of many kinds
        if key not in PATHS or not value:
            expected, got = ("a value in Hydra's grammar", value) if value else ("KEY=VALUE", text)
            raise UserError(
                f"{key or 'overrides'}: expected {expected}; got {got[:80]!r}"
            ) from error
        override = parser.parse_override(f"{key}={quoted(value)}")  # as in größe
    _refuse(override)
    return override


def _refuse(override: Override) -> None:
    """Raise where ``override`` is Hydra's own and has no place here, or sets a private key."""
    key, value, problem = override.key_or_group, override.value(), ""
    own = ("hydra/launcher", "hydra/sweeper", SEARCH)
    fixed = not override.is_sweep_override() and not override.is_delete()
    if not key:
        key, problem = "overrides", f"expected KEY=VALUE; got {override.input_line!r}"
    elif key in GROUPS and fixed and not isinstance(value, str):
        problem = unknown(value, choices(key))
    elif re.search(r"(^|[./])_", key) or "_target_" in str(override.input_line):
        problem = "that key is not to be set; `bnexp train --cfg` prints those there are"
    elif key.startswith(("hydra.run", "hydra.sweep.")):
        problem = "runs lie in <out>/runs/<id>; expected out=FOLDER"
    elif key == "hydra/sweeper" and value != "basic":
        problem = "expected basic: every combination is one run"
    elif override.is_hydra_override():
        if key not in own and not key.startswith("hydra.launcher."):
            problem = f"of Hydra's keys expected one of {', '.join(own)}"
    elif override.type.name in ("ADD", "FORCE_ADD") and not key.startswith("probes."):
        problem = "no such key to add; only probes can be, as in +probes.NAME.every=1"
    if problem:
        raise UserError(f"{key}: {problem}")


def search_path(overrides: Sequence[Override]) -> list[str]:
    """The override that names all folders with configs of the user's own; none without any."""
    modules, folders = [entry.module for entry in entry_points(group=PLUGINS)], list[str]()
    for override in overrides:
        value = override.value()
        items = [str(item) for item in (value if isinstance(value, list) else [value])]
        if override.key_or_group == "plugins":
            modules += items
        for item in items if override.key_or_group == SEARCH else ():
            folder = Path(item.removeprefix("file://")).expanduser().absolute()
            if not (folder.is_dir() or item.startswith("pkg://")):
                raise UserError(f"{SEARCH}: expected folders with configs; got '{item}'")
            folders.append(item if item.startswith("pkg://") else f"file://{folder}")
    folders += [f"file://{folder}" for module in modules for folder in _configs_of(module)]
    return [f"{SEARCH}=[{','.join(map(quoted, dict.fromkeys(folders)))}]"] if folders else []


def _configs_of(module: str) -> list[Path]:
    """The folder ``configs`` in a plug-in's package, or beside its module; nothing is imported."""
    here = Path.cwd().joinpath(*module.split("."))
    is_here = here.with_suffix(".py").is_file() or here.is_dir()
    spec = None if is_here or not module else find_spec(module.split(".")[0])
    roots = (spec.submodule_search_locations or []) if spec else [here, here.parent]
    return [Path(root) / "configs" for root in roots if (Path(root) / "configs").is_dir()]


def compose_hydra(overrides: Sequence[Override | str]) -> DictConfig:
    """The config of one run with Hydra's own node, interpolations not yet filled in."""
    parsed = [o if isinstance(o, Override) else _parsed(o) for o in overrides]
    lines = [str(o.input_line) for o in parsed if o.key_or_group not in (SEARCH, "hydra/sweeper")]
    try:
        return _compose([*search_path(parsed), *lines])
    except RecursionError:
        raise UserError("overrides: expected values that are nested less deeply") from None
    except ERRORS as error:
        raise UserError(_one_line(error, parsed)) from None


def _compose(lines: Sequence[str]) -> DictConfig:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return hydra_compose("train", overrides=list(lines), return_hydra_config=True)


def compose(overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The resolved config of one run as plain dicts, lists and values."""
    return resolve(compose_hydra(overrides))


def resolve(config: DictConfig) -> dict[str, Any]:
    """``config`` with every interpolation filled in, as plain values, less `DROPPED`."""
    try:
        bare = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        plain = _container(bare, resolve=True)
    except (OmegaConfBaseException, RecursionError) as error:
        raise UserError(_one_line(error, [])) from None
    return {key: value for key, value in plain.items() if key not in DROPPED}


def choices(group: str, overrides: Sequence[str] = ()) -> list[str]:
    """The names in config group ``group``, those in the user's own folders included."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        names = set(loader.get_group_options(group, ObjectType.CONFIG))
    for folder in re.findall(r"file://([^']*)", "".join(search_path(parse(overrides)))):
        names |= {path.stem for path in (Path(folder) / group).glob("*.yaml")}
    return sorted(names)


def dotted(section: Mapping[Any, Any], prefix: str = "") -> Iterator[str]:
    """All keys of ``section`` and below it, as in ``optim.lr``."""
    for key, value in section.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from dotted(value, f"{prefix}{key}.")


def keys_of(config: DictConfig) -> list[str]:
    """All dotted keys of ``config`` that can be set, those of the presets' sizes included."""
    plain = _container(config, resolve=False)
    return [*dotted({k: v for k, v in plain.items() if k == "sizes" or k not in DROPPED})]


def _container(config: DictConfig, resolve: bool) -> dict[str, Any]:
    plain = OmegaConf.to_container(config, resolve=resolve)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _one_line(error: Exception, overrides: Sequence[Override]) -> str:
    """Hydra's message on one line, in this project's words where the error is a common one."""
    text = " ".join(str(error).split())
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, name = error.missing_cfg_file.rpartition("/")
        return f"{group}: {unknown(name, error.options or [])}"
    if match := re.search(r"Interpolation key '([^']+)' not found full_key: (\S+)", text):
        return f"{match[2]}: a value is expected; by default it is {match[1]}, which is not there"
    if match := re.search(r"Ambiguous value for argument '([^=]+)=([^']*)'", text):
        return f"{match[1]}: expected one value; got '{match[2]}'; a sweep over several needs -m"
    if match := re.search(r"Could not (?:override|delete from config\.?) '([^']+)'", text):
        return _no_such_key(match[1], overrides)
    return "overrides: " + re.split("Config search path:|See https|To append to", text)[0].strip()


def _no_such_key(key: str, overrides: Sequence[Override]) -> str:
    """That there is no ``key``, and which of all keys is nearest."""
    groups = [str(o.input_line) for o in overrides if o.key_or_group in GROUPS]
    try:
        keys = keys_of(_compose([*search_path(overrides), *groups]))
    except ERRORS:
        keys = keys_of(_compose([]))
    if (probe := re.match(r"probes\.(\w+)", key)) and probe[0] not in keys:
        on = ", ".join(k[7:] for k in keys if k.startswith("probes.") and k.count(".") == 1)
        return f"{probe[0]}: that probe is not on here ({on} are); probes=paper turns some on"
    keys = [*GROUPS[:-1], *keys]
    last = key.rpartition(".")[2]
    lasts = {name.rpartition(".")[2]: name for name in reversed(keys)}
    near = difflib.get_close_matches(key, keys, n=1, cutoff=0.75)
    part = [lasts[n] for n in difflib.get_close_matches(last, lasts, n=1, cutoff=0.7)]
    nearest = (near if "." in key else []) or ([lasts[last]] if last in lasts else near or part)
    hint = f"did you mean {nearest[0]}?" if nearest else "`bnexp train --cfg` prints them all"
    return f"no such key {key}; {hint}"
