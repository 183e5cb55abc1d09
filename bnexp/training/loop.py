"""The training loop: it knows no probe by name."""

from __future__ import annotations

import copy
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor

from bnexp.data.batches import Batches
from bnexp.models import captured
from bnexp.norms import noises
from bnexp.objective import norm
from bnexp.probes import Probe, Rows, Setting, Step
from bnexp.probes.base import leaving_no_trace


@dataclass
class Trainer:
    """Trains ``setting.model`` on ``batches`` and lets ``probes`` measure.

    Steps 0, .., ``steps`` - 1 each make one update; at step ``steps`` the trained network is
    measured once more, with an update that is undone, so a schedule of every 100 has both ends.
    ``seconds`` adds up the time of ``training`` and of each probe.
    """

    setting: Setting
    batches: Batches
    optimizer: torch.optim.Optimizer
    probes: Sequence[Probe]
    steps: int
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    def __post_init__(self) -> None:
        self._noises = noises(self.setting.model)  # once: walking the modules takes long

    def step(self, number: int, record: Callable[[Rows], None]) -> Step:
        """Make training step ``number``; give every due probe's rows to ``record``.

        Returns what the step saw. If its loss or gradient is not finite (see ``diverged``), only
        passive probes measured and no update was made.
        """
        begin = time.perf_counter()
        spent = sum(self.seconds.values())
        due = [probe for probe in self.probes if probe.due(number)]
        for noise in self._noises:
            noise.at_step(number)
        seen = self._pass(number, due)
        finite = not diverged(seen)
        active = [probe for probe in due if finite or probe.passive]
        for probe in sorted(active, key=lambda probe: not probe.passive):
            if not probe.passive:
                seen.activations.clear()  # only passive ones read them; the others need the memory
            self._measure(probe, probe.before_update, seen, record)
        after = [probe for probe in active if probe.wants_update]
        if finite and (after or number < self.steps):
            if after:
                seen.params = {name: p.detach().clone() for name, p in seen.params.items()}
            with self._undone() if number == self.steps else nullcontext():
                self._update(seen.grads)
                seen.new_params = self.setting.model.own_params
                for probe in after:
                    self._measure(probe, probe.after_update, seen, record)
        elapsed = time.perf_counter() - begin
        self.seconds["training"] += elapsed - (sum(self.seconds.values()) - spent)
        return seen

    def _pass(self, number: int, due: Sequence[Probe]) -> Step:
        """Forward and backward on the step's batch, keeping the activations that probes read."""
        model = self.setting.model
        batch = self.batches.at(number)
        layers = sorted({layer for probe in due for layer in probe.captures()})
        with captured(model, layers) as activations:
            done = self.setting.objective.loss_and_grads(model, batch.inputs, batch.targets)
        return Step(
            number=number,
            inputs=batch.inputs,
            targets=batch.targets,
            loss=done.loss,
            data_loss=done.data_loss,
            outputs=done.outputs,
            grads=done.grads,
            grad_norm=norm(done.grads.values()),
            params=model.own_params,
            activations=activations,
        )

    def _measure(
        self,
        probe: Probe,
        measure: Callable[[Step], Rows],
        seen: Step,
        record: Callable[[Rows], None],
    ) -> None:
        begin = time.perf_counter()
        with nullcontext() if probe.passive else leaving_no_trace(self.setting.model):
            record(measure(seen))
        self.seconds[probe.name] += time.perf_counter() - begin

    def _update(self, grads: dict[str, Tensor]) -> None:
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


def diverged(seen: Step) -> bool:
    """Whether the step's loss or gradient is not finite."""
    return not bool(torch.isfinite(seen.loss) & torch.isfinite(seen.grad_norm))
