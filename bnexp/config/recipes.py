"""The recipes of the figures: which runs each names.

A recipe is ``configs/experiment/<name>.yaml``, a Hydra sweep over one model.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields

from bnexp.config.compose import compose, config_dir, expand
from bnexp.config.schema import DATA, DATA_OF, MODELS
from bnexp.errors import UserError


def recipes() -> list[str]:
    """The names of all recipes."""
    found = (config_dir() / "experiment").glob("*.yaml")
    return sorted(path.stem for path in found if path.stem != "none")


def recipe_jobs(name: str, overrides: Sequence[str]) -> list[list[str]]:
    """The runs of recipe ``name``, each as the overrides that ask for it.

    ``overrides`` are for all recipes at once. One that only another family of networks
    understands (``model.width`` for the DLN, ``data=cifar10``) is left out here.

    Raises:
        UserError: there is no such recipe, or an override is not understood.
    """
    if name not in recipes():
        raise UserError(f"experiment: expected one of {', '.join(recipes())}; got '{name}'")
    family = str(compose([f"experiment={name}"])["model"]["family"])
    kept = [override for override in overrides if _concerns(override, family)]
    return expand([f"experiment={name}", *kept])


def _concerns(override: str, family: str) -> bool:
    """Whether networks of ``family`` understand ``override``, or none do (then Hydra says so)."""
    key, _, value = override.lstrip("+~").partition("=")
    group, _, option = key.partition(".")
    if group not in ("model", "data"):
        return True
    mine, others = _known(group, family), set[str]()
    for other in MODELS:
        others |= _known(group, other)
    if not option:
        first = value.split(",")[0]
        return first in mine or first not in others
    return option in mine or option not in others


def _known(group: str, family: str) -> set[str]:
    """The options of ``group``, and its own names, that ``family`` understands."""
    if group == "model":
        known = {field.name for field in fields(MODELS[family])}
        names: Iterable[str] = [
            path.stem
            for path in (config_dir() / "model").glob("*.yaml")
            if (path.stem == "dln") == (family == "dln")
        ]
    else:
        names = DATA_OF[family]
        known = {field.name for name in names for field in fields(DATA[name])}
    return known | set(names)
