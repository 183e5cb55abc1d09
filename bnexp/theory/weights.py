"""The theorems about weights: 4.4, C.1 and Lemma 4.5 (see theorems.py)."""

from __future__ import annotations

import torch
from torch import Tensor

from bnexp.theory.setting import Point, Unit
from bnexp.theory.theorems import Form, Sides, at_a_minimum, square, theorem

DRAWS = 4
"""How many random X the maximum of 4.4 is held against."""

# ---------------------------------------------------------------------------------------- 4.4


@theorem(
    "4.4",
    "Minimax bound on weight-space Lipschitzness",
    printed=Form(
        "as printed",
        "max ||grad_W L^||^2",
        "<=",
        "gamma^2/sigma^2 (g_j^2 - m mu_g^2 - lambda^2 <g,y^>^2)",
        False,
    ),
    corrected=Form(
        "as corrected",
        "max ||grad_W L^||^2",
        "=",
        "gamma^2/sigma^2 (g_j^2 - lambda^2 m mu_g^2 - lambda^2/m <g,y^>^2)",
        True,
        "y^ and sigma held fixed while X varies; the maximum is attained",
    ),
    actual=Form(
        "as corrected",
        "||grad_W L^||^2 at the case's own X",
        "<=",
        "gamma^2/sigma^2 (||X||^2 ||g||^2 - ..)",
        True,
        "by automatic differentiation, lambda = ||X||",
    ),
    moving=Form(
        "condition",
        "max ||grad_W L^||^2, y^ and sigma moving with X",
        "<=",
        "as corrected",
        False,
        "what the theorem would say if it did not hold y^ and sigma fixed",
    ),
)
def theorem_4_4(unit: Unit) -> dict[str, Sides]:
    """Theorem 4.4, for one unit j, whose gradient by W_j is X'v.

    As printed: if g_j = max_{||X|| <= lambda} ||grad_W L||^2 and g^_j the same of L^, then
    g^_j <= gamma^2/sigma_j^2 (g_j^2 - m mu_{g_j}^2 - lambda^2 <grad_{y_j} L, y^_j>^2), mu_{g_j} the
    mean of grad_{y_j} L. g_j^2 is read as lambda^2 ||g||^2, as in the paper's proof (read to the
    letter it is a fourth power of the gradient against second powers). Corrected: lambda^2 also on
    the second term, and 1/m on the last.

    The maximum is over X with v held fixed, that is with y^, sigma and g held fixed although they
    depend on X. It is ||v||^2 lambda^2, attained at X = lambda v a'/||v|| for any unit vector a,
    whether the norm of X is the spectral or the Frobenius norm. ``left`` is the largest that was
    found: of that X and of random ones of spectral norm lambda.
    """
    stream = unit.stream("4.4")
    lam = 10 ** float(2 * torch.rand((), generator=stream, device=unit.y.device) - 1)
    own = unit.point.by_weight.gradient[0][unit.j]
    size = float(unit.point.x.norm())
    largest = max(_maximum(unit, lam), *(_random(unit, lam, stream) for _ in range(DRAWS)))
    first, second, third = _terms(unit)
    gain2, lam2 = unit.gain**2, lam**2
    scale = gain2 * lam2 * first
    corrected = gain2 * lam2 * (first - second - third)
    found = {
        "printed": Sides(
            largest,
            gain2 * (lam2 * first - second - lam2 * unit.m * third),
            gain2 * max(lam2 * first, second, lam2 * unit.m * third),
        ),
        "corrected": Sides(largest, corrected, scale),
        "actual": Sides(
            square(own), gain2 * size**2 * (first - second - third), gain2 * size**2 * first
        ),
    }
    if unit.point.case.again is not None:
        moved = max(_moved(unit, lam, stream) for _ in range(DRAWS))
        found["moving"] = Sides(moved, corrected, scale)
    return found


def _terms(unit: Unit) -> tuple[float, float, float]:
    """||g||^2, m mu_g^2 and <g, y^>^2/m."""
    return (
        square(unit.g),
        unit.m * float(unit.g.mean()) ** 2,
        float(unit.g @ unit.yhat) ** 2 / unit.m,
    )


def _maximum(unit: Unit, lam: float) -> float:
    """||X'v||^2 at X = lambda v a'/||v||."""
    length = unit.v.norm()
    if length == 0:
        return 0.0
    x = lam * (unit.v / length)[:, None]
    return square(x.T @ unit.v)


def _random(unit: Unit, lam: float, stream: torch.Generator) -> float:
    """||X'v||^2 at a random X whose singular values are all lambda."""
    columns = min(4, len(unit.w), unit.m)
    x = torch.linalg.qr(unit.normal(unit.m, columns, stream=stream))[0]
    return square(lam * (x.T @ unit.v))


def _moved(unit: Unit, lam: float, stream: torch.Generator) -> float:
    """||grad_{W_j} L^||^2 of the network on a random X of spectral norm lambda."""
    point = unit.point
    assert point.case.again is not None
    x = unit.normal(*point.x.shape, stream=stream)
    x *= lam / torch.linalg.matrix_norm(x, 2)
    return square(Point(point.case.again(x)).by_weight.gradient[0][unit.j])


# ---------------------------------------------------------------------------------------- C.1


@theorem(
    "C.1",
    "Gradient through BatchNorm (Fact), and the curvature by the weights",
    gradient=Form(
        "as printed",
        "grad_y L^",
        "=",
        "gamma/(m sigma) (m g - sum_k g_k - y^ sum_k g_k y^_k)",
        True,
        "the left side is the distance between the two",
    ),
    weights=Form(
        "ours",
        "w'(d2L^/dW2)w",
        "=",
        "gamma^2/sigma^2 [(Pu)'H(Pu) + (<g,y^>(3k^2 - ||c||^2/m) - 2k<g,c>)/gamma]",
        True,
        "w = grad_W L^, u = Xw, c = u less its mean, k = <y^,u>/m, P takes off 1 and y^",
    ),
    as_4_2=Form(
        "ours",
        "w'(d2L^/dW2)w",
        "<=",
        "gamma^2/sigma^2 u'Hu - gamma/(m sigma^2) <g,y^> ||u||^2",
        False,
        "4.2's bound carried over to the weights as it is",
    ),
)
def theorem_c_1(unit: Unit) -> dict[str, Sides]:
    """C.1 of Appendix C.

    Fact C.1, as printed: df/dA_b = gamma/(m sigma) (m df/dC_b - sum_k df/dC_k - B_b sum_k df/dC_k
    B_k) for B = (A - mu)/sigma, C = gamma B + beta; all that follows rests on it.

    Of a Theorem C.1 in weight space we had no text to check, so the wording is ours: the exact
    counterpart of 4.2 for the weights, whose gradient direction is not orthogonal to 1 and y^ in
    activation space. For any direction u of y_j: u'H^u = gamma^2/sigma^2 (Pu)'H(Pu) + gamma/sigma^2
    (<g, y^> (3 k^2 - ||c||^2/m) - 2 k <g, c>), with c = u less its mean and k = <y^, u>/m. With
    u = v it is 4.2; here u = X w, w = grad_{W_j} L^ = X'v. The third form says what becomes of
    4.2's right side when u stands in v's place.
    """
    formula = unit.gain / unit.m * (
        unit.m * unit.g - unit.g.sum() - unit.yhat * (unit.g @ unit.yhat)
    )  # fmt: skip
    found = {
        "gradient": Sides(
            float((unit.v - formula).norm()), 0.0, abs(unit.gain) * float(unit.g.norm())
        )
    }
    by_weight = unit.point.by_weight
    w = torch.zeros_like(by_weight.gradient[0])
    w[unit.j] = by_weight.gradient[0][unit.j]
    left = float((w * by_weight.hvp([w])[0]).sum())
    u = unit.point.x @ w[unit.j].flatten()
    inside, bent = curvature_along(unit, u)
    hu = unit.hessian(u)
    flat = unit.gain**2 * float(u @ hu)
    # of the terms before P and the bracket cancel (with one weight a unit has no curvature)
    size = abs(unit.gamma) / unit.sigma**2 * float(unit.g.norm()) * square(u) / unit.m**0.5
    size = max(size, unit.gain**2 * float(u.norm() * hu.norm()))
    found["weights"] = Sides(left, inside + bent, size)
    drop = unit.gamma / (unit.m * unit.sigma**2) * float(unit.g @ unit.yhat) * square(u)
    found["as_4_2"] = Sides(left, flat - drop, max(abs(flat), abs(drop), abs(left)))
    return found


def curvature_along(unit: Unit, u: Tensor) -> tuple[float, float]:
    """The two terms of u'H^u for any direction u: H seen through BN, and BN's own bend."""
    seen = unit.project(u)
    c, k = u - u.mean(), float(unit.yhat @ u) / unit.m
    inner = float(unit.g @ unit.yhat)
    bent = inner * (3 * k**2 - square(c) / unit.m) - 2 * k * float(unit.g @ c)
    return unit.gain**2 * float(seen @ unit.hessian(seen)), unit.gamma / unit.sigma**2 * bent


# ---------------------------------------------------------------------------------------- 4.5


@theorem(
    "4.5",
    "BatchNorm leads to a favourable initialisation (Lemma)",
    distance=Form(
        "as printed",
        "||W0 - W^*||^2",
        "<=",
        "||W0 - W*||^2 - (||W*||^2 - <W*,W0>)^2 / ||W*||^2",
        True,
        "W^* = k W*, k = <W*,W0>/||W*||^2, where <W*,W0> > 0",
    ),
    gain=Form(
        "as corrected",
        "||W0 - W*||^2 - ||W0 - W^*||^2",
        "=",
        "||W*||^2 (1 - k)^2",
        True,
        "an identity, whatever the sign of <W*,W0>",
    ),
    same=Form(
        "as printed", "L^ at k W*", "=", "L^ at W*", True, "so k W* is an optimum too, if k > 0"
    ),
    optimum=Form(
        "as printed",
        "||grad_W L^|| at a minimum W* of L, gamma and beta at their best",
        "=",
        "0",
        False,
        "W* is an optimum of the BN network, the premise: not without a bias "
        "(Dannemann and Junike 2025)",
    ),
    negative=Form("condition", "L^ at k W*", "=", "L^ at W*", False, "the same with k < 0"),
)
def lemma_4_5(unit: Unit) -> dict[str, Sides]:
    """Lemma 4.5, for the weights W_j of one unit.

    As printed: for any initialisation W0 with <W0, W*> > 0, ||W0 - W^*||^2 <= ||W0 - W*||^2 -
    1/||W*||^2 (||W*||^2 - <W*, W0>)^2, W* and W^* the closest optima of the network without and
    with BN. L^ does not see the length of W_j, so W^* = k W* is an optimum for every k > 0, and
    the nearest has k = <W*, W0>/||W*||^2; with it the lemma is the identity gain = ||W*||^2 (1 -
    k)^2. It compares two lengths only; W* here is the case's weight, which is an optimum of
    neither network. Where k < 0, k W* is no optimum (unless gamma changes its sign too). That W*,
    an optimum of the plain network, is one of the BN network is the premise; Dannemann and Junike
    (2025, arXiv 2502.17913) refute it, and so does the form ``optimum``, by least squares.
    """
    start = unit.point.case.start
    best = unit.w
    if start is None:
        w0 = best.norm() * len(best) ** -0.5 * unit.normal(len(best), stream=unit.stream("4.5"))
    else:
        w0 = start[unit.j].to(best).flatten()
    inner, length2 = float(best @ w0), square(best)
    if length2 == 0:
        return {}
    k = inner / length2
    far, near = square(w0 - best), square(w0 - k * best)
    gain = (length2 - inner) ** 2 / length2
    scale = max(far, length2, gain)
    losses = _loss_at(unit, k)
    premise = at_a_minimum(unit, bias=False, fitted=True)
    return {
        **({} if premise is None else {"optimum": premise}),
        "distance": Sides(near, far - gain, scale, applies=inner > 0),
        "gain": Sides(far - near, length2 * (1 - k) ** 2, scale),
        "same": Sides(*losses, abs(losses[1]), applies=k > 0),
        "negative": Sides(*losses, abs(losses[1]), applies=k < 0),
    }


def _loss_at(unit: Unit, k: float) -> tuple[float, float]:
    """L^ with W_j times k, and as it is."""
    case = unit.point.case
    scaled = case.weight.detach().clone()
    scaled[unit.j] *= k
    with torch.no_grad():
        return tuple(  # type: ignore[return-value]
            float(unit.point.loss_after_bn(case.affine(w))) for w in (scaled, case.weight)
        )
