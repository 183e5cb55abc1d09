"""What each theorem of the paper compares: one function per theorem that returns both sides.

Section 4 and Appendix C of the paper. In all of them g = dL/dy_j of the network without BN, v =
grad_{y_j} L^ of the one with BN (by automatic differentiation), H_jj the loss's Hessian by y_j,
y^ = (y_j - mu) / sigma; setting.py says at which point.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from bnexp.objective import SecondOrder
from bnexp.theory.setting import Unit, normalise

KINDS = ("as printed", "as corrected", "ours", "condition")
"""Forms of a statement. ``as printed`` and ``as corrected`` are the paper's own; ``ours`` is one
whose wording is ours; a ``condition`` is what the paper says is usually so, and is counted."""


@dataclass(frozen=True)
class Form:
    """One statement that left and right stand to each other in ``relation``, ``=`` or ``<=``.

    ``must``: whether it is a mathematical fact, so that a case against it is an error somewhere.
    """

    kind: str
    left: str
    relation: str
    right: str
    must: bool
    about: str = ""

    @property
    def statement(self) -> str:
        """The statement on one line."""
        return f"{self.left}  {self.relation}  {self.right}"


@dataclass(frozen=True)
class Sides:
    """Both sides in one case, and the size of the largest term that they are made of.

    ``applies``: whether the case meets the statement's own condition.
    """

    left: float
    right: float
    scale: float
    applies: bool = True


@dataclass(frozen=True)
class Theorem:
    """A theorem: its forms by name, and the function that computes their sides for a unit."""

    id: str
    title: str
    forms: Mapping[str, Form]
    sides: Callable[[Unit], dict[str, Sides]]


THEOREMS: dict[str, Theorem] = {}
"""Every theorem that is checked, by the paper's number."""

_Sides = Callable[[Unit], dict[str, Sides]]


def theorem(number: str, title: str, **forms: Form) -> Callable[[_Sides], _Sides]:
    """Function decorator: enter it among THEOREMS; it returns sides for some of ``forms``."""

    def enter(sides: _Sides) -> _Sides:
        THEOREMS[number] = Theorem(number, title, forms, sides)
        return sides

    return enter


def square(values: Tensor) -> float:
    return float(values.square().sum())


# ---------------------------------------------------------------------------------------- 4.1

_BOUND_41 = "gamma^2/sigma^2 (||g||^2 - <1,g>^2/m - <g,y^>^2/m)"


@theorem(
    "4.1",
    "The effect of BatchNorm on the Lipschitzness of the loss",
    bound=Form("as printed", "||grad_y L^||^2", "<=", _BOUND_41, True),
    equality=Form("as corrected", "||grad_y L^||^2", "=", _BOUND_41, True, "it is an equality"),
)
def theorem_4_1(unit: Unit) -> dict[str, Sides]:
    """Theorem 4.1, for one unit j.

    As printed: ||grad_{y_j} L^||^2 <= gamma^2/sigma_j^2 (||grad_{y_j} L||^2 - <1, grad_{y_j} L>^2/m
    - <grad_{y_j} L, y^_j>^2/m). It is an equality: BN's Jacobian is gamma/sigma times the
    projection off 1 and y^.
    """
    right = unit.gain**2 * sum(terms_4_1(unit).values())
    sides = Sides(square(unit.v), right, unit.gain**2 * square(unit.g))
    return {"bound": sides, "equality": sides}


def terms_4_1(unit: Unit) -> dict[str, float]:
    """The three terms in the bracket of 4.1, signs included."""
    return {
        "g": square(unit.g),
        "mean": -(float(unit.g.sum()) ** 2) / unit.m,
        "yhat": -(float(unit.g @ unit.yhat) ** 2) / unit.m,
    }


# ---------------------------------------------------------------------------------------- 4.2

_BOUND_42 = "gamma^2/sigma^2 v'Hv - gamma/(m sigma^2) <g,y^> ||v||^2"


@theorem(
    "4.2",
    "The effect of BatchNorm on smoothness",
    bound=Form("as printed", "v'H^v", "<=", _BOUND_42, True, "first line"),
    equality=Form("as corrected", "v'H^v", "=", _BOUND_42, True, "first line: an equality"),
    second=Form(
        "as printed",
        "v'H^v",
        "<=",
        "gamma^2/sigma^2 (g'Hg - <g,y^> ||v||^2 / (m gamma))",
        True,
        "second line, where H keeps the relative norms of g and v: v'Hv <= g'Hg",
    ),
    keeps=Form("condition", "v'Hv", "<=", "g'Hg", False, "the second line's condition"),
    aligned=Form("condition", "0", "<=", "gamma <g,y^>", False, "BN lowers the curvature if so"),
    convex=Form("condition", "0", "<=", "v'Hv", False, "the loss is convex along v"),
)
def theorem_4_2(unit: Unit) -> dict[str, Sides]:
    """Theorem 4.2, for one unit j; H is H_jj, H^ is the Hessian of L^ by y_j.

    As printed, first line: v'H^v <= gamma^2/sigma^2 v'H v - gamma/(m sigma^2) <g, y^> ||v||^2; it
    is an equality. Second line, "if H_jj preserves the relative norms of g and grad_{y_j} L^":
    v'H^v <= gamma^2/sigma^2 (g'H g - 1/(m gamma) <g, y^> ||v||^2). The condition is read as
    v'Hv <= g'Hg, with which the second line follows from the first. The paper adds that the bound
    makes gradients more predictive where <g, y^> >= 0 (we count gamma <g, y^>, the term's own sign)
    and H is positive semi-definite; both are counted.
    """
    inner = float(unit.g @ unit.yhat)
    gained, drop = unit.gain**2 * float(unit.v @ unit.hv), curvature_drop(unit)
    plain = float(unit.g @ unit.hessian(unit.g))
    left, right = unit.curvature_left, gained - drop
    scale = max(abs(gained), abs(drop))
    kept = float(unit.v @ unit.hv)
    first = Sides(left, right, scale)
    aligned = abs(unit.gamma) * float(unit.g.norm()) * unit.m**0.5
    return {
        "bound": first,
        "equality": first,
        "second": Sides(
            left,
            unit.gain**2 * plain - drop,
            max(scale, abs(unit.gain**2 * plain)),
            applies=kept <= plain,
        ),
        "keeps": Sides(kept, plain, max(abs(kept), abs(plain))),
        "aligned": Sides(0.0, unit.gamma * inner, aligned),
        "convex": Sides(0.0, kept, float(unit.v.norm() * unit.hv.norm())),
    }


def curvature_drop(unit: Unit) -> float:
    """gamma/(m sigma^2) <g, y^> ||v||^2, the term that 4.2 takes off."""
    inner = float(unit.g @ unit.yhat)
    return unit.gamma / (unit.m * unit.sigma**2) * inner * square(unit.v)


# ---------------------------------------------------------------------------------------- 4.3


@theorem(
    "4.3",
    "BatchNorm does more than rescaling (Observation)",
    activations=Form(
        "as printed", "max |z - y| at gamma = sigma, beta = mu", "=", "0", True, "same activations"
    ),
    loss=Form("as printed", "L^ at gamma = sigma, beta = mu", "=", "L at y", True, "same loss"),
    rescaled=Form(
        "as printed",
        "sigma^2/gamma^2 ||grad_y L^||^2",
        "<=",
        "||g||^2",
        True,
        "no larger with the scale taken out",
    ),
    minima=Form(
        "as corrected",
        "||grad_{W,gamma,beta} L^|| at a minimum of L",
        "=",
        "0",
        True,
        "minima are kept where the linear layer has a bias",
    ),
    minima_without_bias=Form(
        "as printed",
        "||grad_{W,gamma,beta} L^|| at a minimum of L",
        "=",
        "0",
        False,
        "minima are kept whatever the linear layer: not without a bias",
    ),
)
def observation_4_3(unit: Unit) -> dict[str, Sides]:
    """Observation 4.3: BN does more than rescaling.

    For any input X and weights W there is a BN configuration (W, gamma, beta) with the same
    activations y_j, and with gamma = sigma_j; so all minima of the normal landscape are kept in
    the BN one. Checked: z = y and L^ = L there; with the scale gamma/sigma taken out, the gradient
    is no larger than g; and that a minimum of L by (W, b) is a stationary point of L^ by (W, gamma,
    beta). For that, L = ||z - t||^2 / 2 with t chosen so that the present weights are its least
    squares minimum. As printed it does not ask for a bias b, but beta is one: without it the BN
    network can go lower.
    """
    point = unit.point
    gap = float((point.restored - point.y)[:, unit.j].abs().max())
    with_bn, without = point.restored_losses
    found = {
        "activations": Sides(gap, 0.0, float(unit.y.abs().max())),
        "loss": Sides(with_bn, without, abs(without)),
        "rescaled": Sides(square(unit.v) / unit.gain**2, square(unit.g), square(unit.g)),
    }
    for name, bias in (("minima", True), ("minima_without_bias", False)):
        if (sides := at_a_minimum(unit, bias)) is not None:
            found[name] = sides
    return found


LARGEST = 1 << 21
"""X with more entries is not factorised."""


def at_a_minimum(unit: Unit, bias: bool, fitted: bool = False) -> Sides | None:
    """The gradient by (W, gamma, beta) where the plain layer, with or without bias, is at rest.

    At gamma = sigma, beta = mu; or the gradient by W at the best gamma and beta where ``fitted``.
    None where X is too large, or so wide that a least squares minimum leaves nothing.
    """
    x = unit.point.x
    if x.numel() > LARGEST:
        return None
    if len(x) < x.shape[1] + bias + 2:
        return None
    offset = unit.y - x @ unit.w if bias else torch.zeros_like(unit.y)
    y = x @ unit.w + offset
    away = unit.normal(len(x), stream=unit.stream("minimum"))
    basis = unit.point.basis(bias)
    for _ in range(2):  # twice, so that what is left is orthogonal to rounding
        away = away - basis @ (basis.T @ away)
    target = y - away

    gradient = least_squares(x, offset, target, unit.w, fitted).gradient
    length = sum(square(part) for part in gradient[: 1 if fitted else 3]) ** 0.5
    return Sides(length, 0.0, float(away.norm()) * max(1.0, float(x.norm())))


def least_squares(
    x: Tensor, offset: Tensor, target: Tensor, w: Tensor, fitted: bool
) -> SecondOrder:
    """||BN(X W + offset) - t||^2 / 2 of one unit by (W, gamma, beta).

    At gamma = sigma and beta = mu, or at the best gamma and beta where ``fitted``.
    """
    y = x @ w + offset
    sigma, mean = y.std(correction=0)[None], y.mean()[None]
    gamma, beta = sigma, mean
    if fitted:
        yhat = (y - mean) / sigma
        gamma, beta = (yhat @ target / len(y))[None], target.mean()[None]

    def loss(w: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        z = normalise((x @ w + offset)[:, None], gamma, beta)[:, 0]
        return (z - target).square().sum() / 2

    return SecondOrder(loss, [w, gamma, beta])
