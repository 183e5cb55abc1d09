"""Many runs from one command: checked all together, then made one by one or by a launcher.

Several processes that are given the same sweep share its runs: one that another process is making
is passed over, and taken up later should that process have dropped it.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from bnexp.commands.progress import progress
from bnexp.config import check
from bnexp.config.compose import LAUNCHER, SEARCH, hydra_for, quoted
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
class Outcome:
    """What became of a run: done, diverged, failed, interrupted, not started or busy."""

    path: Path
    state: str
    reason: str = ""


Launch = Callable[[Sequence[Job]], dict[str, Outcome]]


def planned(configs: Iterable[Mapping[str, Any]]) -> list[Job]:
    """The different runs that ``configs`` ask for, all checked before any is started."""
    jobs: dict[str, Job] = {}
    for job in (identify(check(config)) for config in configs):
        jobs.setdefault(job.id, job)
    return list(jobs.values())


def reused(jobs: Sequence[Job]) -> dict[str, Path]:
    """Where the results are that other code made of ``jobs`` and that serve, by the jobs' ids."""
    there: dict[str, Path] = {}
    asking: list[str] = []
    for job in jobs:
        folders = [RunDirectory(job.directory.path.with_name(name)) for name in job.stale]
        done = [f.path for f in folders if f.read_status().get("state") in FINISHED]
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
    path, stop = job.directory.path, Stop()
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
    """Train the run whose config is in ``config``: what a launcher calls in its processes."""
    return attempt(identify(check(json.loads(config.run))))


def changed(job: Job, **keys: Any) -> Job:
    """``job`` with other values of ``keys``, of such as make no other run of it."""
    config = job.config
    run, plain = replace(config.run, **keys), {**config.plain, **keys}
    return replace(job, config=replace(config, run=run, plain=plain))


def make(jobs: Sequence[Job], overrides: Sequence[str] = ()) -> tuple[int, list[Path]]:
    """Make ``jobs`` with one bar over all of them; says what became of them.

    ``overrides`` may choose one of Hydra's launchers for it.
    """
    if not jobs:
        return 0, []
    outcomes = {i: Outcome(path, "skipped", "of other code") for i, path in reused(jobs).items()}
    for job in jobs:
        state = None if job.id in outcomes else job.state()
        if state in FINISHED and not job.directory.problems():
            outcomes[job.id] = Outcome(job.directory.path, "skipped", f"{state} before")
    todo, waiting = [job for job in jobs if job.id not in outcomes], False
    launching = _launching(overrides, jobs[0].config.run.out)
    with launching as launch, stoppable() as stop, progress(todo):
        while todo:
            outcomes |= launch([changed(job, progress=False) for job in todo])
            todo = [job for job in todo if outcomes[job.id].state == "busy"]
            stop.look()
            if not todo or stop.signum is not None:
                break
            if not waiting:
                print(f"bnexp: {len(todo)} runs are being made by others; waiting", file=sys.stderr)
            waiting = True
            time.sleep(PATIENCE)
    ordered = [outcomes[job.id] for job in jobs]
    _report(ordered)
    code = 1 if any(outcome.state == "failed" for outcome in ordered) else 0
    if stop.signum is not None:
        print("bnexp: stopped; the same command goes on from there", file=sys.stderr)
        code = 128 + stop.signum
    return code, [outcome.path for outcome in ordered]


@contextmanager
def _launching(overrides: Sequence[str], out: str) -> Iterator[Launch]:
    """What makes runs: one after the other here, or the launcher that ``overrides`` choose."""
    hydras = [o for o in overrides if o.startswith((*LAUNCHER, SEARCH, "plugins"))]
    given = [*(o for o in hydras if o.startswith(LAUNCHER)), f"out={quoted(out)}"]
    if all(o == "hydra/launcher=basic" for o in given[:-1]):
        yield lambda jobs: {job.id: attempt(job) for job in jobs}
        return
    with hydra_for(hydras) as loader:
        try:
            config = loader.load_configuration("train", given, RunMode.MULTIRUN)
            count = config.hydra.launcher.get("n_jobs", 1)
            ok = type(count) is int and count != 0
            expect(ok, "hydra.launcher.n_jobs", "-1 or a number", count)
            launcher = Plugins.instance().instantiate_launcher(
                hydra_context=HydraContext(config_loader=loader, callbacks=Callback()),  # type: ignore[arg-type]
                task_function=perform,
                config=config,
            )
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(f"hydra/launcher: {str(error).splitlines()[0]}") from None
        yield lambda jobs: _launch(launcher, jobs, given[-1])


def _launch(launcher: Launcher, jobs: Sequence[Job], out: str) -> dict[str, Outcome]:
    """Make ``jobs`` with ``launcher``, also where a process of it is killed."""
    batches, outcomes = [list(jobs)], dict[str, Outcome]()
    while batches:
        batch = batches.pop(0)
        try:
            asked = [(out, f"+run={quoted(_packed(job))}") for job in batch]
            returned = launcher.launch(asked, 0)
            outcomes |= {j.id: x.return_value for j, x in zip(batch, returned, strict=True)}
        except BrokenExecutor:
            if len(batch) == 1:
                job, why = batch[0], "its process was killed (out of memory?)"
                record(job.directory, why, why, job.config.run.steps)
                outcomes[job.id] = Outcome(job.directory.path, "failed", why)
                continue
            started = [job for job in batch if job.state() is not None] or batch
            others = [job for job in batch if job not in started]
            batches = [*([job] for job in started), *filter(None, [others]), *batches]
        except (ValueError, TypeError) as error:
            raise UserError(f"hydra.launcher: {str(error).splitlines()[0]}") from None
    return outcomes


def _packed(job: Job) -> str:
    """The config of ``job`` as JSON without interpolations; its device is found where it runs."""
    plain = {**job.config.plain, "device": job.config.run.device}
    return json.dumps(plain).replace("$", "\\u0024")


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
        failed, log = outcome.state == "failed", RunDirectory(outcome.path).log_file
        more = f"  {outcome.reason}" if failed or outcome.state == "skipped" else ""
        more += f"; see {log}" if failed and log.exists() else ""
        if failed or len(outcomes) <= LISTED:
            print(f"  {outcome.state:12} {outcome.path}{more}", file=sys.stderr)
    counts = Counter(outcome.state for outcome in outcomes)
    total = ", ".join(f"{count} {state}" for state, count in counts.items())
    print(f"bnexp: {len(outcomes)} runs: {total}", file=sys.stderr)
