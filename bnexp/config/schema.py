"""What a run can be told: every key, its type and its range.

Defaults are not here: they stand in ``configs/``, once. Probes bring their own options
(``bnexp/probes``), so adding one changes nothing here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bnexp.errors import UserError


def expect(ok: bool, key: str, expected: str, got: object) -> None:
    """Raise the one-line UserError that names ``key``, unless ``ok``."""
    if not ok:
        raise UserError(f"{key}: expected {expected}; got {got!r}")


def one_of(key: str, got: object, names: Sequence[str]) -> None:
    """Raise unless ``got`` is one of ``names``."""
    expect(got in names, key, "one of " + ", ".join(names), got)


def positive(key: str, got: float) -> None:
    """Raise unless ``got`` is a positive finite number."""
    expect(math.isfinite(got) and got > 0, key, "a positive number", got)


def at_least(key: str, got: float, low: float) -> None:
    """Raise unless ``got`` is finite and at least ``low``."""
    expect(math.isfinite(got) and got >= low, key, f"a number of at least {low:g}", got)


LOSSES = ("cross_entropy", "half_sum_squares", "sum_squares", "mean_squares")
INITS = ("glorot_uniform", "glorot_normal")
PRECISIONS = ("float32", "float64", "bf16")
"""Of parameters and products; bf16 is float32 with the products in bfloat16 (autocast)."""


@dataclass(frozen=True)
class VggConfig:
    """A VGG (``bnexp/models/vgg.py``)."""

    name: str
    family: str
    init: str
    head: Any
    loss: str
    width: float

    def __post_init__(self) -> None:
        one_of("model.name", self.name, ("vgg11", "vgg13", "vgg16", "vgg19"))
        one_of("model.init", self.init, INITS)
        one_of("model.loss", self.loss, ("cross_entropy",))
        positive("model.width", self.width)
        widths = self.head if isinstance(self.head, list) else None
        ok = self.head == "linear" or (
            widths is not None and all(type(w) is int and w > 0 for w in widths)
        )
        expect(ok, "model.head", "linear or a list of positive widths like [4096,4096]", self.head)

    @property
    def hidden(self) -> list[int]:
        """Widths of the hidden linear layers."""
        return [] if self.head == "linear" else list(self.head)


@dataclass(frozen=True)
class DlnConfig:
    """The deep linear network (``bnexp/models/dln.py``)."""

    name: str
    family: str
    init: str
    loss: str
    k: int
    d: int

    def __post_init__(self) -> None:
        one_of("model.name", self.name, ("dln",))
        one_of("model.init", self.init, INITS)
        one_of("model.loss", self.loss, LOSSES[1:])
        at_least("model.k", self.k, 1)
        at_least("model.d", self.d, 1)


@dataclass(frozen=True)
class NormConfig:
    """A normalisation and the noise of Algorithm 1 (``bnexp/norms.py``)."""

    name: str
    eps: float
    momentum: float
    n_mu: float
    n_sigma: float
    r_mu: float
    r_sigma: float

    def __post_init__(self) -> None:
        one_of("norm.name", self.name, ("none", "bn", "noisy_bn", "noise_only", "l1", "l2", "linf"))
        at_least("norm.eps", self.eps, 0)
        expect(0 < self.momentum <= 1, "norm.momentum", "a number in (0, 1]", self.momentum)
        for key in ("n_mu", "r_mu", "r_sigma"):
            at_least(f"norm.{key}", getattr(self, key), 0)
        at_least("norm.n_sigma", self.n_sigma, 1)


@dataclass(frozen=True)
class GaussianConfig:
    """The DLN's regression data (``bnexp/data/gaussian.py``)."""

    name: str
    label: str
    augment: bool
    samples: int
    d: int
    A_std: float

    def __post_init__(self) -> None:
        at_least("data.samples", self.samples, 1)
        at_least("data.d", self.d, 1)
        positive("data.A_std", self.A_std)
        expect(not self.augment, "data.augment", "false with data=gaussian", self.augment)


@dataclass(frozen=True)
class DigitsConfig:
    """scikit-learn's digits (``bnexp/data/digits.py``)."""

    name: str
    label: str
    augment: bool


@dataclass(frozen=True)
class ImagesConfig:
    """A folder or archive of images (``bnexp/data/images.py``)."""

    name: str
    path: str
    label: str | None
    augment: bool
    cache: str | None


@dataclass(frozen=True)
class Cifar10Config:
    """CIFAR-10 through torchvision (``bnexp/data/cifar10.py``)."""

    name: str
    path: str | None
    label: str
    augment: bool


@dataclass(frozen=True)
class OptimConfig:
    """The optimiser; weight decay is part of the objective (``bnexp/objective.py``)."""

    name: str
    lr: float
    momentum: float
    weight_decay: float
    decay: str

    def __post_init__(self) -> None:
        one_of("optim.name", self.name, ("sgd",))
        positive("optim.lr", self.lr)
        expect(0 <= self.momentum < 1, "optim.momentum", "a number in [0, 1)", self.momentum)
        at_least("optim.weight_decay", self.weight_decay, 0)
        one_of("optim.decay", self.decay, ("weights", "all"))


ModelConfig = VggConfig | DlnConfig
DataConfig = GaussianConfig | DigitsConfig | ImagesConfig | Cifar10Config

MODELS: dict[str, type[ModelConfig]] = {"vgg": VggConfig, "dln": DlnConfig}
DATA: dict[str, type[DataConfig]] = {
    "gaussian": GaussianConfig,
    "digits": DigitsConfig,
    "images": ImagesConfig,
    "cifar10": Cifar10Config,
}
DATA_OF = {"vgg": ("digits", "images", "cifar10"), "dln": ("gaussian",)}
"""The datasets that a family of networks can be trained on."""


@dataclass(frozen=True)
class MeasureConfig:
    """What ``configs/probes`` take their schedules and grids from.

    ``seeds``, as in 0,1,2, are those that a recipe runs.
    """

    every: int
    eval_every: int
    etas: Any
    layers: Any
    seeds: str


@dataclass(frozen=True)
class RunConfig:
    """The keys that are in no group."""

    batch_size: int | None
    steps: int
    seed: int
    device: str
    precision: str
    tf32: bool
    deterministic: bool
    cuda_graphs: Any
    together: bool
    threads: int | None
    out: str
    progress: bool
    checkpoint_minutes: float
    checkpoint_steps: int | None
    resume: str
    fail_fast: bool
    preset: str

    def __post_init__(self) -> None:
        if self.batch_size is not None:
            at_least("batch_size", self.batch_size, 1)
        at_least("steps", self.steps, 1)
        at_least("seed", self.seed, 0)
        ok = re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device) is not None
        expect(ok, "device", "auto, cpu, cuda or cuda:N", self.device)
        one_of("precision", self.precision, PRECISIONS)
        ok = self.cuda_graphs == "auto" or type(self.cuda_graphs) is bool
        expect(ok, "cuda_graphs", "auto, true or false", self.cuda_graphs)
        if self.threads is not None:
            at_least("threads", self.threads, 1)
        one_of("resume", self.resume, ("auto", "never"))
        positive("checkpoint_minutes", self.checkpoint_minutes)
        if self.checkpoint_steps is not None:
            at_least("checkpoint_steps", self.checkpoint_steps, 1)


@dataclass(frozen=True)
class Config:
    """One run, checked. ``plain`` is what config.yaml keeps and what the run's id is made from."""

    model: ModelConfig
    norm: NormConfig
    data: DataConfig
    optim: OptimConfig
    probes: dict[str, dict[str, Any]]
    run: RunConfig
    plain: dict[str, Any]
