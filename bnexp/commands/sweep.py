"""Many runs from one command: checked all together, then made one by one or by a launcher.

Several processes that are given the same sweep share its runs: one that another process is making
is passed over, and taken up later should that process have dropped it.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from bnexp.commands.progress import progress
from bnexp.config import Request, check, config_dir
from bnexp.config.compose import parse, quoted, resolve, search_path
from bnexp.errors import UserError
from bnexp.registry import expect
from bnexp.runs import RunBusy, RunDirectory
from bnexp.training.interrupts import STOP_FILE, Interrupted, Stop, watched
from bnexp.training.run import FINISHED, Job, identify, reason, record, train

PATIENCE = 1.0
"""Seconds until a process looks again at runs that others are making."""

LISTED = 100
"""The longest sweep of which every run's outcome is said."""


@dataclass(frozen=True)
class Planned:
    """A run of a sweep, with the overrides that ask for it."""

    overrides: tuple[str, ...]
    job: Job


@dataclass(frozen=True)
class Outcome:
    """What became of a run: done, diverged, failed, interrupted, not started or busy."""

    path: str
    state: str
    reason: str = ""


Launch = Callable[[Sequence[Planned]], dict[str, Outcome]]


def planned(requests: Sequence[Request]) -> list[Planned]:
    """The different runs of ``requests``, all checked before any is started."""
    runs: dict[str, Planned] = {}
    for request in requests:
        job = identify(check(request.plain))
        runs.setdefault(job.id, Planned(request.overrides, job))
    return list(runs.values())


def reused(jobs: Sequence[Job]) -> dict[str, Path]:
    """Where the results are that other code made of ``jobs`` and that serve, by the jobs' ids."""
    there: dict[str, Path] = {}
    asking: list[str] = []
    for job in jobs:
        folders = [job.directory.path.with_name(name) for name in job.stale]
        done = [f for f in folders if RunDirectory(f).read_status().get("state") in FINISHED]
        if done and job.state() not in FINISHED:
            asking += [done[-1].name] if job.config.run.stale == "ask" else []
            there |= {job.id: done[-1]} if job.config.run.stale == "reuse" else {}
    if asking:
        raise UserError(
            f"stale: {len(asking)} of the runs were made by other code than this ({asking[0]}"
            f"{', ..' * (len(asking) > 1)}); expected stale=reuse to take them or stale=remake"
        )
    return there


def attempt(job: Job) -> Outcome:
    """Train ``job``, unless another process does; what goes wrong is told, not raised."""
    path, stop = str(job.directory.path), Stop()
    if stop.signum is not None or stop.failed:
        return Outcome(path, "not started")
    try:
        return Outcome(path, train(job, wait=False))
    except RunBusy:
        return Outcome(path, "busy")
    except Interrupted as stopped:
        return Outcome(path, "interrupted", str(stopped))
    except Exception as error:
        if job.config.run.fail_fast:
            stop.fail()
        return Outcome(path, "failed", reason(error))


def perform(config: DictConfig) -> Outcome:
    """Train the run that ``config`` describes: what a launcher calls in its processes."""
    return attempt(identify(check(resolve(config))))


def make(runs: Sequence[Planned], launcher: Sequence[str] = ()) -> tuple[int, list[Path]]:
    """Make ``runs`` with one bar over all of them; says what became of them."""
    if not runs:
        return 0, []
    instead = reused([run.job for run in runs])
    outcomes = {name: Outcome(str(p), "skipped", "of other code") for name, p in instead.items()}
    for job in [run.job for run in runs if run.job.id not in outcomes]:
        if (state := job.state()) in FINISHED and not job.directory.problems():
            outcomes[job.id] = Outcome(str(job.directory.path), "skipped", f"{state} before")
    todo = [run for run in runs if run.job.id not in outcomes]
    launching = _launching(runs[0], launcher)
    with launching as launch, stoppable() as stop, progress([run.job for run in todo]):
        outcomes |= _shared(todo, launch, stop)
        stop.look()
    ordered = [outcomes[run.job.id] for run in runs]
    _report(ordered)
    code = 1 if any(outcome.state == "failed" for outcome in ordered) else 0
    if stop.signum is not None:
        print("bnexp: stopped; the same command goes on from there", file=sys.stderr)
        code = 128 + stop.signum
    return code, [Path(outcome.path) for outcome in ordered]


def _shared(todo: Sequence[Planned], launch: Launch, stop: Stop) -> dict[str, Outcome]:
    """What becomes of ``todo``, of which other processes may be making some."""
    outcomes: dict[str, Outcome] = {}
    waiting = False
    while todo:
        outcomes |= launch(todo)
        todo = [run for run in todo if outcomes[run.job.id].state == "busy"]
        stop.look()
        if todo and stop.signum is not None:
            paths = {run.job.id: str(run.job.directory.path) for run in todo}
            return outcomes | {name: Outcome(path, "not started") for name, path in paths.items()}
        if todo and not waiting:
            print(f"bnexp: {len(todo)} runs are being made by others; waiting", file=sys.stderr)
        waiting = True
        time.sleep(PATIENCE if todo else 0)
    return outcomes


@contextmanager
def _launching(run: Planned, overrides: Sequence[str]) -> Iterator[Launch]:
    """What makes runs: one after the other here, or the launcher that ``overrides`` choose."""
    if all(o == "hydra/launcher=basic" for o in overrides):
        yield _one_by_one
        return
    given = [
        *search_path(parse(run.overrides)),
        *overrides,
        f"out={quoted(run.job.config.run.out)}",
    ]
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        try:
            config = loader.load_configuration("train", given, RunMode.MULTIRUN)
            jobs = config.hydra.launcher.get("n_jobs", 1)
            expect(type(jobs) is int and jobs != 0, "hydra.launcher.n_jobs", "-1 or a number", jobs)
            launcher = Plugins.instance().instantiate_launcher(
                hydra_context=HydraContext(config_loader=loader, callbacks=Callback()),  # type: ignore[arg-type]
                task_function=perform,
                config=config,
            )
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(f"hydra/launcher: {str(error).splitlines()[0]}") from None
        yield lambda runs: _launch(launcher, runs)


def _one_by_one(runs: Sequence[Planned]) -> dict[str, Outcome]:
    """Make ``runs`` in this process. There is one bar for all of them, so none of their own."""
    outcomes = {}
    for run in runs:
        config = run.job.config
        quiet = replace(config, run=replace(config.run, progress=False))
        outcomes[run.job.id] = attempt(replace(run.job, config=quiet))
    return outcomes


def _launch(launcher: Launcher, runs: Sequence[Planned]) -> dict[str, Outcome]:
    """Make ``runs`` with ``launcher``, also where a process of it is killed."""
    batches, outcomes = [list(runs)], dict[str, Outcome]()
    while batches:
        batch = batches.pop(0)
        try:
            returned = launcher.launch([(*run.overrides, "progress=false") for run in batch], 0)
            outcomes |= {r.job.id: x.return_value for r, x in zip(batch, returned, strict=True)}
        except BrokenExecutor:
            started = [[run] for run in batch if run.job.state() is not None]
            started = started or [[run] for run in batch]
            if len(batch) == 1:
                job, why = batch[0].job, "its process was killed (out of memory?)"
                record(job.directory, why, why, job.config.run.steps)
                outcomes[job.id] = Outcome(str(job.directory.path), "failed", why)
            else:
                others = [run for run in batch if [run] not in started]
                batches = [*started, *filter(None, [others]), *batches]
        except (ValueError, TypeError) as error:
            raise UserError(f"hydra.launcher: {str(error).splitlines()[0]}") from None
    return outcomes


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Within it a signal stops the runs of a sweep, in whatever process they are."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ[STOP_FILE] = str(Path(folder) / "stop")
        try:
            with watched() as stop:
                yield stop
        finally:
            del os.environ[STOP_FILE]


def _report(outcomes: Sequence[Outcome]) -> None:
    """Say on stderr what became of each run, and of the failed ones why and where it says more."""
    for outcome in outcomes:
        failed, log = outcome.state == "failed", RunDirectory(Path(outcome.path)).log_file
        more = f"  {outcome.reason}" if failed or outcome.state == "skipped" else ""
        more += f"; see {log}" if failed and log.exists() else ""
        if failed or len(outcomes) <= LISTED:
            print(f"  {outcome.state:12} {outcome.path}{more}", file=sys.stderr)
    counts = Counter(outcome.state for outcome in outcomes)
    total = ", ".join(f"{count} {state}" for state, count in counts.items())
    print(f"bnexp: {len(outcomes)} runs: {total}", file=sys.stderr)
