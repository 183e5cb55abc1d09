"""The training loop: it knows no probe by name."""

from __future__ import annotations

import copy
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

from bnexp.data.batches import Batches
from bnexp.norms import noises
from bnexp.probes import Probe, Rows, Setting, Step, leaving_no_trace
from bnexp.probes.base import to_floats


@dataclass
class Trainer:
    """Trains ``setting.model`` on ``batches`` and lets ``probes`` measure.

    Steps 0, .., ``steps`` - 1 each make one update; at step ``steps`` the trained network is
    measured once more, with an update that is undone, so a schedule of every 100 has both ends.
    That step has the learning rate of the last update; ``schedule`` sets those of the others.
    ``seconds`` adds up the time of ``training`` and of each probe.

    Losses are fetched every ``sync_every`` steps: on a GPU the host waits for them. A run ends at
    the step that diverged, whenever that is noticed: no row of a later step is recorded.
    """

    setting: Setting
    batches: Batches
    optimizer: torch.optim.Optimizer
    probes: Sequence[Probe]
    steps: int
    sync_every: int = 1
    schedule: LRScheduler | None = None
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    diverged: int | None = field(default=None, init=False)
    """The step whose loss or gradient is not finite; None as long as there is none."""

    def __post_init__(self) -> None:
        self._noises = noises(self.setting.model)
        self._watched: list[tuple[int, Tensor]] = []  # losses and gradient norms, by step
        self._rows: list[tuple[int, Rows]] = []

    def step(self, number: int, record: Callable[[Rows], None]) -> Step:
        """Make training step ``number``; pass due probes' rows to ``record``, at the latest sync.

        If the step is found to have diverged, only passive probes measure and there is no update.
        """
        begin = time.perf_counter()
        probing = sum(self.seconds.values())
        due = [probe for probe in self.probes if probe.due(number)]
        for noise in self._noises:
            noise.at_step(number)
        step = self._forward_backward(number, due)
        self._watched += [(number, step.loss), (number, step.grad_norm)]
        careful = any(probe.wants_update or not probe.passive for probe in due)
        syncing = careful or number % self.sync_every == 0
        if syncing:
            self.sync(record)
        finite = self.diverged is None
        active = [probe for probe in due if finite or (probe.passive and number == self.diverged)]
        for probe in sorted(active, key=lambda probe: not probe.passive):
            if not probe.passive:
                step.activations.clear()  # only passive ones read them; the others need the memory
            self._measure(probe, probe.before_update, step)
        after = [probe for probe in active if probe.wants_update]
        if finite and (after or number < self.steps):
            if after:
                step.params = {name: p.detach().clone() for name, p in step.params.items()}
            with self._undone() if number == self.steps else nullcontext():
                self.setting.model.assign_gradient(step.grads)
                if after:  # optimisers may write to what they are given, as Nesterov's does
                    step.grads = {name: grad.clone() for name, grad in step.grads.items()}
                self.optimizer.step()
                self.optimizer.zero_grad(set_to_none=True)
                step.new_params = self.setting.model.own_params
                for probe in after:
                    self._measure(probe, probe.after_update, step)
            if self.schedule is not None and number < self.steps - 1:
                self.schedule.step()
        if syncing:
            self._record(record)
        elapsed = time.perf_counter() - begin
        self.seconds["training"] += elapsed - (sum(self.seconds.values()) - probing)
        return step

    def sync(self, record: Callable[[Rows], None]) -> None:
        """Fetch the losses since the last sync; `diverged` tells. Rows go to ``record``."""
        if self.diverged is None:
            values = to_floats([value for _, value in self._watched])
            pairs = zip(self._watched, values, strict=True)
            bad = [number for (number, _), value in pairs if not math.isfinite(value)]
            self.diverged = min(bad, default=None)
            self._watched.clear()
        self._record(record)

    def _record(self, record: Callable[[Rows], None]) -> None:
        """Pass the rows since the last sync on, with all that is on the device fetched at once."""
        last = math.inf if self.diverged is None else self.diverged
        made = _joined(rows for number, rows in self._rows if number <= last)
        self._rows.clear()
        tables = [columns for rows in made for columns in rows.values()]
        on_device = [
            (columns, name)
            for columns in tables
            for name, column in columns.items()
            if len(column) and isinstance(column[0], Tensor)
        ]
        numbers = iter(to_floats([value for columns, name in on_device for value in columns[name]]))
        for columns, name in on_device:
            columns[name] = [next(numbers) for _ in columns[name]]
        for rows in made:
            record(rows)

    def _forward_backward(self, number: int, due: Iterable[Probe]) -> Step:
        """The objective and its gradient on the step's batch, with what probes capture."""
        model, batch = self.setting.model, self.batches.at(number)
        layers = sorted({layer for probe in due for layer in probe.captures()})
        here = model.evaluate(self.setting.objective, *batch, capture=layers)
        return Step(
            number=number,
            lr=float(self.optimizer.param_groups[0]["lr"]),
            inputs=batch.inputs,
            targets=batch.targets,
            loss=here.loss,
            data_loss=here.data_loss,
            accuracy=here.accuracy,
            grads=here.grads,
            grad_norm=here.grad_norm,
            params=model.own_params,
            activations=here.activations,
        )

    def _measure(self, probe: Probe, measure: Callable[[Step], Rows], step: Step) -> None:
        begin = time.perf_counter()
        with nullcontext() if probe.passive else leaving_no_trace(self.setting.model):
            self._rows.append((step.number, measure(step)))
        self.seconds[probe.name] += time.perf_counter() - begin

    @contextmanager
    def _undone(self) -> Iterator[None]:
        """Within it the network may be updated; after it, network and optimiser are as before."""
        state = copy.deepcopy(self.optimizer.state_dict())
        with leaving_no_trace(self.setting.model):
            yield
        self.optimizer.load_state_dict(state)


def _joined(made: Iterable[Rows]) -> list[Rows]:
    """``made``, less empty ones, with single rows of a table put together: each addition to a table
    takes time."""
    joined: list[Rows] = []
    last: dict[str, dict[str, Any]] = {}
    for table, columns in (item for rows in made for item in rows.items()):
        single = all(type(column) is list and len(column) == 1 for column in columns.values())
        if single and last.get(table, {}).keys() == columns.keys():
            for name, column in columns.items():
                last[table][name] += column
        else:
            last[table] = {name: [*column] for name, column in columns.items()} if single else {}
            joined.append({table: last[table] or columns})
    return joined
