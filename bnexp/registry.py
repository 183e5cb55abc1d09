"""The one place that knows how a name becomes a thing.

Norms, models, data sets, probes, figures and claims each register themselves in a `Registry`: the
class or function, the dataclass of its options, and whatever else its kind needs. Their defaults
stand in ``configs/<group>/<name>.yaml``. A user's own, in a module named by ``plugins=[module]`` or
by an entry point of the group ``bnexp.plugins``, works wherever a built-in one does.

Imports neither torch nor matplotlib: a registry imports its built-in package at the first look-up.
"""

from __future__ import annotations

import difflib
import importlib
import math
import os
import pkgutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.metadata import entry_points
from typing import Any, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bnexp.errors import UserError

T = TypeVar("T")

PLUGINS = "bnexp.plugins"
"""The group of entry points whose modules are imported with the built-in packages."""


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


class Registry:
    """Things of one kind by name. ``package`` is imported, with its modules, at first look-up."""

    def __init__(self, kind: str, package: str) -> None:
        self.kind, self._package = kind, package
        self._entries: dict[str, Entry] = {}
        self._loaded = False

    def register(
        self, name: str, options: type[Options] = Options, **more: Any
    ) -> Callable[[T], T]:
        """Decorator: the class or function is from now on the ``name`` of this kind.

        Raises:
            UserError: another one has that name.
        """

        def enter(item: T) -> T:
            before = self._entries.get(name)
            if before is not None and _source(before.item) != _source(item):
                raise UserError(
                    f"{self.kind}: expected different names; two are called '{name}' "
                    f"({_source(before.item)} and {_source(item)})"
                )
            self._entries[name] = Entry(name, item, options, more)
            return item

        return enter

    def __getitem__(self, name: str) -> Entry:
        """What is called ``name``.

        Raises:
            UserError: nothing is.
        """
        self._load()
        if not isinstance(name, str) or name not in self._entries:
            raise UserError(f"{self.kind}: {unknown(name, self.names())}")
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        self._load()
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def names(self) -> list[str]:
        """All names, in the order of registration within the order of the modules' names."""
        self._load()
        return list(self._entries)

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        package = importlib.import_module(self._package)
        for module in pkgutil.iter_modules(getattr(package, "__path__", ())):
            importlib.import_module(f"{self._package}.{module.name}")


NORMS = Registry("norm", "bnexp.norms")
MODELS = Registry("model", "bnexp.models")
DATASETS = Registry("data", "bnexp.data")
PROBES = Registry("probes", "bnexp.probes")
FIGURES = Registry("figures", "bnexp.figures")
CLAIMS = Registry("claims", "bnexp.claims")


def load_plugins(names: Iterable[str] = ()) -> None:
    """Import the modules called ``names`` and those of the entry points `PLUGINS`.

    Modules in the current folder are found, as by ``python -m``.

    Raises:
        UserError: a module is not there or fails while it is imported.
    """
    if (here := os.getcwd()) not in sys.path:  # noqa: PTH109
        sys.path.append(here)
    for name in [*names, *(entry.module for entry in entry_points(group=PLUGINS))]:
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
    if not isinstance(section, Mapping):
        raise UserError(f"{key}: expected a group of settings; got {section!r}")
    dot = f"{key}." if key else ""
    kinds = {field.name: str(field.type) for field in fields(schema)}  # type: ignore[arg-type]
    for name in section:
        if name not in kinds:
            where = key or "the config"
            near = difflib.get_close_matches(str(name), kinds, n=1)
            hint = f"; did you mean {dot}{near[0]}?" if near else ""
            raise UserError(f"{dot}{name}: no such key; {where} has {', '.join(kinds)}{hint}")
    for name in kinds:
        if name not in section or section[name] == "???":
            raise UserError(f"{dot}{name}: a value is expected; none was given")
    try:
        bound = OmegaConf.merge(OmegaConf.structured(schema), dict(section))
        result = OmegaConf.to_object(bound)
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


def _source(item: Any) -> str:
    return f"{getattr(item, '__module__', '?')}.{getattr(item, '__qualname__', '?')}"
