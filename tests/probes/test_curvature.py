"""Curvature along the gradient and sharpness against a dense Hessian and closed forms."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from bnexp.models import Network
from bnexp.objective import Objective
from bnexp.probes.base import leaving_no_trace
from tests.helpers import (
    LOSS,
    Draws,
    at,
    both,
    every_network,
    every_norm,
    measured,
    network,
    probe,
    trainer,
)
from tests.probes.second_order import CUSP, FLAT, SCALE_FREE, Own, bare, dense, row, scaled, tiny

EXACT = {"tolerance": 1e-9, "max_iterations": 300}
SLOPES = tuple(n + s for n in ("curvature", "beta_0", "sharpness") for s in ("", "_scaled"))


def rows(model: Network, batches: Any, objective: Objective) -> dict[str, Any]:
    """What both probes record at step 0."""
    probes = {**probe("curvature"), **probe("sharpness", **EXACT)}
    found = measured(trainer(model, batches, probes, objective=objective, lr=1e-3), 1)
    return at(found["curvature"])[0] | at(found["sharpness"])[0]


@both
@every_norm
@pytest.mark.parametrize("decay", [(0.7, "weights"), (0.7, "all")])
def test_both_are_those_of_the_references_hessian(
    family: str, norm: str, decay: tuple[float, str]
) -> None:
    """At two steps of a run: each has its own batch and noise; the second measurement of the
    sharpness starts at the eigenvector of the first."""
    model, batches = tiny(family, norm)
    probes = {**probe("curvature"), **probe("sharpness", **EXACT)}
    made = trainer(model, batches, probes, objective=Objective(LOSS[family], *decay), lr=1e-3)
    for step in (0, 1):
        with leaving_no_trace(model):
            g, H = dense(family, norm, model, batches.at(step), step, decay)
        sizes = {name: float(p.detach().norm()) for name, p in model.named_parameters()}
        tables = measured(made, 1, first=step)
        (found,), (sharp,) = at(tables["curvature"]), at(tables["sharpness"])
        assert found["step"] == sharp["step"] == step
        assert found["curvature"] == pytest.approx(float(g @ H @ g / (g @ g)), rel=1e-8)
        assert found["beta_0"] == pytest.approx(float((H @ g).norm() / g.norm()), rel=1e-8)
        assert sharp["sharpness"] == pytest.approx(float(torch.linalg.eigvalsh(H)[-1]), rel=1e-9)
        assert sharp["converged"]
        assert sharp["residual"] <= 1e-9
        weights = math.hypot(*(sizes[name] for name in model.weight_names()))
        assert found["weight_norm"] == pytest.approx(weights)
        assert found["param_norm"] == pytest.approx(math.hypot(*sizes.values()))
        for table, name in ((found, "curvature"), (found, "beta_0"), (sharp, "sharpness")):
            assert table[f"{name}_scaled"] == pytest.approx(table[name] * weights**2)


def test_of_a_quadratic() -> None:
    """1/2 ||W X - Y||^2 has the Hessian v -> v XX', and lambda/2 ||W||^2 adds lambda."""
    model, batches = bare()
    X, Y = batches.at(0).inputs.T, batches.at(0).targets.T
    W = model.affine(1).weight.detach().clone()
    g = (W @ X - Y) @ X.T + 3.0 * W
    Hg = g @ X @ X.T + 3.0 * g
    found = rows(model, batches, Objective("half_sum_squares", 3.0))
    assert found["curvature"] == pytest.approx(float((g * Hg).sum() / (g * g).sum()), rel=1e-12)
    assert found["beta_0"] == pytest.approx(float(Hg.norm() / g.norm()), rel=1e-12)
    largest = float(torch.linalg.eigvalsh(X @ X.T)[-1]) + 3.0
    assert found["sharpness"] == pytest.approx(largest, rel=1e-10)


def test_where_the_scale_of_the_weights_is_idle_the_scaled_ones_do_not_change() -> None:
    """L(cW) = L(W): the curvature goes with 1/c^2."""
    found = []
    for c in (1.0, 10.0):
        model, batches = bare(k=3)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter *= c
        found.append(rows(model, batches, SCALE_FREE))
    for name in SLOPES:
        expected = found[0][name] / (1 if name.endswith("scaled") else 100)
        assert found[1][name] == pytest.approx(expected, rel=1e-8)


@every_network
def test_beta_0_is_the_limit_of_the_landscapes_beta(family: str, norm: str) -> None:
    """Through the package's own landscape probe, at an eta short of the next kink."""
    model, objective = network(family, norm), Objective(LOSS[family], 0.1)
    probes = {**probe("curvature"), **probe("landscape", etas=[1.0])}
    made = trainer(model, Draws(family), probes, objective=objective, lr=1e-8)
    tables = measured(made, 1)
    (beta,), (limit,) = tables["landscape"]["beta"], tables["curvature"]["beta_0"]
    assert limit == pytest.approx(beta, rel=1e-4)
    assert abs(tables["curvature"]["curvature"][0]) <= limit * (1 + 1e-12)


def test_a_concave_loss_has_a_negative_curvature() -> None:
    below, above = (row("curvature", *bare(), scaled(scale)) for scale in (-1.0, 1.0))
    assert below["curvature"] == pytest.approx(-above["curvature"])
    assert below["curvature"] < 0 < below["beta_0"] == pytest.approx(above["beta_0"])


@pytest.mark.parametrize("objective", [FLAT, CUSP], ids=["flat", "cusp"])
def test_without_a_slope_or_a_finite_hessian_it_is_nan(objective: Own) -> None:
    found = row("curvature", *bare(0.0), objective)
    assert all(math.isnan(found[name]) for name in SLOPES if name in found)
    assert found["weight_norm"] == 0.0


def test_where_ghg_overflows_the_quotient_is_measured_all_the_same() -> None:
    steep, plain = (row("curvature", *bare(), scaled(scale)) for scale in (1e120, 1.0))
    for name in ("curvature", "beta_0"):
        assert steep[name] == pytest.approx(1e120 * plain[name], rel=1e-9)
