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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from bnexp.commands.launch import PATIENCE, Outcome, launching
from bnexp.commands.progress import progress
from bnexp.config import check
from bnexp.errors import UserError
from bnexp.runs import RunDirectory
from bnexp.training.interrupts import STOP_FILE, Stop, watched
from bnexp.training.run import FINISHED, Job, identify

LISTED = 100
"""The longest sweep of which every run's outcome is said."""


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
    with (
        launching(overrides, jobs[0]) as (launch, shared),
        stoppable(shared) as stop,
        progress(todo),
    ):
        while todo:
            outcomes |= launch([changed(job, progress=False) for job in todo])
            # Interrupted alone: its scheduler, not this command, was asked to stop it.
            again = ("busy", "interrupted")
            todo = [job for job in todo if outcomes[job.id].state in again]
            stop.look()
            if not todo or stop.signum is not None:
                break
            busy = sum(outcomes[job.id].state == "busy" for job in todo)
            if busy and not waiting:
                print(f"bnexp: {busy} runs are being made by others; waiting", file=sys.stderr)
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
def stoppable(shared: Path | None) -> Iterator[Stop]:
    """Within it a signal stops the runs of a sweep, in whatever process they are.

    These find the folder ``shared``; by default they are on this machine.
    """
    if shared is not None:
        shared.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".stop-", dir=shared) as folder:
        os.environ[STOP_FILE] = str(Path(folder).absolute() / "stop")
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
