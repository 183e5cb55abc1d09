"""How long a run takes on this machine, from timing a few of its steps."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import torch

from bnexp.models import layer_count
from bnexp.probes import Rows
from bnexp.training.build import trainer_of
from bnexp.training.run import Job


@dataclass
class Estimator:
    """Estimates runs by timing steps without probes, once for runs of the same sizes."""

    threads: int | None = None
    _known: dict[str, float] = field(default_factory=dict)

    def seconds(self, job: Job) -> float:
        """Seconds that ``job`` takes from its start, roughly."""
        config, plain = job.config, job.config.plain
        sizes = repr([plain[key] for key in ("model", "norm", "batch_size", "precision", "device")])
        if sizes not in self._known:
            self._known[sizes] = self._step(job)
        model, norm = config.model, config.norm
        layers = layer_count(model.name, model.options, norm.name, norm.options)
        passes = float(config.run.steps + 1)
        for probe in config.probes.values():
            due = sum(probe.options.due(step) for step in range(config.run.steps + 1))
            passes += due * probe.options.passes(layers)
        return self._known[sizes] * passes

    def _step(self, job: Job) -> float:
        """The faster of two steps after one to warm up, in seconds."""
        before, times = torch.get_num_threads(), []
        torch.set_num_threads(self.threads or before)
        trainer, _ = trainer_of(job.config, job.device)
        trainer.probes, rows = [], list[Rows]()
        for number in range(3):
            begin = time.perf_counter()
            float(trainer.step(number, rows.append).loss)
            times.append(time.perf_counter() - begin)
        torch.set_num_threads(before)
        return min(times[1:])
