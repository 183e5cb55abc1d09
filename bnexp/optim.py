"""Optimisers and learning-rate schedules: torch's own, each registered with its options.

A registered optimiser is a function of parameter groups and options that returns a
``torch.optim.Optimizer``. It decays nothing: weight decay is lambda/2 ||w||^2 of the objective, so
of every loss and gradient that is measured. One registered as ``decoupled`` is given it instead, as
``weight_decay`` of the groups. ``elementwise`` says that a parameter's update does not depend on
which tensor it is in: it may be given one vector of all.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim import lr_scheduler as torchs
from torch.optim.lr_scheduler import LRScheduler

from bnexp.registry import OPTIMISERS, Options, at_least, expect, one_of, positive

Groups = list[dict[str, Any]]

SCHEDULES: dict[str, Callable[[Optimizer, OptimOptions, int], LRScheduler]] = {
    "constant": lambda optimizer, _, n: torchs.ConstantLR(optimizer, 1.0, n),
    "step": lambda optimizer, o, n: torchs.MultiStepLR(
        optimizer, [round(share * n) for share in o.milestones], o.gamma
    ),
    "exponential": lambda optimizer, o, n: torchs.ExponentialLR(optimizer, o.gamma ** (1 / n)),
    "cosine": lambda optimizer, o, n: torchs.CosineAnnealingLR(optimizer, n, o.final * o.lr),
}
"""Of n steps; each may follow a warm-up."""


@dataclass(frozen=True, kw_only=True)
class OptimOptions(Options):
    """``lr``: the schedule's first, or its highest after a warm-up. ``weight_decay`` is lambda,
    ``decay`` what it acts on: ``weights`` of the affine maps or ``all`` parameters.

    ``schedule``: a key of `SCHEDULES`, or one after ``warmup_``: over the first ``warmup`` of the
    steps the rate rises linearly to ``lr``. ``step`` multiplies it by ``gamma`` at each of
    ``milestones``, shares of the steps after the warm-up; ``exponential`` by ``gamma`` over all of
    them; ``cosine`` takes it to ``final`` times ``lr``. What is ``frozen``, names of parameters
    or patterns like ``*.bias``, stays as it is at the start.
    """

    lr: float
    weight_decay: float
    decay: str
    schedule: str = "constant"
    warmup: float = 0.1
    milestones: Any = field(default_factory=lambda: [0.5, 0.75])
    gamma: float = 0.1
    final: float = 0.0
    frozen: Any = field(default_factory=list)

    def check(self, key: str) -> None:
        positive(f"{key}.lr", self.lr)
        at_least(f"{key}.weight_decay", self.weight_decay, 0)
        one_of(f"{key}.decay", self.decay, ("weights", "all"))
        one_of(
            f"{key}.schedule", self.schedule, [p + s for p in ("", "warmup_") for s in SCHEDULES]
        )
        shares = self.milestones if isinstance(self.milestones, list) else [0]
        ok = all(type(share) is float and 0 < share < 1 for share in shares)
        expect(ok, f"{key}.milestones", "a list of numbers in (0, 1)", self.milestones)
        expect(0 < self.warmup < 1, f"{key}.warmup", "a number in (0, 1)", self.warmup)
        positive(f"{key}.gamma", self.gamma)
        expect(0 <= self.final <= 1, f"{key}.final", "a number in [0, 1]", self.final)
        ok = isinstance(self.frozen, list) and all(type(name) is str for name in self.frozen)
        expect(ok, f"{key}.frozen", "a list of names of parameters like [*.bias]", self.frozen)


@dataclass(frozen=True, kw_only=True)
class SgdOptions(OptimOptions):
    """``momentum``; ``nesterov`` looks ahead along it (Sutskever et al. 2013)."""

    momentum: float
    nesterov: bool = False

    def check(self, key: str) -> None:
        super().check(key)
        expect(0 <= self.momentum < 1, f"{key}.momentum", "a number in [0, 1)", self.momentum)
        ok = self.momentum > 0 or not self.nesterov
        expect(ok, f"{key}.nesterov", "false where optim.momentum is 0", self.nesterov)


@dataclass(frozen=True, kw_only=True)
class AdamOptions(OptimOptions):
    """``betas`` of the averages of the gradient and of its square; ``eps`` beside the root."""

    betas: Any
    eps: float

    def check(self, key: str) -> None:
        super().check(key)
        betas = self.betas if isinstance(self.betas, list) else []
        ok = len(betas) == 2 and all(type(b) in (int, float) and 0 <= b < 1 for b in betas)
        expect(ok, f"{key}.betas", "two numbers in [0, 1)", self.betas)
        at_least(f"{key}.eps", self.eps, 0)


@dataclass(frozen=True, kw_only=True)
class RmspropOptions(OptimOptions):
    """``alpha`` of the average of the squared gradient; ``eps`` beside its root; ``momentum``."""

    alpha: float
    eps: float
    momentum: float

    def check(self, key: str) -> None:
        super().check(key)
        for name in ("alpha", "momentum"):
            value = getattr(self, name)
            expect(0 <= value < 1, f"{key}.{name}", "a number in [0, 1)", value)
        at_least(f"{key}.eps", self.eps, 0)


@OPTIMISERS.register("sgd", SgdOptions, elementwise=True)
def sgd(groups: Groups, o: SgdOptions) -> Optimizer:
    """Stochastic gradient descent (the paper's)."""
    return torch.optim.SGD(groups, lr=o.lr, momentum=o.momentum, nesterov=o.nesterov, foreach=True)


@OPTIMISERS.register("adam", AdamOptions, elementwise=True)
def adam(groups: Groups, o: AdamOptions) -> Optimizer:
    """Adam (Kingma and Ba 2015); the gradient that it rescales is the objective's, with its L2."""
    betas = (o.betas[0], o.betas[1])
    return torch.optim.Adam(groups, lr=o.lr, betas=betas, eps=o.eps, foreach=True)


@OPTIMISERS.register("adamw", AdamOptions, decoupled=True)
def adamw(groups: Groups, o: AdamOptions) -> Optimizer:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019).

    Each step multiplies w by 1 - lr lambda, beside Adam's step along the gradient of the data
    loss. That is the gradient of no objective, so what is measured is the data loss with no L2
    term: column ``loss`` equals ``data_loss``, and only the update has the decay in it.
    """
    betas = (o.betas[0], o.betas[1])
    return torch.optim.AdamW(groups, lr=o.lr, betas=betas, eps=o.eps, foreach=True)


@OPTIMISERS.register("rmsprop", RmspropOptions, elementwise=True)
def rmsprop(groups: Groups, o: RmspropOptions) -> Optimizer:
    """RMSprop (Tieleman and Hinton 2012)."""
    return torch.optim.RMSprop(
        groups, lr=o.lr, alpha=o.alpha, eps=o.eps, momentum=o.momentum, foreach=True
    )


def schedule(optimizer: Optimizer, o: OptimOptions, steps: int) -> LRScheduler | None:
    """The schedule of a run of ``steps`` steps, to be stepped after each; None where the rate is
    constant, which costs nothing."""
    warm, name = o.schedule.startswith("warmup_"), o.schedule.removeprefix("warmup_")
    rising = round(o.warmup * steps) if warm else 0
    if rising < 2:
        return None if name == "constant" else SCHEDULES[name](optimizer, o, steps)
    # 1/rising, 2/rising, .. of lr, all of it at the last step of the warm-up
    warmup = torchs.LinearLR(optimizer, 1 / rising, 1.0, rising - 1)
    after = SCHEDULES[name](optimizer, o, max(1, steps - rising))
    return torchs.SequentialLR(optimizer, [warmup, after], [rising])


def takes_no_closure(optimizer: Optimizer) -> bool:
    """Whether its step needs no function that evaluates the loss again, as that of L-BFGS does."""
    empty = inspect.Parameter.empty
    parameters = inspect.signature(optimizer.step).parameters.values()
    return all(p.default is not empty or p.kind.name.startswith("VAR") for p in parameters)
