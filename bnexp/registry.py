"""The one place that knows how a name becomes a thing.

Norms, models, data sets, optimisers, probes, figures and claims each register themselves in a
`Registry`: the class or function, the dataclass of its options, and whatever else its kind needs.
Their defaults stand in ``configs/<group>/<name>.yaml``. A user's own, in a module named by
``plugins=[module]`` or by an entry point of the group ``bnexp.plugins``, works wherever a built-in
one does.

Imports neither torch nor matplotlib: a registry imports its built-in package at the first look-up.
"""

from __future__ import annotations

import difflib
import importlib
import json
import math
import os
import pkgutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import lru_cache
from importlib.metadata import entry_points
from typing import Any, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bnexp.errors import UserError

T = TypeVar("T")


@dataclass(frozen=True)
class Options:
    """What a registered thing can be configured with; its defaults stand in its YAML."""

    def check(self, key: str) -> None:
        """Raise the `UserError` that names the option below ``key`` that is out of range."""


@dataclass(frozen=True)
class Entry:
    """A registered thing: its class or function, its options, and what its kind adds."""

    name: str
    item: Any
    options: type[Options]
    more: Mapping[str, Any]

    @property
    def source(self) -> str:
        """Where it is defined."""
        return f"{self.item.__module__}.{getattr(self.item, '__qualname__', '?')}"


class Registry:
    """Things of one kind by name. ``package`` is imported, with its modules, at first look-up."""

    def __init__(self, kind: str, package: str) -> None:
        self.kind, self._package = kind, package
        self._entries: dict[str, Entry] = {}
        self._loaded = False

    def register(
        self, name: str, options: type[Options] = Options, **more: Any
    ) -> Callable[[T], T]:
        """Decorator: the class or function is from now on the one ``name`` of this kind."""

        def enter(item: T) -> T:
            entry = Entry(name, item, options, more)
            before = self._entries.setdefault(name, entry).source
            if before != entry.source:
                raise UserError(
                    f"{self.kind}: expected different names; two are called '{name}' "
                    f"({before} and {entry.source})"
                )
            self._entries[name] = entry  # also where its module is imported anew
            return item

        return enter

    def __getitem__(self, name: str) -> Entry:
        """What is called ``name``; `UserError` where nothing is."""
        one_of(self.kind, name, self.names())
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self.names()

    def names(self) -> list[str]:
        """All names, in the order of registration within the order of the modules' names."""
        if not self._loaded:
            self._loaded = True
            package = importlib.import_module(self._package)
            for module in pkgutil.iter_modules(getattr(package, "__path__", ())):
                importlib.import_module(f"{self._package}.{module.name}")
        return list(self._entries)


NORMS = Registry("norm", "bnexp.norms")
MODELS = Registry("model", "bnexp.models")
DATASETS = Registry("data", "bnexp.data")
OPTIMISERS = Registry("optim", "bnexp.optim")
PROBES = Registry("probes", "bnexp.probes")
LOGGERS = Registry("logger", "bnexp.loggers")
FIGURES = Registry("figures", "bnexp.figures")
CLAIMS = Registry("claims", "bnexp.claims")


def plugin_modules(names: Iterable[str] = ()) -> list[str]:
    """``names`` and the modules of the entry points ``bnexp.plugins``.

    Modules in the current folder can be imported from now on, as by ``python -m``.
    """
    if (here := os.getcwd()) not in sys.path:  # noqa: PTH109
        sys.path.append(here)
    return [*names, *(entry.module for entry in entry_points(group="bnexp.plugins"))]


def load_plugins(names: Iterable[str] = ()) -> None:
    """Import the `plugin_modules`; `UserError` where one is not there or fails meanwhile."""
    for name in plugin_modules(names):
        try:
            importlib.import_module(name)
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"plugins: expected modules that can be imported; '{name}' raises "
                f"{type(error).__name__}: {error}"
            ) from error


def unknown(name: object, names: Sequence[object]) -> str:
    """That ``name`` is none of ``names``, and which of them is nearest."""
    texts = [str(known) for known in names]
    near = difflib.get_close_matches(str(name), texts, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"expected one of {', '.join(texts)}; got '{name}'{hint}"


WORDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "None": "null",
}


def bind(schema: type[T], section: Any, key: str) -> T:
    """``section`` of a config as a ``schema``, a dataclass; its `Options.check` is called.

    Args:
        key: the dotted key of the section, for messages; "" for the whole config.

    Raises:
        UserError: an unknown or missing key, a wrong type or a value out of range.
    """
    expect(isinstance(section, Mapping), key, "a group of settings", section)
    # As text, for the runs of a sweep have most sections in common.
    bound: T = _bind(schema, json.dumps(dict(section), default=str), key)  # type: ignore[arg-type]
    return bound


@lru_cache(maxsize=4096)
def _bind(schema: type[T], text: str, key: str) -> T:
    section = json.loads(text)
    dot = f"{key}." if key else ""
    kinds = {field.name: str(field.type) for field in fields(schema)}  # type: ignore[arg-type]
    # Older configs and YAML of the user's own do not have what came later: it has a default.
    needed = [f.name for f in fields(schema) if f.default is f.default_factory is MISSING]  # type: ignore[arg-type]
    for name in section:
        if name not in kinds:
            where = key or "the config"
            near = difflib.get_close_matches(name, kinds, n=1)
            hint = f"; did you mean {dot}{near[0]}?" if near else ""
            raise UserError(f"{dot}{name}: no such key; {where} has {', '.join(kinds)}{hint}")
    for name in needed:
        if section.get(name, "???") == "???":
            raise UserError(f"{dot}{name}: a value is expected; none was given")
    try:
        result = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), section))
    except OmegaConfBaseException as error:
        name = str(getattr(error, "full_key", None) or "")
        expected = " or ".join(WORDS.get(part, part) for part in kinds.get(name, "").split(" | "))
        raise UserError(f"{dot}{name}: expected {expected}; got {section.get(name)!r}") from None
    assert isinstance(result, schema)
    if isinstance(result, Options):
        result.check(key)
    return result


def expect(ok: bool, key: str, expected: str, got: object) -> None:
    """Raise the one-line `UserError` that names ``key``, unless ``ok``."""
    if not ok:
        raise UserError(f"{key}: expected {expected}; got {got!r}")


def one_of(key: str, got: object, names: Sequence[object]) -> None:
    """Raise unless ``got`` is one of ``names``."""
    if got not in names:
        raise UserError(f"{key}: {unknown(got, names)}")


def positive(key: str, got: float) -> None:
    """Raise unless ``got`` is a positive finite number."""
    expect(math.isfinite(got) and got > 0, key, "a positive number", got)


def at_least(key: str, got: float, low: float) -> None:
    """Raise unless ``got`` is finite and at least ``low``."""
    expect(math.isfinite(got) and got >= low, key, f"a number of at least {low:g}", got)
