"""Small networks, batches and trainers that the tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bnexp.data.batches import Batch
from bnexp.models import Network, captured, dln, vgg
from bnexp.norms import Noise, NormOptions, at_step, build_norm, frozen_statistics
from bnexp.objective import Objective
from bnexp.probes import Probe, Rows, Setting, build_probes
from bnexp.seeds import derive
from bnexp.training.loop import Trainer
from tests import reference

NORMS = ("none", "bn", "noisy_bn", "noise_only", "l1", "l2", "linf")
NOISY = ("noisy_bn", "noise_only")
FAMILIES = ("vgg", "dln")
LOSS = {"vgg": "cross_entropy", "dln": "half_sum_squares"}
LR = {"vgg": 0.1, "dln": 1e-3}

K, D, CLASSES = 5, 4, 3

Table = dict[str, list[Any]]

PROBES: dict[str, dict[str, Any]] = {
    "train": {},
    "eval": {},
    "landscape": {"etas": [0.5, 1, 2, 4], "direction": "gradient"},
    "gradient_shift": {"layers": "all"},
    "moments": {"layers": "all", "units": "all", "successive": False},
    "activations": {"layers": "all", "unit": None, "samples": 64},
    "curvature": {},
    "sharpness": {"tolerance": 1e-3, "max_iterations": 4},
    "theory": {"layers": "all"},
}
"""Every probe, at every step."""


def probe(name: str, **options: Any) -> dict[str, dict[str, Any]]:
    """The config of one probe, due at every step unless told otherwise."""
    return {name: {"every": 1, "dense": 0, **PROBES[name], **options}}


def every_probe() -> dict[str, dict[str, Any]]:
    """The config of every probe, each due at every step."""
    return {name: config for one in PROBES for name, config in probe(one).items()}


def normaliser(norm: str, seed: int = 0, **options: Any) -> Callable[[int, int], nn.Module]:
    """What ``vgg`` and ``dln`` build their norms with; noise seeds as in ``build_model``."""

    def norm_of(number: int, units: int) -> nn.Module:
        return build_norm(norm, units, NormOptions(**options), derive(seed, "noise", number))

    return norm_of


def network(
    family: str, norm: str, *, dtype: torch.dtype = torch.float64, seed: int = 0, **options: Any
) -> Network:
    """A VGG-11 of width 1/32 or a DLN of five layers; gamma and beta moved off 1 and 0."""
    norm_of = normaliser(norm, seed, **options)
    if family == "vgg":
        model = vgg("vgg11", norm_of, classes=CLASSES, width=1 / 32, seed=seed)
    else:
        model = dln(norm_of, k=K, d=D, seed=seed)
    stream = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".norm." in name or name.endswith("bias"):
                parameter += 0.2 * torch.randn(parameter.shape, generator=stream)
    return model.to(dtype)


class Draws:
    """Random batches, each a pure function of the step."""

    def __init__(self, family: str, dtype: torch.dtype = torch.float64, size: int = 8) -> None:
        self.family, self.dtype, self.size = family, dtype, size

    def at(self, step: int) -> Batch:
        stream = torch.Generator().manual_seed(1000 + step)
        shape = (self.size, 3, 32, 32) if self.family == "vgg" else (self.size, D)
        inputs = torch.randn(shape, generator=stream, dtype=torch.float64).to(self.dtype)
        if self.family == "vgg":
            targets = torch.randint(0, CLASSES, (self.size,), generator=stream)
        else:
            targets = torch.randn(shape, generator=stream, dtype=torch.float64).to(self.dtype)
        return Batch(inputs, targets, torch.arange(self.size))


def no_test_split(split: str) -> Iterator[tuple[Tensor, Tensor]]:
    return iter(())


def trainer(
    model: Network,
    batches: Any,
    probes: Mapping[str, Mapping[str, Any]],
    *,
    objective: Objective,
    lr: float,
    momentum: float = 0.0,
    steps: int = 100,
    seed: int = 0,
    extra: Sequence[type[Probe]] = (),
    evaluation: Callable[[str], Iterator[tuple[Tensor, Tensor]]] = no_test_split,
) -> Trainer:
    """A trainer as ``bnexp/training/run.py`` makes it; probe classes ``extra`` measure first."""
    from bnexp.probes import Options

    setting = Setting(model, objective, lr, steps, seed, evaluation)
    measuring = [kind(Options(every=1, dense=0), setting) for kind in extra]
    measuring += build_probes(probes, setting)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum)
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


def noise_of(model: Network, inputs: Tensor) -> dict[int, tuple[Tensor, Tensor]]:
    """The noise (m, s) that every layer of ``model`` meets at its present step."""
    with torch.no_grad(), frozen_statistics(model), captured(model, model.layers.numbers()) as seen:
        model(inputs)
    return {
        number: module.draw(seen[number])
        for number in model.layers.numbers()
        for module in model.layers[number].modules()
        if isinstance(module, Noise)
    }


def twin(model: Network, family: str, norm: str, inputs: Tensor, step: int) -> reference.Net:
    """``model`` in the reference's terms, with the noise of training step ``step``."""
    at_step(model, step)
    layers = reference.vgg_layers("vgg11") if family == "vgg" else ["linear"] * K
    return reference.Net(layers, norm, family == "vgg", noise_of(model, inputs))
