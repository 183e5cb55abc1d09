"""The recipes of the figures: which runs each names.

A recipe is ``configs/experiment/<name>.yaml``, a Hydra sweep over one model.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from omegaconf import DictConfig, OmegaConf

from bnexp.config.compose import SEARCH, choices, compose_hydra, dotted, parse
from bnexp.config.expand import Request, expand
from bnexp.config.schema import task_of
from bnexp.errors import UserError
from bnexp.registry import DATASETS, MODELS, Registry, unknown

TASKS = {"model": MODELS, "data": DATASETS}
"""The groups whose choices suit some recipes only, by the task of what they name."""


def recipes(overrides: Sequence[str] = ()) -> list[str]:
    """The names of all recipes, those in the user's own folders included."""
    return [name for name in choices("experiment", overrides) if name != "none"]


def recipe_requests(names: Iterable[str], overrides: Sequence[str]) -> list[Request]:
    """The runs of the recipes ``names``.

    ``overrides`` are for all recipes at once. One that only other networks or data understand
    (``model.width`` for the DLN, ``data=cifar10``) is left out of a recipe, but not out of all.

    Raises:
        UserError: there is no such recipe, or an override is understood by none.
    """
    known = recipes([o for o in overrides if o.startswith((SEARCH, "plugins"))])
    for name in names:
        if name not in known:
            raise UserError(f"experiment: {unknown(name, known)}")
    fitting = {name: _fitting(name, overrides) for name in names}
    unused = [o for o in overrides if not any(o in mine for mine in fitting.values())]
    return [
        request
        for name, mine in fitting.items()
        for request in expand([f"experiment={name}", *mine, *unused])
    ]


def _fitting(name: str, overrides: Sequence[str]) -> list[str]:
    """Those of ``overrides`` that recipe ``name`` understands."""
    general = [o for o in overrides if o.startswith((SEARCH, "plugins", "preset="))]
    recipe = compose_hydra(parse([f"experiment={name}", *general]))
    task = _task(MODELS, recipe.model.name)
    groups = [o for o in overrides if _group(o) in TASKS]
    groups = [o for o in groups if _task(TASKS[_group(o)], _value(o)) in (task, None)]
    config = compose_hydra(parse([f"experiment={name}", *general, *groups])) if groups else recipe
    keys = _keys(config)

    def suits(override: str) -> bool:
        group = _group(override)
        if group in TASKS:
            return override in groups
        return group.split(".")[0] not in TASKS or group in keys

    return [override for override in overrides if suits(override)]


def _keys(config: DictConfig) -> set[str]:
    plain = OmegaConf.to_container(config, resolve=False)
    assert isinstance(plain, dict)
    return set(dotted(plain))


def _group(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]


def _value(override: str) -> str:
    return override.partition("=")[2].split(",")[0]


def _task(registry: Registry, name: str) -> str | None:
    """The task of what ``registry`` calls ``name``; None where nothing is called so."""
    return task_of(registry[name]) if name in registry else None
