"""Many runs from one command: checked all together, then handed to Hydra's launcher."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Sequence
from dataclasses import dataclass

from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.errors import HydraException
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig

from bnexp.config import check, compose, config_dir, resolve
from bnexp.config.compose import one_line
from bnexp.errors import UserError
from bnexp.training import Interrupted, Job, identify, train

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """A run that was asked for, with the overrides that ask for it."""

    overrides: tuple[str, ...]
    job: Job


@dataclass(frozen=True)
class Outcome:
    """What became of a run: ``state`` is done, diverged, failed or interrupted."""

    path: str
    state: str
    reason: str = ""


def ask(jobs: Sequence[Sequence[str]]) -> list[Asked]:
    """The different runs that ``jobs`` ask for, all checked before any is started.

    Raises:
        UserError: one of them is not as it should be; nothing was written.
    """
    asked: dict[str, Asked] = {}
    for overrides in jobs:
        job = identify(check(compose(overrides)))
        asked.setdefault(job.id, Asked(tuple(overrides), job))
    return list(asked.values())


def perform(config: DictConfig) -> Outcome:
    """Train the run that ``config`` describes; what goes wrong is told, not raised."""
    job = identify(check(resolve(config)))
    path = str(job.directory.path)
    try:
        return Outcome(path, train(job))
    except Interrupted as stopped:
        return Outcome(path, "interrupted", str(stopped))
    except Exception as error:
        log.debug("%s", traceback.format_exc())
        return Outcome(path, "failed", f"{type(error).__name__}: {error}".splitlines()[0])


def launch(runs: Sequence[Asked], hydra_overrides: Sequence[str]) -> list[Outcome]:
    """Make ``runs`` with the launcher that ``hydra_overrides`` choose (default: one by one).

    A run that fails does not stop the others.

    Raises:
        UserError: the launcher is not known or not installed.
    """
    if not runs:
        return []
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            loader = GlobalHydra.instance().config_loader()
            config = loader.load_configuration(
                "train", overrides=list(hydra_overrides), run_mode=RunMode.MULTIRUN
            )
            context = HydraContext(config_loader=loader, callbacks=Callbacks(config))
            launcher = Plugins.instance().instantiate_launcher(
                hydra_context=context, task_function=perform, config=config
            )
            returned: Sequence[JobReturn] = launcher.launch([run.overrides for run in runs], 0)
    except HydraException as error:
        raise UserError(one_line(error)) from None
    return [one.return_value for one in returned]


def is_hydra(override: str) -> bool:
    """Whether ``override`` is for Hydra itself (its launcher), not for the runs."""
    return override.lstrip("+~").startswith(("hydra.", "hydra/"))
