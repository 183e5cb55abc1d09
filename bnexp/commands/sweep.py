"""Many runs from one command: checked all together, then handed to Hydra's launcher."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, RunMode
from joblib import effective_n_jobs
from omegaconf import DictConfig
from tqdm import tqdm

from bnexp.config import check, compose, config_dir, resolve
from bnexp.config.compose import one_line, path_override
from bnexp.errors import UserError
from bnexp.runs import RunDirectory
from bnexp.training import FINISHED, Interrupted, Job, identify, reason, record
from bnexp.training.interrupts import STOP_FILE, Stop, watched
from bnexp.training.together import may_join, train_together

WITH_SEEDS = "with_seeds"
"""The key by which a launcher is told to make runs of several seeds in one process."""


@dataclass(frozen=True)
class Asked:
    """A run that was asked for, with the overrides that ask for it."""

    overrides: tuple[str, ...]
    job: Job


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    ``state`` is done, diverged, failed, interrupted or not started; skipped, where it had its
    result before, which ``reason`` then names.
    """

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


def perform(config: DictConfig) -> list[Outcome]:
    """Train the run that ``config`` describes, once for each seed of ``with_seeds`` if it has that.

    What goes wrong is told, not raised.
    """
    plain = resolve(config)
    seeds = plain.pop(WITH_SEEDS, [plain["seed"]])
    jobs = [identify(check({**plain, "seed": seed})) for seed in seeds]
    paths = [str(job.directory.path) for job in jobs]
    stop = Stop()
    if stop.signum is not None or stop.failed:
        return [Outcome(path, "not started") for path in paths]
    outcomes = [
        _outcome(path, found) for path, found in zip(paths, train_together(jobs), strict=True)
    ]
    if jobs[0].config.run.fail_fast and any(one.state == "failed" for one in outcomes):
        stop.fail()
    return outcomes


def _outcome(path: str, found: str | Exception) -> Outcome:
    """What became of the run in ``path``, which ended in a state or with an error."""
    if isinstance(found, Interrupted):
        return Outcome(path, "interrupted", str(found))
    if isinstance(found, Exception):
        return Outcome(path, "failed", reason(found))
    return Outcome(path, found)


def make(runs: Sequence[Asked], hydra: Sequence[str]) -> int:
    """Make ``runs`` with one bar over all of them; says what became of them.

    A run that fails does not stop the others. Returns the exit code: 0, 1 if one failed,
    128 + the signal if the sweep was stopped.

    Raises:
        UserError: the launcher that ``hydra`` chooses is not known or not installed.
    """
    if not runs:
        return 0
    out = path_override("out", runs[0].job.config.run.out)
    with _launcher([*hydra, out]) as (launcher, at_once), stoppable() as stop, _progress(runs):
        skipped = {run.job.id: run.job.state() for run in runs if run.job.state() in FINISHED}
        todo = [run for run in runs if run.job.id not in skipped]
        made = _launch(launcher, grouped(todo, at_once))
        outcomes = [
            Outcome(str(run.job.directory.path), "skipped", f"{skipped[run.job.id]} before")
            if run.job.id in skipped
            else made[run.job.id]
            for run in runs
        ]
        stop.look()
    _report(outcomes)
    if stop.signum is not None:
        print("bnexp: stopped; the same command goes on from there", file=sys.stderr)
        return 128 + stop.signum
    return 1 if any(one.state == "failed" for one in outcomes) else 0


def grouped(runs: Sequence[Asked], at_once: int) -> list[list[Asked]]:
    """``runs`` in groups, each for one process, of which so many are there ``at_once``.

    Those that differ in their seeds only and whose passes can be joined are in one group, or in as
    many as there are processes.
    """
    alike: dict[object, list[Asked]] = {}
    for run in runs:
        others = {k: v for k, v in run.job.config.plain.items() if k != "seed"}
        key = json.dumps(others, sort_keys=True) if may_join(run.job) else run.job.id
        alike.setdefault(key, []).append(run)
    parts = []
    for group in alike.values():
        size = -(-len(group) // min(at_once, len(group)))
        parts += [group[i : i + size] for i in range(0, len(group), size)]
    return parts


def _at_once(launcher: DictConfig) -> int:
    """How many processes the launcher makes; of one that does not say, one for every run."""
    if "basic_launcher" in launcher._target_:
        return 1
    jobs = launcher.get("n_jobs")
    return sys.maxsize if jobs is None else int(effective_n_jobs(jobs))


def _launch(launcher: Launcher, groups: Sequence[list[Asked]]) -> dict[str, Outcome]:
    """What became of each run of ``groups``, also where a process of the launcher was killed.

    Such a launcher gives nothing back at all, and ends its other processes too: each run that was
    half done goes on alone, has failed if it is killed again, and then the others are launched.
    """
    batches, found = [list(groups)] if groups else [], dict[str, Outcome]()
    while batches:
        batch = batches.pop(0)
        try:
            returned = launcher.launch([_asking_for(group) for group in batch], 0)
        except BrokenExecutor:
            runs = [run for group in batch for run in group]
            if len(runs) == 1:
                found[runs[0].job.id] = _killed(runs[0].job)
                continue
            begun = [run for run in runs if run.job.state() is not None]
            if not begun:
                raise
            others = [[run for run in group if run not in begun] for group in batch]
            others = [group for group in others if group]
            batches = [*([[run]] for run in begun), *([others] if others else []), *batches]
        else:
            for group, one in zip(batch, returned, strict=True):
                found.update({r.job.id: o for r, o in zip(group, one.return_value, strict=True)})
    return found


def _asking_for(group: Sequence[Asked]) -> tuple[str, ...]:
    """The overrides that ask for the runs of ``group``."""
    seeds = ",".join(str(run.job.config.run.seed) for run in group)
    more = [f"+{WITH_SEEDS}=[{seeds}]"] if len(group) > 1 else []
    return (*group[0].overrides, "progress=false", *more)


def _killed(job: Job) -> Outcome:
    why = "its process was killed (out of memory?)"
    record(job.directory, why, why, job.config.run.steps)
    return Outcome(str(job.directory.path), "failed", why)


@contextmanager
def _launcher(overrides: Sequence[str]) -> Iterator[tuple[Launcher, int]]:
    """The launcher that ``overrides`` choose (default: one run after the other), and its processes.

    Raises:
        UserError: the launcher is not known or not installed.
    """
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        try:
            config = loader.load_configuration(
                "train", overrides=list(overrides), run_mode=RunMode.MULTIRUN
            )
        except HydraException as error:
            raise UserError(one_line(error)) from None
        context = HydraContext(config_loader=loader, callbacks=Callbacks(config))
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=context, task_function=perform, config=config
        )
        yield launcher, _at_once(config.hydra.launcher)


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Within it a signal to this process stops the runs of a sweep, in whatever process they are.

    The first asks them to save and stop; a second one acts at once.
    """
    before = os.environ.get(STOP_FILE)
    with tempfile.TemporaryDirectory() as folder:
        os.environ[STOP_FILE] = str(Path(folder) / "stop")
        try:
            with watched() as stop:
                yield stop
        finally:
            if before is None:
                del os.environ[STOP_FILE]
            else:
                os.environ[STOP_FILE] = before


@contextmanager
def _progress(runs: Sequence[Asked]) -> Iterator[None]:
    """Within it a bar on stderr adds up the steps of ``runs``, wherever they are being made."""
    total = sum(asked.job.config.run.steps + 1 for asked in runs)
    over = threading.Event()
    shown = all(asked.job.config.run.progress for asked in runs)
    bar = tqdm(
        total=total,
        unit="step",
        desc=f"runs 0/{len(runs)} done",
        file=sys.stderr,
        dynamic_ncols=True,
        disable=not shown,
    )

    def look() -> None:
        status = [_status(asked.job) for asked in runs]
        done = sum(
            asked.job.config.run.steps + 1 if one.get("state") in FINISHED else one.get("step", 0)
            for asked, one in zip(runs, status, strict=True)
        )
        finished = sum(one.get("state") in FINISHED for one in status)
        bar.set_description(f"runs {finished}/{len(runs)} done", refresh=False)
        bar.update(done - bar.n)

    def watch() -> None:
        while not over.wait(1.0):
            look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        look()
        bar.close()


def _status(job: Job) -> dict[str, Any]:
    """How far ``job`` is; nothing where that cannot be read, of which the run itself will tell."""
    try:
        return job.directory.read_status()
    except UserError:
        return {}


def _report(outcomes: Sequence[Outcome]) -> None:
    """Say on stderr what became of each run, and of the failed ones why and where it says more."""
    for one in outcomes:
        more = f"  {one.reason}" if one.state in ("failed", "skipped") else ""
        if one.state == "failed" and (log := RunDirectory(Path(one.path)).log_file).exists():
            more += f"; see {log}"
        print(f"  {one.state:12} {one.path}{more}", file=sys.stderr)
    counts = Counter(one.state for one in outcomes)
    told = ", ".join(f"{count} {state}" for state, count in counts.items())
    print(f"bnexp: {len(outcomes)} runs: {told}", file=sys.stderr)


def is_hydra(override: str) -> bool:
    """Whether ``override`` is for Hydra itself (its launcher), not for the runs."""
    return override.lstrip("+~").startswith(("hydra.", "hydra/"))
