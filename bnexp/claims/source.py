"""Where a claim reads its numbers: the runs of one seed, or the paper's own curves.

A claim is one function of a `Source`, so the paper's value and ours are the same statistic.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from bnexp.claims.quantities import QUANTITIES
from bnexp.analysis import paper
from bnexp.analysis.select import Need
from bnexp.analysis.scales import PAPER_STEPS
from bnexp.analysis.series import Array, Trace
from bnexp.runs import Run

PAPER_EVERY = {"vgg": 100, "dln": 50}
"""How many steps lie between the points of the paper's plots."""


class NotThereError(Exception):
    """The source has no such series."""


class Source(Protocol):
    """One complete set of runs: one per normalisation and learning rate."""

    def trace(self, quantity: str, norm: str, lr: float, layer: int | None = None) -> Trace:
        """The quantity (a key of `QUANTITIES`) over steps, a line or a band.

        Raises:
            NotThereError: the source has none.
        """
        ...

    @property
    def steps(self) -> int:
        """How many steps the runs were to make."""
        ...


class RunSource:
    """The runs of one seed that meet a claim's needs."""

    def __init__(self, runs: Mapping[Need, Run]) -> None:
        self._runs = runs

    @property
    def steps(self) -> int:
        return max(run.steps for run in self._runs.values())

    def trace(self, quantity: str, norm: str, lr: float, layer: int | None = None) -> Trace:
        asked = QUANTITIES[quantity]
        for need, run in self._runs.items():
            if (need.norm, need.table) == (norm, asked.table) and np.isclose(need.lr, lr):
                return asked.trace(run, layer)
        raise NotThereError(f"{quantity} of {norm} at lr {lr:g}")


class PaperSource:
    """The paper's curves of one family of networks, whichever figure shows them first."""

    def __init__(self, family: str) -> None:
        self._family = family

    @property
    def steps(self) -> int:
        return PAPER_STEPS[self._family]

    def trace(self, quantity: str, norm: str, lr: float, layer: int | None = None) -> Trace:
        curve = paper.anywhere(self._family, quantity, norm, lr, layer)
        if curve is None:
            raise NotThereError(f"{quantity} of {norm} at lr {lr:g}")
        return _resampled(curve, PAPER_EVERY[self._family], QUANTITIES[quantity].log)


def _resampled(curve: paper.Curve, every: int, log: bool) -> Trace:
    """The curve at the steps that the paper recorded: its plots dropped points on straight lines.

    In between it is interpolated as plotted: on log axes linearly in log10.
    """
    x = np.arange(curve.x[0], curve.x[-1] + every / 2, every)
    log = log and bool((curve.lo > 0).all() and (curve.hi > 0).all())

    def at(y: Array) -> Array:
        return 10.0 ** np.interp(x, curve.x, np.log10(y)) if log else np.interp(x, curve.x, y)

    return Trace(x, at(curve.lo), at(curve.hi))
