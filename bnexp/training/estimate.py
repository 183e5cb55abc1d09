"""How long a run will take on this machine, from timing a few of its passes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import torch

from bnexp.models import build_model, layer_count
from bnexp.objective import Objective
from bnexp.probes import check_probes
from bnexp.training.precision import cast, dtype_of
from bnexp.training.run import Job

CLASSES = 10


@dataclass
class Estimator:
    """Estimates runs; networks of the same shape are timed once.

    Each is timed on random input of the size the run will see, with ``threads`` threads, so no
    data is needed. Evaluation on the test split is not counted.
    """

    threads: int | None = None
    _seconds: dict[tuple[object, ...], float] = field(default_factory=dict)

    def seconds(self, job: Job) -> float:
        """Seconds that ``job`` will take from its start, roughly."""
        return self._pass_seconds(job) * passes(job)

    def _pass_seconds(self, job: Job) -> float:
        config = job.config
        key = (
            repr(config.model),
            config.norm.name,
            config.run.batch_size,
            config.run.precision,
            str(job.device),
        )
        if key not in self._seconds:
            self._seconds[key] = _time(job, self.threads)
        return self._seconds[key]


def passes(job: Job) -> float:
    """Forward and backward passes that ``job`` makes: its steps, and what its probes add."""
    config = job.config
    layers = layer_count(config.model)
    total = float(config.run.steps + 1)
    for options in check_probes(config.probes, layers).values():
        due = sum(options.due(step) for step in range(config.run.steps + 1))
        total += due * options.passes(layers)
    return total


def _time(job: Job, threads: int | None) -> float:
    """The faster of two passes after one to warm up, in seconds."""
    config = job.config
    images = config.model.family == "vgg"
    dtype = dtype_of(config.run.precision)
    classes = CLASSES if images else None
    model = build_model(config.model, config.norm, classes=classes, seed=0)
    model = cast(model, config.run.precision, job.device)
    size = config.run.batch_size or int(getattr(config.data, "samples", 1))
    width = int(getattr(config.model, "d", 1))
    shape = [size, 3, 32, 32] if images else [size, width]
    inputs = torch.zeros(shape, dtype=dtype, device=job.device).normal_(
        generator=torch.Generator(job.device).manual_seed(0)
    )
    targets = inputs
    if images:
        model = model.to(memory_format=torch.channels_last)
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        targets = torch.zeros([size], dtype=torch.int64, device=job.device)
    objective = Objective(config.model.loss, config.optim.weight_decay, config.optim.decay)
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    times = []
    try:
        for _ in range(3):
            begin = time.perf_counter()
            float(objective.loss_and_grads(model, inputs, targets).loss)
            times.append(time.perf_counter() - begin)
    finally:
        torch.set_num_threads(before)
    return min(times[1:])
