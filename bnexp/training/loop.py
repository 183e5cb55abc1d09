"""The training loop: it knows no probe by name."""

from __future__ import annotations

import copy
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from bnexp.data.batches import Batches
from bnexp.models import captured
from bnexp.norms import noises
from bnexp.objective import Pass, norm
from bnexp.probes import Probe, Rows, Setting, Step
from bnexp.probes.base import leaving_no_trace
from bnexp.training.graphs import GraphedStep
from bnexp.training.waiting import Waiting


class Passed(NamedTuple):
    """A pass, the norm of its gradient, and pre-activations by layer, ``(batch, units)``."""

    done: Pass
    grad_norm: Tensor
    activations: dict[int, Tensor]


@dataclass
class Trainer:
    """Trains ``setting.model`` on ``batches`` and lets ``probes`` measure.

    Steps 0, .., ``steps`` - 1 each make one update; at step ``steps`` the trained network is
    measured once more, with an update that is undone, so a schedule of every 100 has both ends.
    ``seconds`` adds up the time of ``training`` and of each probe.

    A loss is looked at every ``look_every`` steps: on a GPU looking makes the host wait. A run is
    over at the step that diverged, whenever that is noticed: no row of a later step is recorded.
    With ``graphs`` a step that no probe reads activations of is made by `GraphedStep`.
    """

    setting: Setting
    batches: Batches
    optimizer: torch.optim.Optimizer
    probes: Sequence[Probe]
    steps: int
    look_every: int = 1
    graphs: bool = False
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    diverged: int | None = field(default=None, init=False)
    """The step whose loss or gradient is not finite; None as long as none was seen."""

    def __post_init__(self) -> None:
        self._noises = noises(self.setting.model)  # once: walking the modules takes long
        self._waiting = Waiting()
        self._graphed = GraphedStep(self._passed, self._updated) if self.graphs else None
        self._update = self._graphed.update if self._graphed else self._updated
        self.joined: Callable[[int], Passed] | None = None
        """What makes the pass of a step instead of the network's own forward pass."""

    def step(self, number: int, record: Callable[[Rows], None]) -> Step:
        """Make training step ``number``; give every due probe's rows to ``record``, if not later.

        Returns what the step saw. If it is seen that the step diverged, only passive probes
        measured and no update was made.
        """
        begin = time.perf_counter()
        spent = sum(self.seconds.values())
        due = [probe for probe in self.probes if probe.due(number)]
        for noise in self._noises:
            noise.at_step(number)
        seen = self._pass(number, due)
        self._waiting.add(seen)
        looking = number % self.look_every == 0 or any(map(_looks, due))
        if looking:
            self.look(record)
        finite = self.diverged is None
        active = [probe for probe in due if finite or (probe.passive and number == self.diverged)]
        for probe in sorted(active, key=lambda probe: not probe.passive):
            if not probe.passive:
                seen.activations.clear()  # only passive ones read them; the others need the memory
            self._measure(probe, probe.before_update, seen)
        after = [probe for probe in active if probe.wants_update]
        if finite and (after or number < self.steps):
            if after:
                seen.params = {name: p.detach().clone() for name, p in seen.params.items()}
            with self._undone() if number == self.steps else nullcontext():
                self._update(seen.grads)
                seen.new_params = self.setting.model.own_params
                for probe in after:
                    self._measure(probe, probe.after_update, seen)
        if looking:
            self._hand_over(record)
        elapsed = time.perf_counter() - begin
        self.seconds["training"] += elapsed - (sum(self.seconds.values()) - spent)
        return seen

    def look(self, record: Callable[[Rows], None]) -> None:
        """See whether one of the steps diverged that were not looked at yet; `diverged` tells.

        Their rows are given to ``record``, up to that step.
        """
        if self.diverged is None:
            self.diverged = self._waiting.diverged()
        self._hand_over(record)

    def _hand_over(self, record: Callable[[Rows], None]) -> None:
        for rows in self._waiting.take_rows(self.diverged):
            record(rows)

    def _pass(self, number: int, due: Sequence[Probe]) -> Step:
        """Forward and backward on the step's batch, keeping the activations that probes read."""
        model = self.setting.model
        batch = self.batches.at(number)
        if self.joined is not None:
            done, grad_norm, activations = self.joined(number)
        else:
            layers = _read_by(due)
            graphed = self._graphed if number < self.steps and not layers else None
            with captured(model, layers) as activations:
                passed = graphed.passed if graphed else self._passed
                done, grad_norm = passed(batch.inputs, batch.targets)
        return Step(
            number=number,
            inputs=batch.inputs,
            targets=batch.targets,
            loss=done.loss,
            data_loss=done.data_loss,
            outputs=done.outputs,
            grads=done.grads,
            grad_norm=grad_norm,
            params=model.own_params,
            activations=activations,
        )

    def read_at(self, number: int) -> list[int]:
        """The layers whose pre-activations are read at step ``number``."""
        return _read_by([probe for probe in self.probes if probe.due(number)])

    def _passed(self, inputs: Tensor, targets: Tensor) -> tuple[Pass, Tensor]:
        done = self.setting.objective.loss_and_grads(self.setting.model, inputs, targets)
        return done, norm(done.grads.values())

    def _measure(self, probe: Probe, measure: Callable[[Step], Rows], seen: Step) -> None:
        begin = time.perf_counter()
        with nullcontext() if probe.passive else leaving_no_trace(self.setting.model):
            self._waiting.add_rows(seen.number, measure(seen))
        self.seconds[probe.name] += time.perf_counter() - begin

    def _updated(self, grads: dict[str, Tensor]) -> None:
        """One step of the optimiser along ``grads``; leaves no ``.grad`` behind."""
        for name, parameter in self.setting.model.own_params.items():
            parameter.grad = grads[name]
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    @contextmanager
    def _undone(self) -> Iterator[None]:
        """Within it the network may be updated; after it, network and optimiser are as before."""
        state = copy.deepcopy(self.optimizer.state_dict())
        with leaving_no_trace(self.setting.model):
            yield
        self.optimizer.load_state_dict(state)


def _read_by(probes: Iterable[Probe]) -> list[int]:
    return sorted({layer for probe in probes for layer in probe.captures()})


def _looks(probe: Probe) -> bool:
    """Whether the probe may only measure a step that is known not to have diverged."""
    return probe.wants_update or not probe.passive
