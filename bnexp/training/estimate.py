"""How long a run takes on this machine, from timing a few of its passes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import torch

from bnexp.models import Task, build_model, layer_count
from bnexp.objective import Objective
from bnexp.training.precision import cast, dtype_of
from bnexp.training.run import Job


@dataclass
class Estimator:
    """Estimates runs; networks of the same shape are timed once.

    Each is timed on random input of the size the run will see, with ``threads`` threads, so no
    data is needed. Evaluation on the test split is not counted.
    """

    threads: int | None = None
    _seconds: dict[str, float] = field(default_factory=dict)
    _passes: dict[str, float] = field(default_factory=dict)

    def seconds(self, job: Job) -> float:
        """Seconds that ``job`` takes from its start, roughly."""
        plain = job.config.plain
        shape = repr([plain[key] for key in ("model", "norm", "batch_size", "precision", "device")])
        schedules = repr([plain["probes"], plain["steps"], shape])
        if shape not in self._seconds:
            self._seconds[shape] = _time(job, self.threads)
        if schedules not in self._passes:
            self._passes[schedules] = passes(job)
        return self._seconds[shape] * self._passes[schedules]


def passes(job: Job) -> float:
    """Forward and backward passes that ``job`` makes: its steps, and what its probes add."""
    config = job.config
    model, norm = config.model, config.norm
    layers = layer_count(model.name, model.options, norm.name, norm.options)
    total = float(config.run.steps + 1)
    for probe in config.probes.values():
        due = sum(probe.options.due(step) for step in range(config.run.steps + 1))
        total += due * probe.options.passes(layers)
    return total


def _time(job: Job, threads: int | None) -> float:
    """The faster of two passes after one to warm up, in seconds."""
    config = job.config
    model, norm, dtype = config.model, config.norm, dtype_of(config.run.precision)
    network = build_model(model.name, model.options, norm.name, norm.options, Task(), 0)
    network = cast(network, config.run.precision, job.device)
    images = model.task == "classification"
    size = config.run.batch_size or int(getattr(config.data.options, "samples", 1))
    shape = [size, 3, 32, 32] if images else [size, int(getattr(config.data.options, "d", 1))]
    inputs = torch.zeros(shape, dtype=dtype, device=job.device).normal_(
        generator=torch.Generator(job.device).manual_seed(0)
    )
    targets = inputs
    if images:
        network = network.to(memory_format=torch.channels_last)
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        targets = torch.zeros([size], dtype=torch.int64, device=job.device)
    objective = Objective(model.options.loss, config.optim.weight_decay, config.optim.decay)
    wrt = list(network.own_params)
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    times = []
    try:
        for _ in range(3):
            begin = time.perf_counter()
            float(network.evaluate(objective, inputs, targets, wrt=wrt).loss)
            times.append(time.perf_counter() - begin)
    finally:
        torch.set_num_threads(before)
    return min(times[1:])
