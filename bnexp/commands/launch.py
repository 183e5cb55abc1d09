"""How the runs of a sweep are made: one after the other here, or by one of Hydra's launchers."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from bnexp.config import check
from bnexp.config.compose import LAUNCHER, SEARCH, hydra_for, quoted
from bnexp.errors import UserError
from bnexp.registry import expect
from bnexp.runs import RunBusy
from bnexp.training.interrupts import STOP_FILE, Interrupted, Stop
from bnexp.training.run import FINISHED, Job, identify, reason, record, train

PATIENCE = 1.0
"""Seconds until a process looks again at runs that others are making."""

TRIES = 3
"""How often a run is given to a launcher whose process for it is killed."""


@dataclass(frozen=True)
class Outcome:
    """What became of a run: done, diverged, failed, interrupted, not started or busy."""

    path: Path
    state: str
    reason: str = ""


Launch = Callable[[Sequence[Job]], dict[str, Outcome]]


def attempt(job: Job, alone: AbstractContextManager[None] | None = None) -> Outcome:
    """Train ``job``, unless another process does; what goes wrong is told, not raised.

    ``alone`` is entered while it trains.
    """
    path, stop = job.directory.path, Stop()
    if stop.signum is not None or stop.failed:
        return Outcome(path, "not started")
    try:
        with alone or nullcontext():
            return Outcome(path, train(job, wait=not job.config.run.share))
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
    plain = json.loads(config.run)
    os.environ[STOP_FILE] = sweeps = plain.pop("stop")  # this process may have served another
    return attempt(identify(check(plain)), _alone(Path(sweeps)))


@contextmanager
def _alone(sweeps: Path) -> Iterator[None]:
    """Within it this process stops when the sweep does, whose stop file is ``sweeps``, and the
    sweep does not stop when only this process is asked to.

    So it is by SIGUSR2 where that has a handler, submitit's, which has Slurm queue the job again:
    that is called once the run has saved.
    """
    left, passed_on = threading.Event(), list[int]()
    with TemporaryDirectory(prefix="bnexp-stop-") as folder:
        mine = Path(folder) / "stop"

        def ask() -> None:
            mine.write_text(str(int(signal.SIGTERM)))

        def look() -> None:
            while not left.wait(PATIENCE):
                if sweeps.exists() or not sweeps.parent.exists():  # whoever started it has left
                    ask()
                    break

        def note(signum: int, _: FrameType | None) -> None:
            passed_on.append(signum)
            ask()

        is_main = threading.current_thread() is threading.main_thread()
        handler = signal.getsignal(signal.SIGUSR2)
        if handled := is_main and callable(handler):
            signal.signal(signal.SIGUSR2, note)
        os.environ[STOP_FILE] = str(mine)
        looking = threading.Thread(target=look, daemon=True)
        looking.start()
        try:
            yield
        finally:
            left.set()
            looking.join()
            os.environ[STOP_FILE] = str(sweeps)
            if handled:
                signal.signal(signal.SIGUSR2, handler)
            if passed_on:
                signal.raise_signal(signal.SIGUSR2)


@contextmanager
def launching(overrides: Sequence[str], job: Job) -> Iterator[tuple[Launch, Path | None]]:
    """What makes runs like ``job``: one after the other here, or the launcher ``overrides`` choose.

    With the folder that its processes see, wherever they are; None for this one.
    """
    hydras = [o for o in overrides if o.startswith((*LAUNCHER, SEARCH, "plugins"))]
    given, out = [o for o in hydras if o.startswith(LAUNCHER)], job.config.run.out
    if all(o == "hydra/launcher=basic" for o in given):
        yield lambda jobs: {job.id: attempt(job) for job in jobs}, None
        return
    given += [o for o in overrides if o.startswith("sizes.")]  # memory and time, by the preset
    given += [f"preset={quoted(job.config.run.preset)}", f"out={quoted(out)}"]
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
            missing = re.search(r"hydra_plugins\.(hydra_([a-z]+)_launcher)", str(error))
            if missing and find_spec(f"hydra_plugins.{missing[1]}") is None:
                why = f"expected {missing[1]}: pip install bnexp[{missing[2]}]"
                raise UserError(f"hydra/launcher: {why}") from None
            raise UserError(f"hydra/launcher: {str(error).splitlines()[0]}") from None
        yield lambda jobs: _launch(launcher, jobs, given[-1]), job.directory.path.parents[1]


def _launch(launcher: Launcher, jobs: Sequence[Job], out: str) -> dict[str, Outcome]:
    """Make ``jobs`` with ``launcher``, also where a process of it is killed."""
    batches, outcomes, tries = [list(jobs)], dict[str, Outcome](), Counter[str]()
    while batches:
        batch = batches.pop(0)
        try:
            asked = [(out, f"+run={quoted(_packed(job))}") for job in batch]
            returned = launcher.launch(asked, 0)
            outcomes |= {j.id: x.return_value for j, x in zip(batch, returned, strict=True)}
        except BrokenExecutor:
            if len(batch) == 1:
                outcomes[batch[0].id] = _killed(batch[0])
                continue
            started = [job for job in batch if job.state() is not None] or batch
            others = [job for job in batch if job not in started]
            batches = [*([job] for job in started), *filter(None, [others]), *batches]
        except (ValueError, TypeError) as error:
            raise UserError(f"hydra.launcher: {str(error).splitlines()[0]}") from None
        except Exception as error:  # one of its jobs was killed, by memory, time or an operator
            started = [job for job in batch if job.state() is not None]
            if not started:
                raise UserError(f"hydra.launcher: {reason(error)}") from None
            print(f"bnexp: hydra/launcher: {reason(error)}; trying again", file=sys.stderr)
            while any(job.directory.is_locked() for job in started) and not Stop().signum:
                time.sleep(PATIENCE)
            ended = {job.id: str(job.state()) for job in started if job.state() in FINISHED}
            tries.update(job.id for job in started if job.id not in ended)
            for job in started:
                if job.id in ended:
                    outcomes[job.id] = Outcome(job.directory.path, ended[job.id])
                elif tries[job.id] >= TRIES:
                    outcomes[job.id] = _killed(job)
            left = [job for job in batch if job.id not in outcomes]
            if Stop().signum is None:
                batches += [left] if left else []
            else:
                outcomes |= {job.id: Outcome(job.directory.path, "interrupted") for job in left}
    return outcomes


def _killed(job: Job) -> Outcome:
    why = "its process was killed (out of memory?)"
    record(job.directory, why, why, job.config.run.steps)
    return Outcome(job.directory.path, "failed", why)


def _packed(job: Job) -> str:
    """The config of ``job`` as JSON without interpolations; its device is found where it runs."""
    more = {"device": job.config.run.device, "stop": os.environ.get(STOP_FILE, "")}
    plain = {**job.config.plain, **more}
    return json.dumps(plain).replace("$", "\\u0024")
