"""Lemma 4.5's premise refuted by one neuron on three points.

The lemma compares W* with k W* as the optima of the networks without and with BN. Dannemann and
Junike (2025, arXiv 2502.17913) show that an optimum of the plain network need not be one of the
normalised network. This is a case of that kind: least squares of a linear neuron of two inputs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from bnexp.objective import SecondOrder
from bnexp.theory.theorems import least_squares

POINTS = ((1.0, 0.0), (0.0, 1.0), (1.0, 1.0))
TARGETS = (1.0, 0.0, 0.0)


@dataclass(frozen=True)
class Counterexample:
    """What the two networks are at W*, the plain network's only optimum.

    Attributes:
        optimum: W*, by the normal equations: (2/3, -1/3).
        plain_gradient: the norm of L's gradient by W there, 0.
        gradient: the norm of L^'s gradient by W there, gamma and beta at their best.
        loss: L^ there, gamma and beta at their best.
        least: the least that L^ can be: 0, at W = (0, -1).
    """

    optimum: tuple[float, float]
    plain_gradient: float
    gradient: float
    loss: float
    least: float

    @property
    def refutes(self) -> bool:
        """Whether W* is an optimum of the plain network and none of the BN network."""
        return self.plain_gradient < 1e-12 and self.gradient > 1e-3 and self.least < self.loss


def counterexample() -> Counterexample:
    """The case, computed: L = ||z - t||^2 / 2 with z = X w, or z = BN(X w) with gamma and beta."""
    x = torch.tensor(POINTS, dtype=torch.float64)
    t = torch.tensor(TARGETS, dtype=torch.float64)
    optimum = torch.linalg.lstsq(x, t[:, None]).solution[:, 0]
    plain = SecondOrder(lambda w: (x @ w - t).square().sum() / 2, [optimum])
    zero = torch.zeros_like(t)
    at_optimum = least_squares(x, zero, t, optimum, fitted=True)
    # with an intercept, as beta is one, three points of two inputs are fitted exactly
    exact = torch.linalg.lstsq(torch.cat([x, torch.ones_like(t)[:, None]], 1), t[:, None]).solution
    return Counterexample(
        (float(optimum[0]), float(optimum[1])),
        float(plain.gradient[0].norm()),
        float(at_optimum.gradient[0].norm()),
        float(at_optimum.value),
        float(least_squares(x, zero, t, exact[:2, 0], fitted=True).value),
    )
