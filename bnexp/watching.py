"""The suite's probes in a training loop of the user's own, as a run directory: `watch`."""

from __future__ import annotations

import atexit
import math
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from bnexp.measuring import Meter, Probes
from bnexp.models.module import Forward, LossFn
from bnexp.models.network import Layer
from bnexp.probes import Rows
from bnexp.registry import at_least, expect
from bnexp.runs import RunDirectory, TableWriter, code_hash, run_id
from bnexp.training.machine import environment

FLUSH_SECONDS = 60.0
"""How often tables and status are written: what a killed process loses at most."""

NORMS = {"batch": "bn", "layer": "layer", "group": "group", "instance": "instance", "rms": "rms"}
"""What a network is said to be normalised by, by the class of its modules; the first that fits."""


def watch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss_fn: LossFn,
    every: int = 100,
    probes: Probes = ("train", "landscape", "gradient_shift", "curvature", "moments"),
    out: str | Path = "outputs",
    layers: Sequence[str | Layer] | None = None,
    *,
    forward: Forward | None = None,
    autocast: torch.dtype | None = None,
    seed: int = 0,
    config: Mapping[str, Any] | None = None,
) -> Watcher:
    """Measure ``model`` every so many steps of a training loop that stays the user's own::

        watcher = watch(model, optimizer, loss_fn, every=100, out="outputs")
        for batch in loader:
            with watcher(batch):
                ...  # forward, backward and optimizer.step(), as before
        watcher.close()

    or ``watcher.before(batch)`` and ``watcher.after()`` around the step. Training stays bit for bit
    what it is without. The update is what the step did to the parameters, by whichever optimiser,
    schedule, loss scale or number of batches, around all of which the two stand. The gradient that
    is measured is that of ``loss_fn`` on ``batch``, in the precision of the parameters unless
    ``autocast`` says otherwise.

    Args:
        optimizer: its learning rate (of the first group) at each step is that of the tables, and
            the landscape's step sizes are multiples of it.
        every: steps from one measurement to the next, from step 0 on.
        out: the run lies in ``out/runs/<id>``, with files as those of ``bnexp train``.
        config: settings to be noted, such as ``{"norm": {"name": "bn"}, "data": {"name": "mnist"},
            "steps": 5000}``; by them runs are told apart, selected and drawn.

    The other arguments are those of `measure`.

    Raises:
        UserError: one line that says which argument was expected to be what; for the model and the
            loss at the first batch.
    """
    at_least("every", every, 1)
    groups = getattr(optimizer, "param_groups", [{}])
    expect(
        "lr" in groups[0],
        "optimizer",
        "a torch optimizer with a learning rate",
        type(optimizer).__name__,
    )
    meter = Meter(model, loss_fn, probes, layers, forward, autocast, seed, every)
    return Watcher(meter, optimizer, every, Path(out).expanduser(), seed, dict(config or {}))


class Watcher:
    """A run that is being watched. ``directory`` is there from the first `before` on."""

    directory: RunDirectory

    def __init__(
        self,
        meter: Meter,
        optimizer: torch.optim.Optimizer,
        every: int,
        out: Path,
        seed: int,
        config: dict[str, Any],
    ) -> None:
        self.meter, self.optimizer, self.every = meter, optimizer, every
        self.number = 0
        """Of the step that comes next, or is being made."""
        self._out, self._seed, self._config, self._steps = out, seed, config, config.get("steps")
        self._open = ExitStack()
        self._seconds: dict[str, float] = defaultdict(float)
        self._within, self._closed, self._flushed = False, False, -math.inf

    def before(self, batch: Any) -> None:
        """To be called before the forward pass of a step, with its batch."""
        expect(not self._closed, "watcher", "before() only until close()", "a call after it")
        expect(not self._within, "watcher", "after() at the end of each step", "before() twice")
        if self.number % self.every == 0:
            begin = time.perf_counter()
            before = getattr(self.meter, "network", None)
            made = self.meter.before(self.number, self._lr(), batch)
            if not hasattr(self, "directory"):
                self._start(batch)
            if self.meter.network is not before:
                self._record([{"layers": self._layers()}])
            self._record(made)
            self._seconds["probes"] += time.perf_counter() - begin
        self._within = True

    def after(self) -> None:
        """To be called after the update."""
        expect(self._within, "watcher", "before(batch) at the start of each step", "after() alone")
        begin = time.perf_counter()
        if self.meter.step is not None:
            self._record(self.meter.after(self.meter.network.own_params))
        self._within = False
        self.number += 1
        if begin - self._flushed > FLUSH_SECONDS:
            self._flush("running")
            self._flushed = begin
        self._seconds["probes"] += time.perf_counter() - begin

    @contextmanager
    def __call__(self, batch: Any) -> Iterator[None]:
        """`before` and `after` of one step."""
        self.before(batch)
        try:
            yield
        except BaseException:  # such as no memory: a step without an update
            self._within, self.meter.step = False, None
            self.number += 1
            raise
        self.after()

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self.close(error)

    def close(self, error: BaseException | None = None) -> None:
        """Write what is left; the run is done, or diverged if its last measured loss was not
        finite, or failed where an ``error`` ended it."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self._at_exit)
        if hasattr(self, "directory"):
            with self._open:
                if self._steps is None:
                    self.directory.write_config({**self._config, "steps": self.number})
                state = "failed" if error else "diverged" if self.meter.diverged else "done"
                self._flush(state, **({"reason": repr(error)} if error else {}))
                self.directory.log(f"{state} after {self.number} steps")

    def _at_exit(self) -> None:
        self.close(getattr(sys, "last_value", None))

    def _lr(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def _layers(self) -> dict[str, Sequence[Any]]:
        """Rows of table ``layers``: at the first step, and where other parameters are trained."""
        paths = self.meter.network.layer_paths
        return {"step": [self.number] * len(paths["layer"]), **paths}

    def _record(self, made: list[Rows]) -> None:
        for table, columns in ((t, c) for rows in made for t, c in rows.items()):
            self._tables.add(table, columns)

    def _flush(self, state: str, **more: Any) -> None:
        manifest = self._tables.flush()
        steps = max(self.number, self._steps or 0)
        seconds = {name: round(value, 3) for name, value in self._seconds.items()}
        progress = {"step": self.number, "steps": steps, "seconds": seconds}
        self.directory.write_status(state=state, **progress, tables=manifest, **more)

    def _start(self, batch: Any) -> None:
        """Make the run directory."""
        network = self.meter.network
        kinds = [type(part).__name__.lower() for part in network.module.modules()]
        norms = [name for kind, name in NORMS.items() if any(f"{kind}norm" in k for k in kinds)]
        group = self.optimizer.param_groups[0]
        plain = {k: v for k, v in group.items() if isinstance(v, bool | int | float | str)}
        lr = float(group.get("initial_lr", group["lr"]))  # a scheduler's peak or start
        sizes = [len(t) for t in tree_leaves(batch) if isinstance(t, Tensor) and t.dim()]
        parameter = next(iter(network.own_params.values()))
        found: dict[str, Any] = {
            "model": {"name": type(network.module).__name__.lower()},
            "norm": {"name": norms[0] if norms else "none"},
            "data": {"name": "own", "label": "own data"},
            "optim": {"name": type(self.optimizer).__name__.lower(), **plain, "lr": lr},
            "probes": self.meter.options,
            "batch_size": sizes[0] if sizes else None,
            "steps": 0,
            "seed": self._seed,
            "device": str(parameter.device),
            "precision": str(parameter.dtype).removeprefix("torch."),
        }
        for key, value in self._config.items():
            section = isinstance(found.get(key), dict)
            words = 'a mapping, such as {"name": ..}'
            expect(not section or isinstance(value, Mapping), f"config.{key}", words, value)
            found[key] = {**found[key], **value} if section else value
        self._config = found
        content = uuid.uuid4().hex  # of two runs with one config neither can be the other
        path = self._out / "runs" / run_id(found, content, code_hash({__name__}))
        self.directory = self._open.enter_context(RunDirectory(path).lock())
        self._tables = TableWriter(self.directory.tables_dir, self.directory.check)
        self.directory.create(found, environment(parameter.device, content))
        atexit.register(self._at_exit)


def lightning_callback(loss_fn: LossFn, **options: Any) -> Any:
    """A callback for ``lightning.Trainer(callbacks=[..])`` that watches the first optimizer.

    ``options`` are those of `watch`. The batch is what ``training_step`` is given, on its device.
    """
    import lightning

    class Watch(lightning.Callback):
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            self.watcher = watch(pl_module, trainer.optimizers[0], loss_fn, **options)

        def on_train_batch_start(self, _trainer: Any, _module: Any, batch: Any, _: int) -> None:
            self.watcher.before(batch)

        def on_train_batch_end(self, *_: Any) -> None:
            self.watcher.after()

        def on_train_end(self, *_: Any) -> None:
            self.watcher.close()

        def on_exception(self, _trainer: Any, _module: Any, exception: BaseException) -> None:
            self.watcher.close(exception)

    return Watch()
