"""Both sides of 4.1 and 4.2 for a whole layer, term by term: what a probe logs along training."""

from __future__ import annotations

import torch
from torch import Tensor

from bnexp.theory.setting import Point

TERMS = (
    "grad", "bound", "plain", "scaled", "mean_term", "yhat_term",
    "curv", "curv_bound", "curv_plain", "curv_scaled", "curv_term",
)  # fmt: skip
"""See ``layer_terms``."""


def layer_terms(point: Point) -> dict[str, Tensor]:
    """Theorem 4.1 summed over the units, and 4.2 along v of the whole layer; scalars by name.

    4.1: ``grad`` = sum_j ||grad_{y_j} L^||^2, its left side; ``bound`` = ``scaled`` - ``mean_term``
    - ``yhat_term``, its right side, of ``scaled`` = sum_j gamma_j^2/sigma_j^2 ||g_j||^2 (what
    scaling alone gives) and the terms with <1, g_j> and <g_j, y^_j>; ``plain`` = sum_j ||g_j||^2,
    the network without BN.

    4.2 with all units at once: v = grad_y L^ and H, H^ the Hessians by all of y. Then it reads
    v'H^v = u'Hu - sum_j gamma_j/(m sigma_j^2) <g_j, y^_j> ||v_j||^2 with u_j = gamma_j/sigma_j v_j.
    ``curv`` = v'H^v and ``curv_bound`` = ``curv_scaled`` - ``curv_term`` are its sides,
    ``curv_plain`` = g'Hg belongs to the network without BN.

    sigma^2 includes the layer's eps. With eps > 0 both are approximate: the left side of 4.1 is
    less than the right by gamma^2/sigma^2 eps/(m sigma^2) <g, y^>^2. Units that are constant over
    the batch are left out where eps is 0.
    """
    keep = torch.ones_like(point.gamma)
    if point.case.eps == 0.0:
        keep = (~point.moments.constant).to(keep)
    gain = keep * point.gamma / point.moments.sigma
    g, v, yhat = (keep[:, None] * rows for rows in (point.g, point.v, point.yhat))
    m = point.m
    squares, inner = _dot(g, g), _dot(g, yhat)
    gain2, lengths = gain.double().square(), _dot(v, v)
    scaled = (gain2 * squares).sum()
    mean_term = (gain2 * g.double().sum(1).square() / m).sum()
    yhat_term = (gain2 * inner.square() / m).sum()
    u = gain[:, None] * v
    curv_scaled = _dot(u, point.times(point.plain, u)).sum()
    curv_term = (gain.double() / point.moments.sigma.double() * inner * lengths / m).sum()
    return {
        "grad": lengths.sum(),
        "bound": scaled - mean_term - yhat_term,
        "plain": squares.sum(),
        "scaled": scaled,
        "mean_term": mean_term,
        "yhat_term": yhat_term,
        "curv": _dot(v, point.times(point.normed, v)).sum(),
        "curv_bound": curv_scaled - curv_term,
        "curv_plain": _dot(g, point.times(point.plain, g)).sum(),
        "curv_scaled": curv_scaled,
        "curv_term": curv_term,
    }


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """<a_j, b_j> of every unit, summed in float64."""
    return (a.double() * b.double()).sum(1)
