"""Curvature along the gradient against a dense Hessian and closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from bnexp.objective import Objective
from bnexp.probes.base import leaving_no_trace
from tests.helpers import FAMILIES, LOSS, NORMS, Draws, measured, network, probe, trainer
from tests.probes.second_order import Cusp, Flat, ScaleFree, bare, dense, row, small

both = pytest.mark.parametrize("family", FAMILIES)
every_norm = pytest.mark.parametrize("norm", NORMS)


@both
@every_norm
@pytest.mark.parametrize("decay", [(0.0, "weights"), (0.7, "weights"), (0.7, "all")])
def test_is_that_of_the_references_hessian(
    family: str, norm: str, decay: tuple[float, str]
) -> None:
    """At two steps of a run: each has its own batch and noise."""
    model, batches = small(family, norm)
    objective = Objective(LOSS[family], *decay)
    made = trainer(model, batches, probe("curvature"), objective=objective, lr=1e-3)
    for step in (0, 1):
        with leaving_no_trace(model):
            g, H = dense(family, norm, model, batches.at(step), step, decay)
        sizes = {name: float(p.detach().norm()) for name, p in model.named_parameters()}
        found = measured(made, 1, first=step)["curvature"]
        assert found["step"] == [step]
        assert found["curvature"] == [pytest.approx(float(g @ H @ g / (g @ g)), rel=1e-8)]
        assert found["beta_0"] == [pytest.approx(float((H @ g).norm() / g.norm()), rel=1e-8)]
        weights = [size for name, size in sizes.items() if name.endswith("affine.weight")]
        assert found["weight_norm"] == [pytest.approx(math.hypot(*weights))]
        assert found["param_norm"] == [pytest.approx(math.hypot(*sizes.values()))]
        for name in ("curvature", "beta_0"):
            assert found[f"{name}_scaled"][0] == found[name][0] * found["weight_norm"][0] ** 2


@both
@every_norm
def test_beta_0_is_the_limit_of_the_landscapes_beta(family: str, norm: str) -> None:
    """Through the package's own landscape probe, at an eta short of the next kink."""
    model, objective = network(family, norm), Objective(LOSS[family], 0.1)
    probes = {**probe("curvature"), **probe("landscape", etas=[1.0])}
    made = trainer(model, Draws(family), probes, objective=objective, lr=1e-8)
    for step in range(2):
        found = measured(made, 1, first=step)
        (beta,), (limit,) = found["landscape"]["beta"], found["curvature"]["beta_0"]
        assert limit == pytest.approx(beta, rel=1e-4)
        assert abs(found["curvature"]["curvature"][0]) <= limit * (1 + 1e-12)


def test_of_a_quadratic() -> None:
    """1/2 ||W X - Y||^2 has the Hessian v -> v XX', and lambda/2 ||W||^2 adds lambda."""
    model, batches = bare()
    X, Y = batches.at(0).inputs.T, batches.at(0).targets.T
    W = model.layers[1].affine.weight.detach().clone()
    g = (W @ X - Y) @ X.T + 3.0 * W
    Hg = g @ X @ X.T + 3.0 * g
    found = row("curvature", model, batches, Objective("half_sum_squares", 3.0))
    assert found["curvature"] == pytest.approx(float((g * Hg).sum() / (g * g).sum()), rel=1e-12)
    assert found["beta_0"] == pytest.approx(float(Hg.norm() / g.norm()), rel=1e-12)


def test_a_loss_c_times_as_large_has_c_times_the_curvature() -> None:
    once, twice = (
        row("curvature", *small("dln", "l1"), Objective(loss))
        for loss in ("half_sum_squares", "sum_squares")
    )
    for name in ("curvature", "beta_0", "curvature_scaled", "beta_0_scaled"):
        assert twice[name] == pytest.approx(2 * once[name], rel=1e-10)
    assert twice["weight_norm"] == once["weight_norm"]


def test_where_the_scale_of_the_weights_is_idle_the_scaled_ones_do_not_see_it() -> None:
    """L(cW) = L(W): the curvature goes with 1/c^2."""
    rows = []
    for c in (1.0, 10.0):
        model, batches = bare(k=3)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter *= c
        rows.append(row("curvature", model, batches, ScaleFree("half_sum_squares")))
    for name in ("curvature", "beta_0"):
        assert rows[1][name] == pytest.approx(rows[0][name] / 100, rel=1e-9)
        assert rows[1][f"{name}_scaled"] == pytest.approx(rows[0][f"{name}_scaled"], rel=1e-9)


def test_a_concave_loss_has_a_negative_curvature() -> None:
    class Hill(Objective):
        def data(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            return -super().data(outputs, targets)

    below, above = (
        row("curvature", *bare(), kind("half_sum_squares")) for kind in (Hill, Objective)
    )
    assert below["curvature"] == pytest.approx(-above["curvature"])
    assert below["curvature"] < 0 < below["beta_0"] == pytest.approx(above["beta_0"])


@pytest.mark.parametrize("kind", [Flat, Cusp])
def test_without_a_slope_or_a_finite_hessian_there_is_no_number(kind: type[Objective]) -> None:
    found = row("curvature", *bare(0.0), kind("half_sum_squares"))
    for name in ("curvature", "beta_0", "curvature_scaled", "beta_0_scaled"):
        assert math.isnan(found[name])
    assert found["weight_norm"] == 0.0


def test_where_ghg_overflows_the_quotient_is_measured_all_the_same() -> None:
    class Steep(Objective):
        def data(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            return super().data(outputs, targets) * 1e120

    steep, plain = (row("curvature", *bare(), k("half_sum_squares")) for k in (Steep, Objective))
    for name in ("curvature", "beta_0"):
        assert steep[name] == pytest.approx(1e120 * plain[name], rel=1e-9)
