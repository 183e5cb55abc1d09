"""One run from its config to its finished run directory: start, resume, skip."""

from __future__ import annotations

import errno
import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from bnexp.config.schema import Config
from bnexp.data import Dataset, fingerprint, load_dataset
from bnexp.data.batches import Batches
from bnexp.errors import UserError
from bnexp.models import build_model, layer_count
from bnexp.models.streams import streamable
from bnexp.objective import Objective
from bnexp.probes import Rows, Setting, build_probes, check_probes
from bnexp.runs import RunDirectory, TableWriter, run_id
from bnexp.runs.files import read_json
from bnexp.seeds import derive
from bnexp.training import graphs
from bnexp.training.checkpoint import Checkpoints
from bnexp.training.environment import environment
from bnexp.training.failures import log, reason, record
from bnexp.training.interrupts import Interrupted, Stop, watched
from bnexp.training.joined import Joined, joinable
from bnexp.training.loop import Trainer
from bnexp.training.memory import keep_freed_memory
from bnexp.training.precision import cast, dtype_of, set_up_cuda

STATUS_SECONDS = 2.0
"""How often a run says how far it is. Rows are written with each checkpoint."""

EVALUATION_BATCH = 1000
"""Images per pass in evaluation, where the batch size changes nothing but the speed."""

LOOK_EVERY = {"cpu": 1, "cuda": 100}
"""Steps between two looks at the losses, by device: on a GPU the host has to wait to see them."""

FINISHED = ("done", "diverged")
"""The states of a run that has its result."""


@dataclass(frozen=True)
class Job:
    """A run that was asked for: its checked config, its device and where it lies."""

    config: Config
    device: torch.device
    fingerprint: str
    directory: RunDirectory

    @property
    def id(self) -> str:
        """The run's id."""
        return self.directory.path.name

    def state(self) -> str | None:
        """What the run directory says of it; None before it was started."""
        state = self.directory.read_status().get("state")
        return None if state is None else str(state)


def identify(config: Config) -> Job:
    """The run that ``config`` asks for. Nothing is written.

    Raises:
        UserError: a probe, the device or the data is not as the config says.
    """
    check_probes(config.probes, layer_count(config.model))
    device = _device(config.run.device)
    plain = {**config.plain, "device": str(device)}
    content = fingerprint(plain["data"])
    path = Path(config.run.out) / "runs" / run_id(plain, content)
    return Job(replace(config, plain=plain), device, content, RunDirectory(path))


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        have = torch.cuda.device_count()
        raise UserError(f"device: expected one that is here; got {name} ({have} CUDA devices)")
    return device


def train(job: Job) -> str:
    """Bring ``job`` to its end, from wherever it is; a finished run returns at once.

    Returns the state: ``done`` or ``diverged``.

    Raises:
        UserError: the data or a setting turns out not to fit; nothing was written.
        Interrupted: the process was asked to stop; the run has saved and can be resumed.
    """
    if (state := job.state()) in FINISHED:
        return str(state)
    with begun(job) as trainer:
        if trainer is None:
            return str(job.state())
        with watched() as stop:
            return Session(job, trainer, stop).run()


@contextmanager
def begun(job: Job) -> Iterator[Trainer | None]:
    """Within it the run is this process's to make; None where another one finished it meanwhile.

    Raises:
        UserError: as `train`.
    """
    config = job.config
    torch.set_num_threads(_threads(job))
    keep_freed_memory()
    torch.manual_seed(derive(config.run.seed, "global"))
    if job.device.type == "cuda":
        set_up_cuda(tf32=config.run.tf32, deterministic=config.run.deterministic)
    try:
        trainer, label = trainer_of(job)
    except UserError:
        raise
    except Exception as error:  # such as no memory for the network
        record(job.directory, reason(error), traceback.format_exc(), config.run.steps)
        raise
    _make_folder(job.directory.path)
    if job.directory.is_locked():
        print(f"bnexp: waiting for another process that makes {job.id}", file=sys.stderr)
    with job.directory.lock():
        if (state := job.state()) in FINISHED:
            yield None
            return
        if state is not None and config.run.resume == "never":
            raise UserError(
                f"resume: expected auto to go on with {job.directory.path}, which is there "
                f"unfinished; got never"
            )
        if job.directory.config_file.exists():
            job.directory.read_config()  # a damaged one is named now, not when the run is drawn
        plain = {**config.plain, "data": {**config.plain["data"], "label": label}}
        if _together(job) and joinable([trainer]):
            Joined([trainer])
        joined = {"joined": trainer.joined is not None}
        job.directory.create(plain, {**environment(job.device, job.fingerprint), **joined})
        yield trainer


def _together(job: Job) -> bool:
    """Whether passes are to be joined; a run that is resumed goes on as it began."""
    if job.directory.env_file.exists():
        return bool(read_json(job.directory.env_file).get("joined"))
    return job.config.run.together


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
        raise UserError(
            f"out: expected a folder that can be written; {path}: {error.strerror}"
        ) from None


def trainer_of(job: Job) -> tuple[Trainer, str]:
    """The trainer of ``job`` at step 0, and what the data are called."""
    config, run = job.config, job.config.run
    data = {**job.config.plain["data"], "progress": run.progress}
    dataset = load_dataset(data, run.seed)
    dtype = dtype_of(run.precision)
    batches = Batches(dataset, run.batch_size, run.seed, job.device, dtype, config.data.augment)
    model = build_model(config.model, config.norm, classes=dataset.classes, seed=run.seed)
    model = cast(model, run.precision, job.device)
    if dataset.classes is not None:  # images: the layout that convolutions are fastest in
        model = model.to(memory_format=torch.channels_last)
    optim = config.optim
    setting = Setting(
        model=model,
        objective=Objective(config.model.loss, optim.weight_decay, optim.decay),
        lr=optim.lr,
        steps=run.steps,
        seed=run.seed,
        evaluation=lambda split: _evaluation(dataset, batches, split),
    )
    optimizer = torch.optim.SGD(
        model.parameters(), lr=optim.lr, momentum=optim.momentum, foreach=True
    )
    probes = build_probes(config.probes, setting)
    trainer = Trainer(
        setting,
        batches,
        optimizer,
        probes,
        run.steps,
        look_every=LOOK_EVERY[job.device.type],
        graphs=graphs.wanted(run.cuda_graphs, model, job.device, small=streamable(model)),
    )
    return trainer, dataset.label


def _evaluation(dataset: Dataset, batches: Batches, split: str) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of a split that is not trained on; none where the data has no such split."""
    if getattr(dataset, split) is not None:
        for batch in batches.split(split, EVALUATION_BATCH):
            yield batch.inputs, batch.targets


class Session:
    """One process's stretch of a run: from the checkpoint, if there is one, to the end."""

    def __init__(self, job: Job, trainer: Trainer, stop: Stop) -> None:
        self.job, self.trainer, self.stop = job, trainer, stop
        self.directory = job.directory
        self.checkpoints = Checkpoints(job.directory.path)
        self.tables = TableWriter(job.directory.tables_dir)
        self.number = 0
        self.state = ""

    def run(self) -> str:
        """Train to the end; returns ``done`` or ``diverged``."""
        for _ in self.steps():
            pass
        return self.state

    def steps(self) -> Iterator[int]:
        """Train to the end; gives the number of each step before it is made."""
        self.number = self._resume()
        try:
            yield from self._steps(self.number)
        except (Interrupted, KeyboardInterrupt):
            raise
        except Exception as error:
            with suppress(OSError):  # the disk may be what failed
                self._say(traceback.format_exc())
                self._status("failed", self.number, reason=reason(error))
            raise

    def _resume(self) -> int:
        """Go back to the last checkpoint; returns the step to make next."""
        model, optimizer = self.trainer.setting.model, self.trainer.optimizer
        first = self.checkpoints.load(model, optimizer, self._warn, self.trainer.probes)
        if first:
            self.trainer.seconds.update(self.directory.read_status().get("seconds", {}))
        self.tables.truncate(first)
        self.tables.check()
        self._say(f"{'resumed' if first else 'started'} at step {first}")
        return first

    def _steps(self, first: int) -> Iterator[int]:
        config, steps = self.job.config, self.trainer.steps
        saved = told = time.monotonic()
        self._status("running", first)
        bar = tqdm(
            total=steps + 1,
            initial=first,
            desc=self.job.id,
            unit="step",
            disable=not config.run.progress,
            file=sys.stderr,
            mininterval=0.5,
            dynamic_ncols=True,
        )
        with bar:
            for number in range(first, steps + 1):
                self.number = number
                yield number
                seen = self.trainer.step(number, self._record)
                now = time.monotonic()
                if telling := now - told > STATUS_SECONDS:
                    self.stop.look()
                every = config.run.checkpoint_steps
                late = now - saved > 60 * config.run.checkpoint_minutes
                signum = self.stop.signum
                saving = signum is not None or late or bool(every and (number + 1) % every == 0)
                if telling or saving or number == steps:
                    self.trainer.look(self._record)
                if self.trainer.diverged is not None:
                    self.tables.flush()
                    self._finish("diverged", self.trainer.diverged)
                    return
                if telling:
                    bar.set_postfix(loss=f"{float(seen.loss):.4g}", refresh=False)
                    self._status("running", number)
                    told = now
                if saving and number < steps:
                    self._save(number + 1)
                    saved = now
                    if signum is not None:
                        self._say(f"stopped after step {number}")
                        raise Interrupted(signum)
                bar.update()
        self._save(steps + 1)
        self._finish("done", steps)

    def _record(self, rows: Rows) -> None:
        for table, columns in rows.items():
            self.tables.add(table, columns)

    def _save(self, following: int) -> None:
        """All rows first, then the checkpoint that says they are there."""
        self.tables.flush()
        model, optimizer = self.trainer.setting.model, self.trainer.optimizer
        self.checkpoints.save(following, model, optimizer, self.trainer.probes)
        self._status("running", following - 1)

    def _finish(self, state: str, number: int) -> None:
        # A diverged run keeps its last checkpoint: cut off before this, it diverges again.
        self._status(state, number)
        self._say(f"{state} at step {number}")
        self.state = state

    def _status(self, state: str, number: int, **more: Any) -> None:
        seconds = {name: round(value, 3) for name, value in self.trainer.seconds.items()}
        self.directory.write_status(
            state=state, step=number, steps=self.trainer.steps, seconds=seconds, **more
        )

    def _warn(self, text: str) -> None:
        print(f"bnexp: {text}", file=sys.stderr)
        self._say(text)

    def _say(self, text: str) -> None:
        log(self.directory, text)
