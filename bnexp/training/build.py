"""From a checked config to the trainer of its run at step 0, and how long it will take."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch

import torch
from torch import Tensor

from bnexp.config import Choice, Config
from bnexp.data import Batches, Dataset, load_dataset
from bnexp.errors import UserError
from bnexp.models import Network, Task, build_model, layer_count
from bnexp.objective import Objective
from bnexp.optim import schedule, takes_no_closure
from bnexp.probes import Rows, Setting, build_probes
from bnexp.registry import OPTIMISERS, PROBES, expect
from bnexp.training.loop import Trainer

EVALUATION_BATCH = 1000
"""Images per pass in evaluation, where the batch size changes nothing but the speed."""

SYNC_EVERY = {"cpu": 10, "cuda": 100}
"""Steps between two fetches of the losses, by device: on a GPU the host waits for them, on a CPU
each takes as long as a fifth of a step of the deep linear network."""


def trainer_of(config: Config, device: torch.device) -> tuple[Trainer, str]:
    """The trainer of a run at step 0, and what its data are called."""
    run, plain = config.run, config.plain
    dataset = load_dataset({**plain["data"]}, run.seed_data)
    dtype = torch.float64 if run.precision == "float64" else torch.float32
    augment = bool(plain["data"].get("augment"))
    batches = Batches(dataset, run.batch_size, run.seed_order, device, dtype, augment)
    model = _network(config, dataset, device, dtype)

    def evaluation(split: str) -> Iterator[tuple[Tensor, Tensor]]:
        return batches.split(split, EVALUATION_BATCH)

    optimizer, weight_decay = _optimizer(model, config.optim)
    loss, smoothing = str(plain["model"]["loss"]), plain["model"].get("label_smoothing", 0.0)
    objective = Objective(loss, weight_decay, config.optim.options.decay, smoothing)
    other = None if run.batch_size is None else batches.at
    setting = Setting(model, objective, run.steps, run.seed, evaluation, other)
    probes, every = build_probes(plain["probes"], setting), SYNC_EVERY[device.type]
    rates = schedule(optimizer, config.optim.options, run.steps)
    return Trainer(setting, batches, optimizer, probes, run.steps, every, rates), dataset.label


def _optimizer(model: Network, optim: Choice) -> tuple[torch.optim.Optimizer, float]:
    """The optimiser, and what of the weight decay is the objective's."""
    more, options = OPTIMISERS[optim.name].more, optim.options
    decoupled = more.get("decoupled", False)
    frozen = {n for n in model.own_params if any(fnmatch(n, name) for name in options.frozen)}
    ok = len(frozen) < len(model.own_params) and (frozen or not options.frozen)
    expected = "names of parameters of the network, not of all, like [*.bias]"
    expect(bool(ok), "optim.frozen", expected, options.frozen)
    together = more.get("elementwise", False) and not (decoupled or frozen)
    parameters = model.optimised(together)
    own = [(name, p) for name, p in model.own_params.items() if name not in frozen]
    groups = [{"params": [p for _, p in own] if frozen else parameters, "weight_decay": 0.0}]
    if decoupled:
        decayed = [*model.own_params] if options.decay == "all" else model.weight_names()
        groups = [
            {"params": [p for name, p in own if (name in decayed) is here], "weight_decay": rate}
            for here, rate in ((True, options.weight_decay), (False, 0.0))
        ]
    optimizer: torch.optim.Optimizer = optim.item(groups, options)
    expected = "an optimiser whose step needs no closure"
    expect(takes_no_closure(optimizer), "optim", expected, optim.name)
    return optimizer, 0.0 if decoupled else options.weight_decay


def _network(config: Config, dataset: Dataset, device: torch.device, dtype: torch.dtype) -> Network:
    """The run's network at initialisation, computing in its precision; bf16 in its products."""
    model, norm, run = config.model, config.norm, config.run
    images = dataset.train.inputs[:1].float()
    classes, channels = dataset.classes, images.shape[1]
    task = Task() if classes is None else Task(channels, classes)
    network = build_model(model.name, model.options, norm.name, norm.options, task, run.seed_init)
    if classes is not None:
        try:
            with torch.no_grad():
                network.eval()(images.to(next(network.parameters()).dtype))
        except RuntimeError as error:  # such as poolings that leave nothing of a small image
            size = " x ".join(map(str, images.shape[1:]))
            why = str(error).partition("\n")[0]
            raise UserError(
                f"data: model={model.name} cannot take images of {size}: {why}"
            ) from None
        network.train()
    network = network.to(device, dtype)
    if run.precision == "bf16":
        network.autocast = torch.bfloat16
    if classes is not None:  # images: the layout that convolutions are fastest in
        network = network.to(memory_format=torch.channels_last)
    if run.compile:
        network.compiled()
    return network


def estimate(runs: Iterable[tuple[Config, torch.device]], threads: int | None = None) -> float:
    """Seconds that ``runs`` take one after the other, roughly, from timing a few steps."""
    known: dict[str, float] = {}
    total = 0.0
    for config, device in runs:
        plain, model, norm = config.plain, config.model, config.norm
        sizes = repr([plain[key] for key in ("model", "norm", "batch_size", "precision", "device")])
        if sizes not in known:
            known[sizes] = _step_seconds(config, device, threads)
        layers = layer_count(model.name, model.options, norm.name, norm.options)
        passes = float(config.run.steps + 1)
        for name, probe in config.probes.items():
            cost = PROBES[name].more.get("passes", lambda _options, _layers: 0.0)
            due = sum(probe.options.due(step) for step in range(config.run.steps + 1))
            passes += due * cost(probe.options, layers)
        total += known[sizes] * passes
    return total


def duration(seconds: float) -> str:
    """``seconds`` in words, to minutes or hours."""
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.0f} hours"


def _step_seconds(config: Config, device: torch.device, threads: int | None) -> float:
    """The faster of two steps without probes, after one to warm up."""
    before, times, rows = torch.get_num_threads(), [], list[Rows]()
    torch.set_num_threads(threads or before)
    trainer, _ = trainer_of(config, device)
    trainer.probes = []
    for number in range(3):
        begin = time.perf_counter()
        float(trainer.step(number, rows.append).loss)
        times.append(time.perf_counter() - begin)
    torch.set_num_threads(before)
    return min(times[1:])
