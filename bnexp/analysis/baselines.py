"""Runs that stayed at chance, and whether the paper's did: no baseline to compare with."""

from __future__ import annotations

from bnexp.analysis import paper
from bnexp.analysis.quantities import TRAIN_ACCURACY
from bnexp.analysis.scales import EXPERIMENTS
from bnexp.analysis.summaries import last_third, median
from bnexp.runs import Run

CHANCE = 15.0
"""Train accuracy in % below which a classifier of ten classes is at chance."""


def at_chance(run: Run) -> bool:
    """Whether the run's train accuracy (median over its last third) is that of guessing.

    False where the run has no accuracy, as the deep linear network.
    """
    return median(last_third(TRAIN_ACCURACY.trace(run, None), run.steps)) < CHANCE


def paper_trains(run: Run) -> bool:
    """Whether the paper shows a run of this kind that ends above chance."""
    if run.family not in EXPERIMENTS:
        return False
    curve = paper.first_curve(run.family, TRAIN_ACCURACY.name, run.norm, run.lr)
    return curve is not None and bool(curve.lo[-10:].mean() > CHANCE)
