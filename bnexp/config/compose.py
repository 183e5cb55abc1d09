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


def config_dir() -> Path:
    """Where the configs are: inside the installed package, else beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "configs", package.parent / "configs"):
        if (folder / "train.yaml").is_file():
            return folder
    raise UserError(f"{package / 'configs'}: expected the project's configs there")


def path_override(key: str, path: str) -> str:
    """The override that sets ``key`` to ``path``, whatever characters are in it."""
    return f"{key}={QuotedString(text=path, quote=Quote.single).with_quotes()}"


def parse(overrides: Sequence[str]) -> list[Override]:
    """The overrides, parsed by Hydra's grammar; ``~`` in paths is the home folder.

    Raises:
        UserError: one of them does not parse, or sets what is not to be set.
    """
    return [_parsed(override) for override in overrides]


def _parsed(text: str) -> Override:
    key, _, value = text.partition("=")
    if key in PATHS and value.startswith("~"):
        text = path_override(key, str(Path(value).expanduser()))
    try:
        override = _grammar(text)
    except Exception as error:  # the grammar raises errors of many kinds
        if key not in PATHS or not value:
            expected = "a value in Hydra's grammar" if key and value else "KEY=VALUE"
            got = value if key and value else text
            raise UserError(
                f"{key or 'overrides'}: expected {expected}; got {got[:80]!r}"
            ) from error
        override = _grammar(path_override(key, value))  # as in größe, which it cannot spell
    _refuse(override)
    return override


def _grammar(text: str) -> Override:
    return OverridesParser.create().parse_override(text)


def _refuse(override: Override) -> None:
    """Raise where ``override`` is Hydra's own and has no place here, or sets a private key."""
    key, value = override.key_or_group, override.value()
    if not key:
        raise UserError(f"overrides: expected KEY=VALUE; got {override.input_line!r}")
    chooses = key in GROUPS and not override.is_sweep_override() and not override.is_delete()
    if chooses and not isinstance(value, str):
        raise UserError(f"{key}: {unknown(value, choices(key))}")
    if any(part.startswith("_") for part in re.split(r"[./]", key)) or "_target_" in str(
        override.input_line
    ):
        raise UserError(
            f"{key}: that key is not to be set; `bnexp train --cfg` prints those there are"
        )
    if override.is_hydra_override():
        if key.startswith(("hydra.run", "hydra.sweep.")):
            raise UserError(f"{key}: runs lie in <out>/runs/<id>; expected out=FOLDER")
        if key == "hydra/sweeper" and value != "basic":
            raise UserError("hydra/sweeper: expected basic: every combination is one run")
        own = ("hydra/launcher", "hydra/sweeper", SEARCH)
        if key not in own and not key.startswith("hydra.launcher."):
            raise UserError(f"{key}: of Hydra's keys expected one of {', '.join(own)}")
    elif override.type.name in ("ADD", "FORCE_ADD") and not key.startswith("probes."):
        raise UserError(
            f"{key}: no such key to add; only probes can be, as in +probes.NAME.every=1"
        )


def search_path(overrides: Sequence[Override]) -> str | None:
    """The override that names all folders with configs of the user's own; None without any.

    Raises:
        UserError: one of them is not there.
    """
    folders: list[str] = []
    for override in overrides:
        value = override.value()
        if override.key_or_group == SEARCH:
            for item in value if isinstance(value, list) else [value]:
                folder = Path(str(item).removeprefix("file://")).expanduser().absolute()
                if str(item).startswith("pkg://"):
                    folders.append(str(item))
                elif folder.is_dir():
                    folders.append(f"file://{folder}")
                else:
                    raise UserError(f"{SEARCH}: expected folders with configs; got '{item}'")
        elif override.key_or_group == "plugins" and isinstance(value, list):
            folders += [f"file://{f}" for name in value for f in _configs_of(str(name))]
    folders += [f"file://{f}" for e in entry_points(group=PLUGINS) for f in _configs_of(e.module)]
    quoted = [QuotedString(text=f, quote=Quote.single).with_quotes() for f in folders]
    return f"{SEARCH}=[{','.join(dict.fromkeys(quoted))}]" if folders else None


def _configs_of(module: str) -> list[Path]:
    """The folder ``configs`` in a plug-in's package, or beside its module; nothing is imported."""
    here = Path.cwd().joinpath(*module.split("."))
    spec = None if here.parent.is_dir() and _is_module(here) else find_spec(module.split(".")[0])
    roots = (spec.submodule_search_locations or []) if spec else [here, here.parent]
    return [Path(root) / "configs" for root in roots if (Path(root) / "configs").is_dir()]


def _is_module(path: Path) -> bool:
    return path.with_suffix(".py").is_file() or path.is_dir()


def compose_hydra(overrides: Sequence[Override | str]) -> DictConfig:
    """The config of one run with Hydra's own node, interpolations not yet filled in.

    Raises:
        UserError: an override names no key, group or choice.
    """
    parsed = [o if isinstance(o, Override) else _parsed(o) for o in overrides]
    search = search_path(parsed)
    lines = [str(o.input_line) for o in parsed if o.key_or_group not in (SEARCH, "hydra/sweeper")]
    lines = [search, *lines] if search else lines
    try:
        return _compose(lines)
    except RecursionError:
        raise UserError("overrides: expected values that are nested less deeply") from None
    except (HydraException, OmegaConfBaseException, ValueError, TypeError) as error:
        raise UserError(_one_line(error, parsed, search)) from None


def _compose(lines: Sequence[str]) -> DictConfig:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return hydra_compose("train", overrides=list(lines), return_hydra_config=True)


def compose(overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The resolved config of one run as plain dicts, lists and values.

    Raises:
        UserError: an override names no key or group, or does not parse.
    """
    return resolve(compose_hydra(parse(overrides)))


def resolve(config: DictConfig) -> dict[str, Any]:
    """``config`` with every interpolation filled in, as plain values, less `DROPPED`."""
    try:
        bare = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        plain = OmegaConf.to_container(bare, resolve=True)
    except (OmegaConfBaseException, RecursionError) as error:
        raise UserError(_one_line(error, [], None)) from None
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items() if key not in DROPPED}


def choices(group: str, overrides: Sequence[str] = ()) -> list[str]:
    """The names in config group ``group``, those in the user's own folders included."""
    search = search_path(parse(overrides))
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        names = set(loader.get_group_options(group, ObjectType.CONFIG))
    for folder in re.findall(r"file://([^']*)", search or ""):
        names |= {path.stem for path in (Path(folder) / group).glob("*.yaml")}
    return sorted(names)


def dotted(section: Mapping[Any, Any], prefix: str = "") -> Iterator[str]:
    """All keys of ``section`` and below it, as in ``optim.lr``."""
    for key, value in section.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from dotted(value, f"{prefix}{key}.")


def _one_line(error: Exception, overrides: Sequence[Override], search: str | None) -> str:
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
        return _no_such_key(match[1], overrides, search)
    return "overrides: " + re.split("Config search path:|See https|To append to", text)[0].strip()


def _no_such_key(key: str, overrides: Sequence[Override], search: str | None) -> str:
    """That there is no ``key``, and which of all keys is nearest."""
    groups = [str(o.input_line) for o in overrides if o.key_or_group in GROUPS]
    try:
        config = _compose([*([search] if search else []), *groups])
    except (HydraException, OmegaConfBaseException, ValueError, TypeError):
        config = _compose([])
    plain = OmegaConf.to_container(config, resolve=False)
    assert isinstance(plain, dict)
    keys = [*GROUPS[:-1], *dotted({k: v for k, v in plain.items() if k not in DROPPED})]
    keys += dotted({"sizes": plain["sizes"]})
    if (probe := re.match(r"probes\.(\w+)", key)) and probe[0] not in keys:
        on = ", ".join(plain["probes"])
        return (
            f"{probe[0]}: that probe is not on here ({on} are); probes=paper turns the paper's on"
        )
    last = key.rpartition(".")[2]
    same = [name for name in keys if name.rpartition(".")[2] == last]
    lasts = {name.rpartition(".")[2]: name for name in reversed(keys)}
    near = difflib.get_close_matches(key, keys, n=1, cutoff=0.75)
    part = [lasts[n] for n in difflib.get_close_matches(last, lasts, n=1, cutoff=0.7)]
    nearest = (near if "." in key else []) or same or near or part
    hint = f"did you mean {nearest[0]}?" if nearest else "`bnexp train --cfg` prints them all"
    return f"no such key {key}; {hint}"
