"""Composing a run's config with Hydra; what is wrong is said in one line.

A user's own YAML is found in the folders of ``hydra.searchpath`` (``--config-dir``) and in the
folder ``configs`` beside a plug-in's module.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString, ValueType
from hydra.core.plugins import Plugins
from hydra.errors import HydraException, MissingConfigException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bnexp.config.check import DROPPED
from bnexp.errors import UserError
from bnexp.registry import expect, plugin_modules, unknown

PATHS = ("out", "data.path", "data.cache")
GROUPS = (
    "model", "norm", "data", "optim", "probes", "logger", "preset", "experiment",
    "hydra/launcher",
)  # fmt: skip
SEARCH = "hydra.searchpath"
LAUNCHER = ("hydra/launcher", "hydra.launcher.")
LONGEST = 20_000
"""Characters of an override: Hydra's parser takes a second for some thousand values."""

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
    text = re.sub(r"^hydra\.(run|sweep)\.dir=", "out=", text)  # runs lie in <out>/runs/<id>
    key, _, value = text.partition("=")
    expect(len(text) <= LONGEST, key[:40], f"at most {LONGEST} characters", f"{text[:40]}..")
    if key in PATHS and value.startswith("~"):
        text = f"{key}={quoted(str(Path(value).expanduser()))}"
    parser = OverridesParser.create()
    try:
        override = parser.parse_override(text)
    except Exception:  # the grammar raises errors of many kinds
        if key not in PATHS or not value:
            raise UserError(
                f"{key or 'overrides'}: expected KEY=VALUE in Hydra's grammar; got {text[:80]!r}"
            ) from None
        override = parser.parse_override(f"{key}={quoted(value)}")  # as in größe
    key, got = override.key_or_group, override.value()
    allowed = r"hydra/launcher|hydra\.launcher(\.[^_.]\w*)+|hydra\.searchpath"
    if override.is_hydra_override() and not re.fullmatch(allowed, key):
        raise UserError(
            f"{key}: of Hydra's own keys expected hydra/launcher, hydra.launcher.KEY, "
            f"hydra.searchpath or hydra.run.dir"
        )
    if not key or (key in GROUPS and override.value_type == ValueType.ELEMENT):
        expect(bool(key) and isinstance(got, str), key or "KEY=VALUE", "a name", got)
    return override


class UsersFolders(SearchPathPlugin):
    """Tells Hydra of the folders with configs of the user's own."""

    folders: ClassVar[list[str]] = []

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for folder in self.folders:
            search_path.append("bnexp", folder)


Plugins.instance().register(UsersFolders)


@contextmanager
def hydra_for(overrides: Sequence[str]) -> Iterator[ConfigLoader]:
    """Hydra, with bnexp's configs and those in the folders that ``overrides`` name."""
    modules, folders = plugin_modules(), list[str]()
    for override in parse(overrides):
        value = override.value()
        items = [str(item) for item in (value if isinstance(value, list) else [value])]
        if override.key_or_group == "plugins":
            modules += items
        for item in items if override.key_or_group == SEARCH else ():
            folder = Path(item.removeprefix("file://")).expanduser().absolute()
            if not (folder.is_dir() or item.startswith("pkg://")):
                raise UserError(f"{SEARCH}: expected folders with configs; got '{item}'")
            folders.append(item if item.startswith("pkg://") else f"file://{folder}")
    for module in [name.split(".")[0] for name in modules]:
        spec = find_spec(module) if module.isidentifier() and module != "__main__" else None
        roots = [spec.origin and str(Path(spec.origin).parent)] if spec else []
        folders += [f"file://{root}/configs" for root in roots if root]
    UsersFolders.folders = list(dict.fromkeys(folders))
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        yield GlobalHydra.instance().config_loader()


def compose_hydra(overrides: Sequence[str]) -> DictConfig:
    """The config of one run with Hydra's own node, interpolations not yet filled in."""
    lines = [str(o.input_line) for o in parse(overrides) if o.key_or_group != SEARCH]
    try:
        with hydra_for(overrides):
            return hydra_compose("train", lines, return_hydra_config=True)
    except RecursionError:
        raise UserError("overrides: expected values that are nested less deeply") from None
    except ERRORS as error:
        raise UserError(_one_line(error, overrides)) from None


def compose(overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The resolved config of one run as plain dicts, lists and values."""
    return resolve(compose_hydra(overrides))


def resolve(config: DictConfig) -> dict[str, Any]:
    """``config`` with every interpolation filled in, as plain values, less `DROPPED`."""
    try:
        bare = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        plain: Any = OmegaConf.to_container(bare, resolve=True)
    except (OmegaConfBaseException, RecursionError) as error:
        raise UserError(_one_line(error)) from None
    return {str(key): value for key, value in plain.items() if key not in DROPPED}


def choices(group: str, overrides: Sequence[str] = ()) -> list[str]:
    """The names in config group ``group``, those in the user's own folders included."""
    general = [o for o in overrides if o.startswith((SEARCH, "plugins"))]
    with hydra_for(general) as loader:
        return loader.get_group_options(group)


def dotted(section: Mapping[Any, Any], prefix: str = "") -> Iterator[str]:
    """All keys of ``section`` and below it, as in ``optim.lr``."""
    for key, value in section.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from dotted(value, f"{prefix}{key}.")


def _one_line(error: Exception, overrides: Sequence[str] = ()) -> str:
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
        return f"no such key {match[1]}; {_nearest(match[1], overrides)}"
    return "overrides: " + re.split("Config search path:|See https|To append to", text)[0].strip()


def _nearest(key: str, overrides: Sequence[str]) -> str:
    """Which of all keys is nearest to ``key``, with the groups that ``overrides`` choose."""
    general = [o for o in overrides if re.match(rf"({'|'.join(GROUPS)})=\w+$|{SEARCH}|plugins", o)]
    plain: Any = OmegaConf.to_container(compose_hydra(general))
    keys = [*GROUPS[:-1], *dotted({k: v for k, v in plain.items() if k != "hydra"})]
    if (probe := re.match(r"probes\.\w+", key)) and probe[0] not in keys:
        return "that probe is not on here; probes=paper turns some on"
    names = {name.rpartition(".")[2]: name for name in reversed(keys)} | {k: k for k in keys}
    for text in (key, key.rpartition(".")[2]):
        if near := difflib.get_close_matches(text, names, n=1, cutoff=0.7):
            return f"did you mean {names[near[0]]}?"
    return "`bnexp train --cfg` prints them all"
