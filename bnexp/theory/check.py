"""Checks every theorem on cases, and both sides of 4.1 and 4.2 for the layers of a probe."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from bnexp.theory.setting import Case, Point, Unit
from bnexp.theory.theorems import SIDES, STATEMENTS, Sides

TOLERANCE = 1e-9
"""Relative to the largest term of the two sides, in float64."""

Finding = dict[str, Any]
"""A statement's fields and what came of it over the cases that meet its condition.

``violation`` is the largest by which any of the ``cases`` is ``against`` it (by which the sides of
an equality differ), ``gap`` the largest by which the right side exceeds the left, both relative to
the largest term and None where they are not finite. ``verdict``: holds, does not hold, or no case.
"""


def finding(statement: dict[str, Any], sides: Iterable[Sides]) -> Finding:
    """The finding from both sides in every case."""
    left, right, scale = np.array(list(sides)).reshape(-1, 3).T
    gap = (right - left) / np.where(scale > 0, scale, 1.0)
    violation = np.maximum(0.0, -gap) if "<=" in statement["text"] else np.abs(gap)
    against = int((~(violation <= TOLERANCE)).sum())
    largest = {"violation": violation.max(initial=-np.inf), "gap": gap.max(initial=-np.inf)}
    numbers = {name: float(x) if np.isfinite(x) else None for name, x in largest.items()}
    verdict = "no case" if not len(gap) else "does not hold" if against else "holds"
    return {**statement, "cases": len(gap), "against": against, **numbers, "verdict": verdict}


class Report(NamedTuple):
    """The findings on one set of cases: where they are from, how many units were checked."""

    where: str
    units: int
    constant_units_skipped: int
    findings: list[Finding]

    @property
    def wrong(self) -> list[Finding]:
        """The statements that must hold and do not."""
        return [finding for finding in self.findings if finding["must"] and finding["against"]]


def check_cases(where: str, cases: Iterable[Case], units: int | None = None) -> Report:
    """Every theorem on every unit of every case, or on ``units`` of each, evenly spread."""
    sides: dict[tuple[str, str], list[Sides]] = {(s["theorem"], s["name"]): [] for s in STATEMENTS}
    checked = skipped = 0
    for case in cases:
        point = Point(case)
        live = len(point.units)
        count = min(units or live, live)
        skipped, checked = skipped + len(point.yhat) - live, checked + count
        for unit in (Unit(point, point.units[i * live // count]) for i in range(count)):
            for theorem, function in SIDES.items():
                for name, values in function(unit).items():
                    sides[theorem, name].append(values)
    findings = [finding(s, sides[s["theorem"], s["name"]]) for s in STATEMENTS]
    return Report(where, checked, skipped, findings)


TERMS = {
    "grad": "4.1's left side: sum_j ||grad_{y_j} L^||^2",
    "bound": "4.1's right side: scaled - mean_term - yhat_term",
    "plain": "sum_j ||g_j||^2, of the network without BN",
    "scaled": "sum_j gamma_j^2/sigma_j^2 ||g_j||^2: what scaling alone gives",
    "mean_term": "sum_j gamma_j^2/sigma_j^2 <1, g_j>^2 / m",
    "yhat_term": "sum_j gamma_j^2/sigma_j^2 <g_j, y^_j>^2 / m",
    "curv": "4.2's left side: v'H^v",
    "curv_bound": "4.2's right side: curv_scaled - curv_term",
    "curv_plain": "g'Hg, of the network without BN",
    "curv_scaled": "u'Hu with u_j = gamma_j/sigma_j v_j",
    "curv_term": "sum_j gamma_j/(m sigma_j^2) <g_j, y^_j> ||v_j||^2",
}
"""What `layer_terms` gives."""


def layer_terms(point: Point) -> dict[str, Tensor]:
    """Theorem 4.1 summed over the units, and 4.2 along v = grad_y L^ of the whole layer: `TERMS`.

    H and H^ are the Hessians by all of y, sigma^2 includes the layer's eps. With eps > 0 both are
    approximate: the left side of 4.1 is less than the right by gamma^2/sigma^2 eps/(m sigma^2)
    <g, y^>^2. Units that are constant over the batch are left out where eps is 0. Scalars; inner
    products are summed in float64.
    """

    def dot(a: Tensor, b: Tensor) -> Tensor:
        return (a.double() * b.double()).sum(1)

    sigma, m, gain = point.sigma, point.m, point.gamma / point.sigma
    g, v, yhat = point.g, point.v, point.yhat
    if point.case.eps == 0.0:
        live = (~point.constant).to(gain)
        gain, g, v, yhat = gain * live, *(live[:, None] * rows for rows in (g, v, yhat))
    u, gain2 = gain[:, None] * v, gain.double().square()
    squares, lengths, inner = dot(g, g), dot(v, v), dot(g, yhat)
    scaled = (gain2 * squares).sum()
    mean_term = (gain2 * g.double().sum(1).square() / m).sum()
    yhat_term = (gain2 * inner.square() / m).sum()
    curv_scaled = dot(u, point.times(point.plain, u)).sum()
    curv_term = (gain.double() / sigma.double() * inner * lengths / m).sum()
    return {
        "grad": lengths.sum(),
        "bound": scaled - mean_term - yhat_term,
        "plain": squares.sum(),
        "scaled": scaled,
        "mean_term": mean_term,
        "yhat_term": yhat_term,
        "curv": dot(v, point.times(point.normed, v)).sum(),
        "curv_bound": curv_scaled - curv_term,
        "curv_plain": dot(g, point.times(point.plain, g)).sum(),
        "curv_scaled": curv_scaled,
        "curv_term": curv_term,
    }
