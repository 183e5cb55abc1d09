"""One run from its config to its finished run directory: start, resume, skip."""

from __future__ import annotations

import errno
import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from bnexp.config import Config
from bnexp.data import Batches, Dataset, fingerprint, load_dataset
from bnexp.errors import UserError
from bnexp.models import Network, Task, build_model, layer_count
from bnexp.objective import Objective
from bnexp.probes import Rows, Setting, build_probes
from bnexp.registry import expect
from bnexp.runs import RunDirectory, TableWriter, code_hash, run_id, siblings
from bnexp.runs.files import read_json
from bnexp.seeds import derive
from bnexp.training.checkpoint import Checkpoints, random_state, set_random_state
from bnexp.training.environment import environment
from bnexp.training.failures import log, reason, record
from bnexp.training.interrupts import Interrupted, Stop, watched
from bnexp.training.loop import Trainer
from bnexp.training.memory import keep_freed_memory
from bnexp.training.precision import cast, dtype_of, set_up_cuda

STATUS_SECONDS = 2.0
"""How often a run says how far it is. Rows are written with each checkpoint."""

BUFFERED_VALUES = 1 << 22
"""So many values of tables are held in memory, 32 MB as doubles, before a checkpoint is made."""

EVALUATION_BATCH = 1000
"""Images per pass in evaluation, where the batch size changes nothing but the speed."""

SYNC_EVERY = {"cpu": 1, "cuda": 100}
"""Steps between two fetches of the losses, by device: on a GPU the host waits for them."""

FINISHED = ("done", "diverged")
"""The states of a run that has its result."""


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
        """The run's id."""
        return self.directory.path.name

    def state(self) -> str | None:
        """What the run directory says of it; None before it was started."""
        state = self.directory.read_status().get("state")
        return None if state is None else str(state)

    def problems(self) -> list[str]:
        """What the tables of a finished run lack or have too much, in words."""
        return self.directory.problems()


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
    runs = Path(config.run.out).expanduser() / "runs"
    path = runs / run_id(plain, content, code_hash(modules(config)))
    job = Job(replace(config, plain=plain), device, content, RunDirectory(path))
    return job if path.exists() else replace(job, stale=[p.name for p in siblings(runs, job.id)])


def modules(config: Config) -> list[str]:
    """The modules whose code makes the run's numbers, before what they import."""
    chosen = [config.model, config.norm, config.data, *config.probes.values()]
    return sorted({"bnexp.training.loop", __name__, *(_module(one.item) for one in chosen)})


def _module(item: Any) -> str:
    return str(getattr(item, "__module__", type(item).__module__))


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        have = torch.cuda.device_count()
        raise UserError(f"device: expected one that is here; got {name} ({have} CUDA devices)")
    return device


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
        if problems := job.problems():
            path = job.directory.path
            raise UserError(f"{path}: {'; '.join(problems)}; remove it to make the run anew")
        return str(state)
    with open_run(job, wait) as session:
        return str(job.state()) if session is None else session.run()


@contextmanager
def open_run(job: Job, wait: bool = True) -> Iterator[Session | None]:
    """Within it the run is this process's to make; None where another one finished it meanwhile.

    Raises:
        UserError: as `train`.
    """
    config = job.config
    threads_before = torch.get_num_threads()
    torch.set_num_threads(_threads(job))
    keep_freed_memory()
    torch.manual_seed(derive(config.run.seed, "global"))
    if job.device.type == "cuda":
        set_up_cuda(tf32=config.run.tf32, deterministic=config.run.deterministic)
    try:
        try:
            trainer, label = trainer_of(config, job.device)
        except UserError:
            raise
        except Exception as error:  # such as no memory for the network
            record(job.directory, reason(error), traceback.format_exc(), config.run.steps)
            raise
        _make_folder(job.directory.path)
        if wait and job.directory.is_locked():
            print(f"bnexp: waiting for another process that makes {job.id}", file=sys.stderr)
        with job.directory.lock(wait) as directory:
            if (state := job.state()) in FINISHED:
                yield None
                return
            if state is not None and config.run.resume == "never":
                raise UserError(
                    f"resume: expected auto to go on with {job.directory.path}, which is there "
                    f"unfinished; got never"
                )
            if directory.config_file.exists():
                directory.read_config()  # a damaged one is named now, not when the run is drawn
            plain = {**config.plain, "data": {**config.plain["data"], "label": label}}
            directory.create(plain, environment(job.device, job.fingerprint))
            with watched() as stop:
                yield Session(replace(job, directory=directory), trainer, stop)
    finally:
        torch.set_num_threads(threads_before)


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


def trainer_of(config: Config, device: torch.device) -> tuple[Trainer, str]:
    """The trainer of a run at step 0, and what its data are called."""
    run, optim, plain = config.run, config.optim, config.plain
    dataset = load_dataset({**plain["data"]}, run.seed_data)
    dtype = dtype_of(run.precision)
    augment = bool(plain["data"].get("augment"))
    batches = Batches(dataset, run.batch_size, run.seed_order, device, dtype, augment)
    model = network_of(config, dataset.classes, device)
    loss = str(plain["model"]["loss"])
    setting = Setting(
        model=model,
        objective=Objective(loss, optim.weight_decay, optim.decay),
        steps=run.steps,
        seed=run.seed,
        evaluation=lambda split: _evaluation(dataset, batches, split),
    )
    optimizer = torch.optim.SGD(
        model.optimised(), lr=optim.lr, momentum=optim.momentum, foreach=True
    )
    probes = build_probes(plain["probes"], setting)
    trainer = Trainer(setting, batches, optimizer, probes, run.steps, SYNC_EVERY[device.type])
    return trainer, dataset.label


def network_of(config: Config, classes: int | None, device: torch.device) -> Network:
    """The run's network at initialisation, on ``device`` in the run's precision."""
    model, norm, run = config.model, config.norm, config.run
    task = Task() if classes is None else Task(classes=classes)
    network = build_model(model.name, model.options, norm.name, norm.options, task, run.seed_init)
    network = cast(network, run.precision, device)
    if classes is not None:  # images: the layout that convolutions are fastest in
        network = network.to(memory_format=torch.channels_last)
    if run.compile:
        network.compiled()
    return network


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
        self.checkpoints = Checkpoints(job.directory.path, job.id, job.directory.check)
        self.tables = TableWriter(job.directory.tables_dir, job.directory.check)
        self.number = 0

    def run(self) -> str:
        """Train to the end; returns ``done`` or ``diverged``."""
        try:
            self.number = self._resume()
            return self._train(self.number)
        except (Interrupted, KeyboardInterrupt):
            raise
        except Exception as error:
            with suppress(OSError, UserError):  # the disk, or the run's lease, may be what failed
                self._say(traceback.format_exc())
                self._status("failed", self.number, reason=reason(error))
            raise

    def _resume(self) -> int:
        """Go back to the last checkpoint; returns the step to make next."""
        trainer = self.trainer
        last = self.checkpoints.load(self._warn)
        first = 0
        manifest: dict[str, Any] = {}
        if last is not None:
            first, state, manifest = last
            load_state(trainer, state)
            trainer.seconds.update(self.directory.read_status().get("seconds", {}))
        self._status("running", first, manifest=manifest)
        self.tables.restore(manifest)
        self._say(f"{'resumed' if first else 'started'} at step {first}")
        return first

    def _train(self, first: int) -> str:
        config, steps = self.job.config, self.trainer.steps
        saved = shown = time.monotonic()
        with tqdm(
            total=steps + 1,
            initial=first,
            desc=self.job.id,
            unit="step",
            disable=not config.run.progress,
            file=sys.stderr,
            mininterval=0.5,
            dynamic_ncols=True,
        ) as bar:
            for number in range(first, steps + 1):
                self.number = number
                step = self.trainer.step(number, self._record)
                now = time.monotonic()
                if showing := now - shown > STATUS_SECONDS:
                    self.stop.look()
                every = config.run.checkpoint_steps
                late = now - saved > 60 * config.run.checkpoint_minutes
                full = self.tables.buffered > BUFFERED_VALUES
                signum = self.stop.signum
                due = bool(every and (number + 1) % every == 0)
                saving = signum is not None or late or full or due
                if showing or saving or number == steps:
                    self.trainer.sync(self._record)
                if self.trainer.diverged is not None:
                    return self._finish("diverged", self.trainer.diverged)
                if showing:
                    bar.set_postfix(loss=f"{float(step.loss):.4g}", refresh=False)
                    self._status("running", number)
                    shown = now
                if saving and number < steps:
                    self._save(number + 1)
                    saved = now
                    if signum is not None:
                        self._say(f"stopped after step {number}")
                        raise Interrupted(signum)
                bar.update()
        self._save(steps + 1)
        return self._finish("done", steps)

    def _record(self, rows: Rows) -> None:
        for table, columns in rows.items():
            self.tables.add(table, columns)

    def _save(self, following: int) -> None:
        """All rows first, then the checkpoint that lists them."""
        manifest = self.tables.flush()
        self.checkpoints.save(following, state_of(self.trainer), manifest)
        self._status("running", following - 1, manifest=manifest)

    def _finish(self, state: str, number: int) -> str:
        # A diverged run keeps its last checkpoint: cut off before this, it diverges again.
        self._status(state, number, manifest=self.tables.flush())
        self._say(f"{state} at step {number}")
        return state

    def _status(
        self, state: str, number: int, manifest: dict[str, Any] | None = None, **more: Any
    ) -> None:
        if manifest is None:
            manifest = self.directory.read_status().get("tables", {})
        seconds = {name: round(value, 3) for name, value in self.trainer.seconds.items()}
        self.directory.write_status(
            state=state,
            step=number,
            steps=self.trainer.steps,
            seconds=seconds,
            tables=manifest,
            **more,
        )

    def _warn(self, text: str) -> None:
        print(f"bnexp: {text}", file=sys.stderr)
        self._say(text)

    def _say(self, text: str) -> None:
        log(self.directory, text)


def state_of(trainer: Trainer) -> dict[str, Any]:
    """What the next step depends on: parameters, buffers, optimiser, probes, random state."""
    return {
        "model": trainer.setting.model.state_dict(),
        "optimizer": trainer.optimizer.state_dict(),
        "random": random_state(),
        "probes": {probe.name: own for probe in trainer.probes if (own := probe.state())},
    }


def load_state(trainer: Trainer, state: dict[str, Any]) -> None:
    """Put ``trainer`` back to what `state_of` gave."""
    trainer.setting.model.load_state_dict(state["model"])
    trainer.optimizer.load_state_dict(state["optimizer"])
    set_random_state(state["random"])
    for probe in trainer.probes:
        probe.load_state(state["probes"].get(probe.name, {}))
