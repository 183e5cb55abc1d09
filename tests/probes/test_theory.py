"""The probe of both sides of 4.1 and 4.2, against the theorems unit by unit and their limits."""

from __future__ import annotations

import pytest
import torch

from bnexp.objective import Objective
from bnexp.theory import TERMS, Point, Unit, inputs_of, layer_terms, real_case
from bnexp.theory.theorems import terms_4_1
from tests.helpers import FAMILIES, LOSS, LR, Draws, Table, at, measured, network, probe, trainer

STEPS = 2


def table(family: str, norm: str, dtype: torch.dtype = torch.float64, **options: float) -> Table:
    model = network(family, norm, dtype=dtype, **options)
    made = trainer(
        model,
        Draws(family, dtype),
        probe("theory"),
        objective=Objective(LOSS[family], 0.01),
        lr=LR[family],
    )
    return measured(made, STEPS)["theory"]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("norm", ["none", "bn", "noisy_bn", "l1"])
def test_both_sides_agree_where_eps_is_0(family: str, norm: str) -> None:
    found = table(family, norm, eps=0.0)
    layers = 9 if family == "vgg" else 5
    assert found["step"] == [0] * layers + [1] * layers
    assert found["layer"] == list(range(1, layers + 1)) * 2
    for row in at(found):
        assert row["grad"] == pytest.approx(row["bound"], rel=1e-9, abs=1e-12 * row["scaled"])
        size = abs(row["curv_scaled"]) + abs(row["curv_term"])
        assert row["curv"] == pytest.approx(row["curv_bound"], abs=1e-8 * size)
        assert row["bound"] <= row["scaled"] * (1 + 1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_with_eps_the_left_side_of_4_1_is_the_smaller_one(family: str) -> None:
    rows = at(table(family, "bn", eps=0.1))
    last = max(row["layer"] for row in rows)  # it has no BN of its own
    strict = [r for r in rows if r["layer"] < last and r["yhat_term"] > 1e-9 * r["scaled"]]
    assert len(strict) > len(rows) / 2
    assert all(row["grad"] < row["bound"] for row in strict)


def test_the_sums_are_those_of_the_units() -> None:
    """4.1's terms unit by unit; and with one unit, 4.2 is that unit's own."""
    model, batch = network("dln", "bn", eps=0.0), Draws("dln").at(0)
    objective = Objective(LOSS["dln"])
    x = inputs_of(model, [3], batch.inputs)[3]
    point = Point(real_case(model, objective, 3, x, batch.targets))
    terms = {name: float(value) for name, value in layer_terms(point).items()}
    assert tuple(terms) == TERMS
    units = [Unit(point, j) for j in point.units]
    for name, key in (("g", "scaled"), ("mean", "mean_term"), ("yhat", "yhat_term")):
        total = sum(unit.gain**2 * abs(terms_4_1(unit)[name]) for unit in units)
        assert terms[key] == pytest.approx(total, rel=1e-10, abs=1e-20)
    assert terms["grad"] == pytest.approx(sum(float(u.v.square().sum()) for u in units))
    assert terms["plain"] == pytest.approx(sum(float(u.g.square().sum()) for u in units))


def test_the_terms_taken_off_are_the_gradients_of_gamma_and_beta() -> None:
    model, batch = network("vgg", "bn"), Draws("vgg").at(0)
    objective = Objective(LOSS["vgg"])
    made = trainer(model, Draws("vgg"), probe("theory"), objective=objective, lr=0.1)
    grads = objective.loss_and_grads(model, batch.inputs, batch.targets).grads
    row = at(measured(made, 1)["theory"], layer=4)[0]
    x = inputs_of(network("vgg", "bn"), [4], batch.inputs)[4]
    layer = network("vgg", "bn").layers[4]
    y = layer.affine(x).detach()
    m = y.numel() / y.shape[1]
    var = y.var((0, 2, 3), correction=0) + 1e-5
    gain2 = layer.norm.weight.detach().square() / var  # type: ignore[operator]
    shift, scale = (grads[f"layers.4.norm.{name}"].square() for name in ("bias", "weight"))
    assert row["mean_term"] == pytest.approx(float((gain2 * shift).sum() / m), rel=1e-7)
    assert row["yhat_term"] == pytest.approx(float((gain2 * scale).sum() / m), rel=1e-7)


def test_without_bn_scaling_alone_changes_nothing() -> None:
    for row in at(table("vgg", "none")):
        assert row["scaled"] == pytest.approx(row["plain"], rel=1e-10)


def test_in_float32_it_is_the_same_to_rounding() -> None:
    exact, rounded = (
        at(table("vgg", "bn", dtype), step=0) for dtype in (torch.float64, torch.float32)
    )
    for one, other in zip(exact, rounded, strict=True):
        for name in ("grad", "bound", "plain", "scaled"):
            assert other[name] == pytest.approx(one[name], rel=1e-2)
