"""The paper's two experiments: sizes, learning rates, schedules, layers (Appendix A, Figs 1 to 13).

What figures and claims know about the paper's networks stands here and nowhere else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from bnexp.runs import Run

BOTH = ("none", "bn")
NOISY = ("none", "bn", "noisy_bn")
LP = ("none", "bn", "l1", "l2", "linf")


@dataclass(frozen=True)
class Experiment:
    """One of the paper's two experiments."""

    family: str
    label: str
    lr: float
    lrs: tuple[float, float]  # of Fig 3
    steps: int
    every: int  # steps between two recorded points
    log: bool  # whether predictiveness and beta are on logarithmic axes
    etas: tuple[float, ...]  # of the landscape, as multiples of lr, ascending
    ics_layers: tuple[int, int]  # of Fig 3
    unit_layers: tuple[int, int, int]  # of Figs 2 and 8 (VGG), 9 (DLN)
    size: str  # in words


VGG = Experiment(
    "vgg", "VGG", 0.1, (0.1, 0.01), 15_000, 100, False, (0.5, 1.0, 2.0, 4.0), (5, 10), (2, 9, 13),
    "full-width VGG-16, CIFAR-10, batch 128, 15,000 steps",
)  # fmt: skip
DLN = Experiment(
    "dln", "deep linear network", 1e-6, (1e-6, 1e-7), 10_000, 50, True,
    (0.01, 0.1, 1.0, 10.0, 10**1.5), (9, 17), (1, 11, 24),
    "25 layers of 10×10, 1,000 samples, 10,000 steps",
)  # fmt: skip
EXPERIMENTS = {experiment.family: experiment for experiment in (VGG, DLN)}


def at_paper_scale(run: Run) -> bool:
    """Whether the run has the size of the paper's own."""
    experiment = EXPERIMENTS.get(run.family)
    if experiment is None or run.steps != experiment.steps:
        return False
    if experiment is VGG:
        vgg = (run.model, run.width, run.option("data.name"), run.option("batch_size"))
        return vgg == ("vgg16", 1.0, "cifar10", 128)
    dln = (run.option("model.k"), run.option("model.d"), run.option("data").get("samples"))
    return dln == (25, 10, 1000)


def eta_multiples(run: Run) -> tuple[float, ...]:
    """The step sizes, as multiples of lr, over which the run's bands and effective beta are taken.

    The paper's grid where the run measured all of it, else every step size that it measured.
    """
    measured = tuple(sorted(map(float, run.option("probes.landscape.etas"))))
    experiment = EXPERIMENTS.get(run.family)
    if experiment is not None and all(is_among(eta, measured) for eta in experiment.etas):
        return experiment.etas
    return measured


def is_among(value: float, values: tuple[float, ...]) -> bool:
    """Whether ``value`` is one of ``values`` to rounding."""
    return any(math.isclose(value, other, rel_tol=1e-6) for other in values)
