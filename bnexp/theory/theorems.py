"""Both sides of the paper's theorems (section 4, Appendix C), which theorems.yaml states.

In all of them g = dL/dy_j of the network without BN, v = grad_{y_j} L^ of the one with BN (by
automatic differentiation), H and H^ the Hessians by y_j, y^ = (y_j - mu) / sigma; setting.py says
at which point.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import yaml
from torch import Tensor

from bnexp.objective import SecondOrder
from bnexp.theory.setting import Unit, normalise, rows_of

Sides = tuple[float, float, float]
"""The left and the right side in one case, and the size of the largest term they are made of."""

_TABLE = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
TITLES: dict[str, str] = {theorem: entry["title"] for theorem, entry in _TABLE.items()}
STATEMENTS: list[dict[str, Any]] = [
    {"theorem": theorem, "name": name, "about": "", **fields}
    for theorem, entry in _TABLE.items()
    for name, fields in entry["statements"].items()
]
"""The statements with the fields of ``theorems.yaml``, where comments say what they are."""


def square(values: Tensor) -> float:
    """The squared 2-norm."""
    return float(values.square().sum())


def length(values: Tensor) -> float:
    """The 2-norm."""
    return float(values.norm())


def theorem_4_1(unit: Unit) -> dict[str, Sides]:
    """BN's Jacobian is gamma/sigma times the projection off 1 and y^."""
    right = unit.gain**2 * sum(terms_4_1(unit).values())
    sides = square(unit.v), right, unit.gain**2 * square(unit.g)
    return {"bound": sides, "equality": sides}


def terms_4_1(unit: Unit) -> dict[str, float]:
    """The three terms in the bracket of 4.1, signs included."""
    mean, yhat = float(unit.g.sum()) ** 2 / unit.m, unit.inner**2 / unit.m
    return {"g": square(unit.g), "mean": -mean, "yhat": -yhat}


def theorem_4_2(unit: Unit) -> dict[str, Sides]:
    """The second line's condition is read as v'Hv <= g'Hg, with which it follows from the first.

    The paper adds that gradients become more predictive where <g, y^> >= 0 (counted with gamma, the
    term's own sign) and H is positive semi-definite.
    """
    hv = unit.hessian(unit.v)
    left = float(unit.v @ unit.hessian(unit.v, after_bn=True))
    kept, plain = float(unit.v @ hv), float(unit.g @ unit.hessian(unit.g))
    drop = unit.gamma / (unit.m * unit.sigma**2) * unit.inner * square(unit.v)
    gain2 = unit.gain**2
    scale = max(abs(gain2 * kept), abs(drop))
    sides = {
        "equality": (left, gain2 * kept - drop, scale),
        "keeps": (kept, plain, max(abs(kept), abs(plain))),
        "aligned": (0.0, unit.gamma * unit.inner, abs(unit.gamma) * length(unit.g) * unit.m**0.5),
        "convex": (0.0, kept, length(unit.v) * length(hv)),
    }
    if kept <= plain:
        sides["second"] = left, gain2 * plain - drop, max(scale, abs(gain2 * plain))
    return {**sides, "bound": sides["equality"]}


def observation_4_3(unit: Unit) -> dict[str, Sides]:
    """With gamma = sigma and beta = mu the BN network is the one without, so its minima are kept.

    By least squares: L = ||z - t||^2 / 2, with t such that the present (W, b) is its minimum, is
    stationary in (W, gamma, beta). As printed no bias b is required, but beta is one: without b the
    BN network can go lower.
    """
    point = unit.point
    with torch.no_grad():
        z = normalise(point.y, point.sigma, point.mean, point.case.eps)
        with_bn, without = (float(point.case.rest(values)) for values in (z, point.y))
    gap = float((rows_of(z)[unit.j] - unit.y).abs().max())
    return {
        "activations": (gap, 0.0, float(unit.y.abs().max())),
        "loss": (with_bn, without, abs(without)),
        "rescaled": (square(unit.v) / unit.gain**2, square(unit.g), square(unit.g)),
        **at_a_minimum(unit, "minima", bias=True),
        **at_a_minimum(unit, "minima_without_bias"),
    }


LARGEST = 1 << 21
"""X with more entries is not factorised."""


def at_a_minimum(
    unit: Unit, name: str, bias: bool = False, fitted: bool = False
) -> dict[str, Sides]:
    """The gradient by (W, gamma, beta) where the plain layer, with or without bias, is at rest.

    At gamma = sigma, beta = mu; or the gradient by W at the best gamma and beta where ``fitted``.
    Nothing where X is too large, or so wide that a least squares minimum leaves no residual.
    """
    x = unit.point.x
    if x.numel() > LARGEST or len(x) < x.shape[1] + bias + 2:
        return {}
    offset = unit.y - x @ unit.w if bias else torch.zeros_like(unit.y)
    basis = unit.point.basis if bias else unit.point.basis[:, :-1]
    away = unit.normal(len(x), stream=unit.stream("minimum"))
    for _ in range(2):  # twice, so that what is left is orthogonal to rounding
        away = away - basis @ (basis.T @ away)
    fit = least_squares(x, offset, x @ unit.w + offset - away, unit.w, fitted)
    size = sum(square(part) for part in fit.gradient[: 1 if fitted else 3]) ** 0.5
    return {name: (size, 0.0, length(away) * max(1.0, length(x)))}


def least_squares(
    x: Tensor, offset: Tensor, target: Tensor, w: Tensor, fitted: bool
) -> SecondOrder:
    """||BN(X W + offset) - t||^2 / 2 of one unit by (W, gamma, beta).

    At gamma = sigma and beta = mu, or at the best gamma and beta where ``fitted``.
    """
    y = x @ w + offset
    gamma, beta = y.std(correction=0)[None], y.mean()[None]
    if fitted:
        gamma, beta = ((y - beta) / gamma @ target / len(y))[None], target.mean()[None]

    def loss(w: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        z = normalise((x @ w + offset)[:, None], gamma, beta)[:, 0]
        return (z - target).square().sum() / 2

    return SecondOrder(loss, [w, gamma, beta])


def counterexample() -> dict[str, Any]:
    """Lemma 4.5's premise refuted by one linear neuron on three points.

    At W* = (2/3, -1/3), the only optimum of the plain network (its gradient is
    ``plain_gradient``), L^ has ``gradient`` by W and is ``loss``, gamma and beta at their best; at
    (0, -1) it is ``least``. Of the kind of Dannemann and Junike (2025, arXiv 2502.17913).
    """
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
    t, best = x.new_tensor([1.0, 0.0, 0.0]), x.new_tensor([0.0, -1.0])
    optimum = torch.linalg.lstsq(x, t[:, None]).solution[:, 0]
    at_optimum, at_best = (least_squares(x, 0 * t, t, w, True) for w in (optimum, best))
    return {
        "optimum": optimum.tolist(),
        "plain_gradient": length(x.T @ (x @ optimum - t)),
        "gradient": length(at_optimum.gradient[0]),
        "loss": float(at_optimum.value),
        "least": float(at_best.value),
    }


DRAWS = 4
"""How many random X the maximum of 4.4 is held against."""


def theorem_4_4(unit: Unit) -> dict[str, Sides]:
    """For one unit j, whose gradient by W_j is X'v.

    g_j^2 = max_{||X|| <= lambda} ||grad_W L||^2 is read as lambda^2 ||g||^2, as in the paper's
    proof. The maximum is over X with y^, sigma and g held fixed although they depend on X. It is
    lambda^2 ||v||^2, attained at X = lambda v a'/||v|| for any unit vector a; the left side is the
    largest of that X and of random ones of spectral norm lambda.
    """
    stream, point = unit.stream("4.4"), unit.point
    lam = 10 ** float(2 * torch.rand((), generator=stream, device=unit.y.device) - 1)
    gain2, lam2, own2 = unit.gain**2, lam**2, square(point.x)
    shape = unit.m, min(4, len(unit.w), unit.m)
    draws = [torch.linalg.qr(unit.normal(*shape, stream=stream))[0] for _ in range(DRAWS)]
    tried = [F.normalize(unit.v, dim=0)[:, None], *draws]
    largest = max(square(lam * (x.T @ unit.v)) for x in tried)
    first, second, third = terms_4_1(unit).values()
    whole, last = first + second + third, lam2 * unit.m * third
    own = square(point.by_weight.gradient[0][unit.j])
    right, scale = gain2 * (lam2 * first + second + last), gain2 * max(lam2 * first, -second, -last)
    return {
        "printed": (largest, right, scale),
        "corrected": (largest, gain2 * lam2 * whole, gain2 * lam2 * first),
        "actual": (own, gain2 * own2 * whole, gain2 * own2 * first),
    }


def theorem_c_1(unit: Unit) -> dict[str, Sides]:
    """C.1 of Appendix C: the Fact that all rests on, and 4.2's counterpart for the weights.

    Of a Theorem C.1 in weight space we had no text to check, so the wording is ours. For any
    direction u of y_j: u'H^u = gamma^2/sigma^2 (Pu)'H(Pu) + gamma/sigma^2 (<g, y^> (3 k^2 -
    ||c||^2/m) - 2 k <g, c>). With u = v it is 4.2; here u = X w, w = grad_{W_j} L^ = X'v, which is
    not orthogonal to 1 and y^.
    """
    g, yhat, m, gain2 = unit.g, unit.yhat, unit.m, unit.gain**2
    formula = unit.gain / m * (m * g - g.sum() - yhat * unit.inner)
    by_weight = unit.point.by_weight
    w = torch.zeros_like(by_weight.gradient[0])
    w[unit.j] = by_weight.gradient[0][unit.j]
    left = float((w * by_weight.hvp([w])[0]).sum())
    u = unit.point.x @ w[unit.j].flatten()
    c, k = u - u.mean(), float(yhat @ u) / m
    pu = c - yhat * k
    bend = unit.inner * (3 * k**2 - square(c) / m) - 2 * k * float(g @ c)
    right = gain2 * float(pu @ unit.hessian(pu)) + unit.gamma / unit.sigma**2 * bend
    # of the terms before P and the bracket cancel (with one weight a unit has no curvature)
    size = abs(unit.gamma) / unit.sigma**2 * length(g) * square(u) / m**0.5
    size = max(size, gain2 * length(u) * length(unit.hessian(u)))
    return {
        "gradient": (length(unit.v - formula), 0.0, abs(unit.gain) * length(g)),
        "weights": (left, right, size),
    }


def lemma_4_5(unit: Unit) -> dict[str, Sides]:
    """For the weights W_j of one unit, an identity about two lengths.

    W* and W^* are the closest optima to W0 of the network without and with BN; W* here is the
    case's weight. L^ does not depend on the length of W_j, so k W* is an optimum for every k > 0
    if W* is, and the nearest has k = <W*, W0>/||W*||^2. The premise, that an optimum of the plain
    network is one of the BN network, is refuted by `counterexample`.
    """
    case, best = unit.point.case, unit.w
    w0 = best.norm() * len(best) ** -0.5 * unit.normal(len(best), stream=unit.stream("4.5"))
    if case.start is not None:
        w0 = case.start[unit.j].to(best).flatten()
    inner, length2 = float(best @ w0), square(best)
    if length2 == 0:
        return {}
    k, gain = inner / length2, (length2 - inner) ** 2 / length2
    far, near = square(w0 - best), square(w0 - k * best)
    scale = max(far, length2, gain)
    sides = {"gain": (far - near, length2 * (1 - k) ** 2, scale)}
    if inner > 0:
        scaled = case.weight.detach().clone()
        scaled[unit.j] *= k
        with torch.no_grad():
            moved, loss = (float(unit.point.loss_of_weight(w)) for w in (scaled, case.weight))
        sides |= {"distance": (near, far - gain, scale), "same": (moved, loss, abs(loss))}
    return sides | at_a_minimum(unit, "optimum", fitted=True)


SIDES: dict[str, Callable[[Unit], dict[str, Sides]]] = {
    "4.1": theorem_4_1, "4.2": theorem_4_2, "4.3": observation_4_3, "4.4": theorem_4_4,
    "C.1": theorem_c_1, "4.5": lemma_4_5,
}  # fmt: skip
"""By theorem, both sides of its statements in the case of one unit, where their conditions hold."""
