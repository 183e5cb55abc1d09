"""How long a run takes on this machine, from timing a few of its passes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import torch

from bnexp.models import Task, layer_count
from bnexp.objective import Objective
from bnexp.training.precision import dtype_of
from bnexp.training.run import Job, network_of


@dataclass
class Estimator:
    """Estimates runs by timing passes on random input of the size they will see, without data."""

    threads: int | None = None
    _known: dict[str, float] = field(default_factory=dict)

    def seconds(self, job: Job) -> float:
        """Seconds that ``job`` takes from its start, roughly."""
        plain = job.config.plain
        shape = repr([plain[key] for key in ("model", "norm", "batch_size", "precision", "device")])
        schedules = repr([plain["probes"], plain["steps"], shape])
        if shape not in self._known:
            self._known[shape] = _time(job, self.threads)
        if schedules not in self._known:
            self._known[schedules] = passes(job)
        return self._known[shape] * self._known[schedules]


def passes(job: Job) -> float:
    """Forward and backward passes that ``job`` makes: its steps, and what its probes add."""
    config, model, norm = job.config, job.config.model, job.config.norm
    layers = layer_count(model.name, model.options, norm.name, norm.options)
    total = float(config.run.steps + 1)
    for probe in config.probes.values():
        due = sum(probe.options.due(step) for step in range(config.run.steps + 1))
        total += due * probe.item.passes(probe.options, layers)
    return total


def _time(job: Job, threads: int | None) -> float:
    """The faster of two passes after one to warm up, in seconds."""
    config, model = job.config, job.config.model
    images = model.task == "classification"
    network = network_of(config, Task().classes if images else None, job.device)
    size = config.run.batch_size or int(getattr(config.data.options, "samples", 1))
    shape = [size, 3, 32, 32] if images else [size, int(getattr(config.data.options, "d", 1))]
    inputs = torch.randn(shape, dtype=dtype_of(config.run.precision), device=job.device)
    targets = torch.zeros([size], dtype=torch.int64, device=job.device) if images else inputs
    if images:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    objective = Objective(model.options.loss, config.optim.weight_decay, config.optim.decay)
    before, times = torch.get_num_threads(), []
    torch.set_num_threads(threads or before)
    for _ in range(3):
        begin = time.perf_counter()
        float(network.evaluate(objective, inputs, targets, wrt=list(network.own_params)).loss)
        times.append(time.perf_counter() - begin)
    torch.set_num_threads(before)
    return min(times[1:])
