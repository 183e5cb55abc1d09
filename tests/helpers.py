"""Small networks, batches and trainers that the tests share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bnexp import registry
from bnexp.config.check import _load_plugins
from bnexp.data.batches import Batch
from bnexp.models import Network, Stage, Task, build_model
from bnexp.models.network import Chain
from bnexp.norms import Noise, at_step, frozen_statistics
from bnexp.objective import Objective
from bnexp.probes import Probe, Rows, Schedule, Setting, build_probes
from bnexp.registry import Options
from bnexp.seeds import derive
from bnexp.training.loop import Trainer
from tests import reference

NORMS = ("none", "bn", "noisy_bn", "noise_only", "l1", "l2", "linf")
OTHERS = ("ghost", "group", "instance", "layer", "weight")
"""The paper's normalisations, and the others."""
NOISY = ("noisy_bn", "noise_only")
FAMILIES = ("vgg", "dln", "resnet", "densenet")
IMAGES = ("vgg", "resnet", "densenet")
LOSS = {"dln": "half_sum_squares", **dict.fromkeys(IMAGES, "cross_entropy")}
LR = {"dln": 1e-3, **dict.fromkeys(IMAGES, 0.1)}
SIDE = {"vgg": 32, "resnet": 8, "densenet": 8}
"""Of the images."""

both = pytest.mark.parametrize("family", ["vgg", "dln"])
every_family = pytest.mark.parametrize("family", FAMILIES)
every_norm = pytest.mark.parametrize("norm", NORMS)
NETWORKS = [(family, norm) for family in ("vgg", "dln") for norm in NORMS]
NETWORKS += [("resnet", norm) for norm in ("none", "noisy_bn", "linf", "weight")]
NETWORKS += [("densenet", norm) for norm in ("none", "bn", "group")]
NETWORKS += [("dln", norm) for norm in ("ghost", "layer", "weight")]
NETWORKS += [("vgg", norm) for norm in ("ghost", "group", "instance", "weight")]
every_network = pytest.mark.parametrize(("family", "norm"), NETWORKS)

K, D, CLASSES = 5, 4, 3

Table = dict[str, list[Any]]

PROBES: dict[str, dict[str, Any]] = {
    "train": {},
    "eval": {"splits": ["test"]},
    "landscape": {"etas": [0.5, 1, 2, 4], "direction": "gradient"},
    "gradient_shift": {"layers": "all"},
    "moments": {"layers": "all", "units": "all", "successive": False},
    "activations": {"layers": "all", "unit": None, "samples": 64},
    "curvature": {},
    "sharpness": {"tolerance": 1e-3, "max_iterations": 4},
    "theory": {"layers": "all"},
    "updates": {"layers": "all"},
    "batch_sharpness": {"batches": 2},
    "mode_gap": {},
    "stable_rank": {"layers": "all"},
}
"""Every probe, at every step."""


def probe(name: str, **options: Any) -> dict[str, dict[str, Any]]:
    """The config of one probe, due at every step unless ``options`` say otherwise."""
    return {name: {"every": 1, "dense": 0, **PROBES[name], **options}}


def every_probe() -> dict[str, dict[str, Any]]:
    """The config of every probe, each due at every step."""
    return {name: config for each in PROBES for name, config in probe(each).items()}


def norm_options(norm: str, **changes: float) -> Options:
    """The options of ``norm`` at their defaults but for ``changes``."""
    noise = {"n_mu": 0.5, "n_sigma": 1.25, "r_mu": 0.1, "r_sigma": 0.1}
    values = {"eps": 1e-5, "momentum": 0.1, "groups": 2, "size": 4, **noise, **changes}
    kind = registry.NORMS[norm].options
    return kind(**{field.name: values[field.name] for field in fields(kind)})


def norm_module(norm: str, units: int, seed: int = 0, **changes: float) -> nn.Module:
    """A layer's normalisation of ``units`` units."""
    module: nn.Module = registry.NORMS[norm].item(units, norm_options(norm, **changes), seed)
    return module


def model_options(family: str, **changes: Any) -> Options:
    """Of a VGG-11 or ResNet-18 of width 1/32, a DLN of five layers, or other small networks."""
    own: dict[str, dict[str, Any]] = {
        "vgg": {"depth": 11, "width": 1 / 32, "head": "linear", "init_scale": 1.0},
        "dln": {"k": K, "d": D},
        "resnet": {"depth": 18, "width": 1 / 32, "stem": "cifar", "skip": True},
        "densenet": {
            "blocks": [2, 1], "growth": 2, "width": 1.0, "compression": 0.5, "stem": "cifar",
        },
        "mlp": {"depth": 3, "width": 1 / 128},
    }  # fmt: skip
    given = {
        "init": "glorot_uniform",
        "loss": LOSS.get(family, "cross_entropy"),
        **own[family],
        **changes,
    }
    options: Options = registry.MODELS[family].options(**given)
    return options


def built(
    family: str,
    norm: str,
    *,
    seed: int = 0,
    classes: int = CLASSES,
    eps: float = 1e-5,
    **model: Any,
) -> Network:
    """The network as a run starts with it."""
    options = model_options(family, **model)
    task = Task(classes=classes)
    return build_model(family, options, norm, norm_options(norm, eps=eps), task, seed)


def network(
    family: str,
    norm: str,
    *,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
    eps: float = 1e-5,
    **model: Any,
) -> Network:
    """As `built`, in ``dtype``, with gamma, beta and biases moved off 1 and 0."""
    return moved(built(family, norm, seed=seed, eps=eps, **model), seed).to(dtype)


def moved(model: Network, seed: int = 0) -> Network:
    """``model`` with random numbers added to all parameters but the affine maps' weights."""
    stream = torch.Generator().manual_seed(seed)
    weights = set(model.weight_names())
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name not in weights:
                parameter += 0.2 * torch.randn(parameter.shape, generator=stream)
    return model


def small(norm: str) -> Network:
    """A chain of two convolutions with all that a VGG's have, and logits: 150 parameters."""
    torch.manual_seed(0)
    stages = [
        Stage(
            nn.Conv2d(before, after, 3, padding=1),
            norm_module(norm, after, derive(0, "noise", number)),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        for number, (before, after) in enumerate(((3, 3), (3, 2)), start=1)
    ]
    model = moved(Chain([*stages, Stage(nn.Linear(8, CLASSES))]), 1)
    return model.double().to(memory_format=torch.channels_last)


class Draws:
    """Random batches, each a pure function of the step; ``side`` is that of the images."""

    def __init__(
        self, family: str, dtype: torch.dtype = torch.float64, size: int = 8, side: int = 0
    ) -> None:
        self.family, self.dtype, self.size = family, dtype, size
        self.side = side or SIDE.get(family, 0)

    def at(self, step: int) -> Batch:
        stream = torch.Generator().manual_seed(1000 + step)
        shape = (self.size, 3, self.side, self.side) if self.side else (self.size, D)
        inputs = torch.randn(shape, generator=stream, dtype=torch.float64).to(self.dtype)
        if self.side:
            targets = torch.randint(0, CLASSES, (self.size,), generator=stream)
        else:
            targets = torch.randn(shape, generator=stream, dtype=torch.float64).to(self.dtype)
        return Batch(inputs, targets)


def no_test_split(split: str) -> Iterator[tuple[Tensor, Tensor]]:
    return iter(())


def trainer(
    model: Network,
    batches: Any,
    probes: Mapping[str, Mapping[str, Any]],
    *,
    objective: Objective | None = None,
    lr: float | None = None,
    momentum: float = 0.0,
    steps: int = 100,
    seed: int = 0,
    extra: Sequence[type[Probe]] = (),
    evaluation: Callable[[str], Iterator[tuple[Tensor, Tensor]]] = no_test_split,
) -> Trainer:
    """A trainer as ``bnexp/training/run.py`` makes it; probe classes ``extra`` measure first.

    Loss and learning rate are by default those of the family of ``batches``.
    """
    objective = objective or Objective(LOSS[batches.family])
    lr = LR[batches.family] if lr is None else lr

    setting = Setting(model, objective, steps, seed, evaluation, batches.at)
    measuring = [kind(Schedule(every=1, dense=0), setting) for kind in extra]
    measuring += build_probes(probes, setting)
    optimizer = torch.optim.SGD(model.optimised(True), lr=lr, momentum=momentum)
    return Trainer(setting, batches, optimizer, measuring, steps)


def measured(made: Trainer, steps: int, first: int = 0) -> dict[str, Table]:
    """The tables after ``steps`` training steps."""
    tables: dict[str, Table] = {}

    def record(rows: Rows) -> None:
        for name, columns in rows.items():
            assert len({len(values) for values in columns.values()}) <= 1
            for column, values in columns.items():
                tables.setdefault(name, {}).setdefault(column, []).extend(values)

    for number in range(first, first + steps):
        made.step(number, record)
    return tables


def at(table: Table, **where: Any) -> list[dict[str, Any]]:
    """The rows of ``table`` whose columns have the values ``where``."""
    count = len(next(iter(table.values())))
    rows = [{name: values[i] for name, values in table.items()} for i in range(count)]
    return [row for row in rows if all(row[name] == value for name, value in where.items())]


def names(model: Network) -> dict[str, str]:
    """The reference's name of every parameter by ours: W3, b3, gamma3, beta3."""
    short = {}
    for name in model.own_params:
        kind = name.rpartition(".")[2]
        number = model.layer_of[name]
        affine = name.startswith(f"{model.layers[number].affine}.")
        letters = {"weight": ("gamma", "W"), "bias": ("beta", "b")}[kind]
        short[name] = f"{letters[affine]}{number}"
    return short


def theta_of(model: Network, params: Mapping[str, Tensor] | None = None) -> reference.Theta:
    """``params`` (default: the network's own), copied, by the reference's names."""
    source = model.own_params if params is None else params
    return {short: source[name].detach().clone() for name, short in names(model).items()}


def noise_of(model: Network, inputs: Tensor, step: int) -> dict[int, tuple[Tensor, Tensor]]:
    """The noise (m, s) that every layer of ``model`` meets at training step ``step``."""
    at_step(model, step)
    modules = list(model.modules())
    with torch.no_grad(), frozen_statistics(modules), model.captured(model.layers) as activations:
        model(inputs)
    return {
        number: module.draw(activations[number])
        for number in model.layers
        for module in model.norm(number).modules()
        if isinstance(module, Noise)
    }


def twin(
    model: Network, family: str, norm: str, inputs: Tensor, step: int, eps: float = 1e-5
) -> reference.Net:
    """``model`` in the reference's terms, with the noise of training step ``step``."""
    layers = {
        "vgg": lambda: reference.vgg_layers("vgg11", len(model.layers) - 9),
        "small": lambda: ["conv pool", "conv pool", "linear"],
        "dln": lambda: ["linear"] * len(model.layers),
        "resnet": lambda: reference.RESNET18,
        "densenet": lambda: reference.DENSENET,
    }[family]()
    return reference.Net(layers, norm, family != "dln", noise_of(model, inputs, step), eps)


@contextmanager
def registries_restored(folder: Path) -> Iterator[None]:
    """Afterwards what plug-ins in ``folder`` registered is gone; they can be loaded anew."""
    registries = [r for r in vars(registry).values() if isinstance(r, registry.Registry)]
    before = [dict(r._entries) for r in registries if r.names()]
    try:
        yield
    finally:
        for each, entries in zip(registries, before, strict=True):
            each._entries = entries
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None)).startswith(f"{folder}/"):
                del sys.modules[name]
        _load_plugins.cache_clear()
