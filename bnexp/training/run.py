"""One run from its config to its finished run directory: start, resume, skip."""

from __future__ import annotations

import errno
import os
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from bnexp.config import Config
from bnexp.data import fingerprint
from bnexp.errors import UserError
from bnexp.loggers import Log
from bnexp.models import layer_count
from bnexp.probes import Rows
from bnexp.registry import expect
from bnexp.runs import FINISHED as FINISHED
from bnexp.runs import RunBusy, RunDirectory, TableWriter, code_hash, run_id, siblings
from bnexp.runs.files import read_json
from bnexp.seeds import derive
from bnexp.training.bar import bar
from bnexp.training.build import trainer_of
from bnexp.training.checkpoint import Checkpoints, load_state, state_of
from bnexp.training.interrupts import Interrupted, Stop, watched
from bnexp.training.loop import Trainer
from bnexp.training.machine import environment, keep_freed_memory, set_up_cuda

STATUS_SECONDS = 2.0
"""How often a run says how far it is. Rows are written with each checkpoint."""

BUFFERED_VALUES = 1 << 22
"""So many values of tables are held in memory, 32 MB as doubles, before a checkpoint is made."""


@dataclass(frozen=True)
class Job:
    """A run that was asked for: its checked config, its device and where it lies.

    ``stale`` are the ids of finished runs of the same config that other code made.
    """

    config: Config
    device: torch.device
    fingerprint: str
    directory: RunDirectory
    stale: list[str] = field(default_factory=list)

    @property
    def id(self) -> str:
        return self.directory.id

    def state(self) -> str | None:
        """What the run directory says of it; None before it was started."""
        state: str | None = self.directory.read_status().get("state")
        return state


def identify(config: Config) -> Job:
    """The run that ``config`` asks for. Nothing is written.

    Raises:
        UserError: a probe, the device or the data is not as the config says.
    """
    model, norm = config.model, config.norm
    layers = layer_count(model.name, model.options, norm.name, norm.options)
    for name, probe in config.probes.items():
        probe.options.check_layers(f"probes.{name}", layers)
    ok = config.run.precision != "bf16" or model.task == "classification"
    expect(ok, "precision", "float64 or float32 for a regression", config.run.precision)
    device = _device(config.run.device)
    plain = {**config.plain, "device": str(device)}
    content = fingerprint(plain["data"])
    items = [one.item for one in (model, norm, config.data, config.optim, *config.probes.values())]
    modules = {getattr(item, "__module__", type(item).__module__) for item in items}
    runs = Path(config.run.out).expanduser() / "runs"
    name = run_id(plain, content, code_hash({__name__, *modules}))
    stale = [] if (runs / name).exists() else [path.name for path in siblings(runs, name)]
    return Job(replace(config, plain=plain), device, content, RunDirectory(runs / name), stale)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        have = torch.cuda.device_count()
        raise UserError(f"device: expected one that is here; got {name} ({have} CUDA devices)")
    return device


def reason(error: Exception) -> str:
    """What ``error`` says, on one line."""
    return ": ".join(filter(None, [type(error).__name__, *str(error).splitlines()[:1]]))


def record(directory: RunDirectory, why: str, details: str, steps: int) -> None:
    """Note in ``directory``, where it can be written, that its run failed; it can be resumed."""
    with suppress(OSError, UserError), directory.lock(wait=False):
        directory.log(details)
        before = {"step": 0, "steps": steps, **directory.read_status()}
        directory.write_status(**{**before, "state": "failed", "reason": why})


def train(job: Job, wait: bool = True) -> str:
    """Bring ``job`` to its end, from wherever it is; a finished run returns at once.

    Returns the state: ``done`` or ``diverged``.

    Raises:
        RunBusy: another process makes it and ``wait`` is false.
        UserError: the data or a setting turns out not to fit, or a file of the run is missing,
            damaged or of another run; nothing was written.
        Interrupted: the process was asked to stop; the run has saved and can be resumed.
    """
    if (state := job.state()) in FINISHED:
        if problems := job.directory.problems():
            path = job.directory.path
            raise UserError(f"{path}: {'; '.join(problems)}; remove it to make the run anew")
        return str(state)
    threads_before = torch.get_num_threads()
    try:
        return _train(job, wait)
    finally:
        torch.set_num_threads(threads_before)


def _train(job: Job, wait: bool) -> str:
    config, directory = job.config, job.directory
    if not wait and directory.is_locked():  # before data are loaded and a network is made
        raise RunBusy(f"{directory.path}: another process is writing this run")
    torch.set_num_threads(_threads(job))
    keep_freed_memory()
    torch.manual_seed(derive(config.run.seed, "global"))
    if job.device.type == "cuda":
        set_up_cuda(tf32=config.run.tf32, deterministic=config.run.deterministic)
    try:
        trainer, label = trainer_of(config, job.device)
    except Exception as error:  # such as no memory for the network
        if not isinstance(error, UserError):
            record(directory, reason(error), traceback.format_exc(), config.run.steps)
        raise
    _make_folder(directory.path)
    if wait and directory.is_locked():
        print(f"bnexp: waiting for another process that makes {job.id}", file=sys.stderr)
    with directory.lock(wait) as held:
        if (state := job.state()) in FINISHED:
            return str(state)
        if state is not None and config.run.resume == "never":
            raise UserError(
                f"resume: expected auto to go on with {directory.path}, which is there "
                f"unfinished; got never"
            )
        if directory.config_file.exists():
            directory.read_config()  # a damaged one is named now, not when the run is drawn
        plain = {**config.plain, "data": {**config.plain["data"], "label": label}}
        held.create(plain, environment(job.device, job.fingerprint))
        with watched() as stop:
            return Session(config, held, trainer, stop).run()


def _threads(job: Job) -> int:
    """How many threads to use: what the config says; else what the run was started with.

    Sums are taken in another order with another number of threads, so a run that is resumed keeps
    the number it has.
    """
    if job.config.run.threads is not None:
        return job.config.run.threads
    if job.directory.env_file.exists():
        return int(read_json(job.directory.env_file)["threads"])
    return torch.get_num_threads()


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, "it is read-only")
    except OSError as error:
        why = f"{path}: {error.strerror}"
        raise UserError(f"out: expected a folder that can be written; {why}") from None


class Session:
    """One process's stretch of a run: from the checkpoint, if there is one, to the end."""

    def __init__(
        self, config: Config, directory: RunDirectory, trainer: Trainer, stop: Stop
    ) -> None:
        self.config, self.directory, self.trainer, self.stop = config, directory, trainer, stop
        self.checkpoints = Checkpoints(directory)
        out, plain = directory.path.parents[1], directory.read_config()
        self.log = Log(config.logger, out, directory.id, plain)
        self.tables = TableWriter(directory.tables_dir, directory.check)
        self.manifest = directory.read_status().get("tables", {})
        self.number = 0
        self.loss: float | None = None

    def run(self) -> str:
        """Train to the end; returns ``done`` or ``diverged``."""
        try:
            self._resume()
            return self._train()
        except Interrupted:
            raise
        except Exception as error:
            with suppress(OSError, UserError):  # the disk, or the run's lease, may be what failed
                self.directory.log(traceback.format_exc())
                self._status("failed", reason=reason(error))
            raise
        finally:
            self.log.close()

    def _resume(self) -> None:
        """Go back to the last checkpoint."""
        last = self.checkpoints.load(self._warn)
        began, self.manifest = "started", {}
        if last is not None:
            self.number, state, self.manifest = last
            load_state(self.trainer, state)
            self.trainer.seconds.update(self.directory.read_status().get("seconds", {}))
            began = "resumed"
        self._status("running")
        self.tables.restore(self.manifest)
        self.log.replay(self.directory, self.manifest)
        self.directory.log(f"{began} at step {self.number}")

    def _train(self) -> str:
        run, steps = self.config.run, self.trainer.steps
        saved = shown = time.monotonic()
        first, quiet = self.number, not run.progress
        with bar(steps + 1, initial=first, disable=quiet, desc=self.directory.id) as shown_bar:
            for number in range(first, steps + 1):
                self.number = number
                step = self.trainer.step(number, self._record)
                now = time.monotonic()
                if showing := now - shown > STATUS_SECONDS:
                    self.stop.look()
                signum, every = self.stop.signum, run.checkpoint_steps
                saving = (
                    signum is not None
                    or now - saved > 60 * run.checkpoint_minutes
                    or self.tables.buffered > BUFFERED_VALUES
                    or (every is not None and (number + 1) % every == 0)
                )
                if showing or saving or number == steps:
                    self.trainer.sync(self._record)
                    self.loss = float(step.loss)
                if self.trainer.diverged is not None:
                    # It keeps its last checkpoint: cut off before its end, it diverges again.
                    self.number = self.trainer.diverged
                    return self._finish("diverged")
                if showing:
                    shown_bar.set_postfix(loss=f"{self.loss:.4g}", refresh=False)
                    self._status("running")
                    self.log.call("flush")
                    shown = now
                if saving and number < steps:
                    self._save()
                    saved = now
                    if signum is not None:
                        self.directory.log(f"stopped after step {number}")
                        raise Interrupted(signum)
                shown_bar.update()
        self.number = steps
        self._save()
        return self._finish("done")

    def _record(self, rows: Rows) -> None:
        for table, columns in rows.items():
            self.tables.add(table, columns)
        self.log.add(rows)

    def _save(self) -> None:
        """All rows first, then the checkpoint that lists them."""
        self.manifest = self.tables.flush()
        self.checkpoints.save(self.number + 1, state_of(self.trainer), self.manifest)
        self._status("running")

    def _finish(self, state: str) -> str:
        self.manifest = self.tables.flush()
        self._status(state)
        self.directory.log(f"{state} at step {self.number}")
        return state

    def _status(self, state: str, **more: Any) -> None:
        seconds = {name: round(value, 3) for name, value in self.trainer.seconds.items()}
        progress = {"step": self.number, "steps": self.trainer.steps, "seconds": seconds}
        more = {"loss": self.loss, **more} if self.loss is not None else more
        self.directory.write_status(state=state, **progress, tables=self.manifest, **more)

    def _warn(self, text: str) -> None:
        print(f"bnexp: {text}", file=sys.stderr)
        self.directory.log(text)
