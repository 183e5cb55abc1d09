"""The probe of both sides of 4.1 and 4.2, against the theorems unit by unit and their limits."""

from __future__ import annotations

import pytest
import torch

from bnexp.norms import frozen_statistics
from bnexp.objective import Objective
from bnexp.theory import TERMS, Point, Unit, inputs_of, layer_terms, real_case
from bnexp.theory.theorems import terms_4_1
from tests.helpers import (
    LOSS,
    Draws,
    Table,
    at,
    every_family,
    measured,
    network,
    probe,
    theta_of,
    trainer,
    twin,
)
from tests.reference import forward

STEPS = 2


def table(family: str, norm: str, dtype: torch.dtype = torch.float64, eps: float = 1e-5) -> Table:
    model = network(family, norm, dtype=dtype, eps=eps)
    objective = Objective(LOSS[family], 0.01)
    made = trainer(model, Draws(family, dtype), probe("theory"), objective=objective)
    return measured(made, STEPS)["theory"]


@every_family
@pytest.mark.parametrize("norm", ["none", "bn", "noisy_bn", "l1"])
def test_both_sides_agree_where_eps_is_0(family: str, norm: str) -> None:
    rows = at(table(family, norm, eps=0.0 if family in ("vgg", "dln") else 1e-30))
    layers = {"vgg": 9, "dln": 5, "resnet": 21, "densenet": 9}[family]
    assert [row["step"] for row in rows] == [0] * layers + [1] * layers
    assert [row["layer"] for row in rows] == list(range(1, layers + 1)) * 2
    for row in rows:
        assert row["grad"] == pytest.approx(row["bound"], rel=1e-8, abs=1e-11 * row["scaled"])
        size = abs(row["curv_scaled"]) + abs(row["curv_term"])
        assert row["curv"] == pytest.approx(row["curv_bound"], abs=1e-7 * size)
        assert row["bound"] <= row["scaled"] * (1 + 1e-12)


@every_family
def test_with_eps_the_left_side_of_4_1_is_the_smaller_one(family: str) -> None:
    layers = network(family, "bn").layers
    own = [number for number, layer in layers.items() if layer.norm and number < len(layers)]
    rows = [row for row in at(table(family, "bn", eps=0.1)) if row["layer"] in own]
    strict = [row for row in rows if row["yhat_term"] > 1e-9 * row["scaled"]]
    assert len(strict) > len(rows) / 2
    assert all(row["grad"] < row["bound"] for row in strict)


def test_the_sums_are_those_of_the_units() -> None:
    """4.1's terms unit by unit."""
    model, batch = network("dln", "bn", eps=0.0), Draws("dln").at(0)
    with frozen_statistics(list(model.modules())):
        x = inputs_of(model, [3], batch.inputs)[3]
        case = real_case(model, Objective(LOSS["dln"]), 3, x, *batch)
        point = Point(case)
        terms = {name: float(value) for name, value in layer_terms(point).items()}
    assert tuple(terms) == tuple(TERMS)
    units = [Unit(point, j) for j in point.units]
    for name, key in (("g", "scaled"), ("mean", "mean_term"), ("yhat", "yhat_term")):
        total = sum(unit.gain**2 * abs(terms_4_1(unit)[name]) for unit in units)
        assert terms[key] == pytest.approx(total, rel=1e-10, abs=1e-20)
    assert terms["grad"] == pytest.approx(sum(float(u.v.square().sum()) for u in units))
    assert terms["plain"] == pytest.approx(sum(float(u.g.square().sum()) for u in units))


@pytest.mark.parametrize(("family", "number"), [("vgg", 4), ("resnet", 8)])
def test_the_terms_taken_off_are_the_gradients_of_gamma_and_beta(family: str, number: int) -> None:
    """Of sigma as the reference's plain network has it; layer 8 of ResNet-18 is a projection."""
    model, batch = network(family, "bn"), Draws(family).at(0)
    objective = Objective(LOSS[family])
    made = trainer(model, Draws(family), probe("theory"), objective=objective, lr=0.1)
    fresh = network(family, "bn")
    _, after = forward(twin(fresh, family, "bn", batch.inputs, 0), theta_of(fresh), batch.inputs)
    grads = fresh.evaluate(objective, *batch).grads
    (row,) = at(measured(made, 1)["theory"], layer=number, step=0)
    norm, path = fresh.norm(number), fresh.layers[number].norm
    gamma, m = norm.weight.detach(), after[number].numel() / after[number].shape[1]
    # z = gamma (y - mu) / sigma + beta, so Var z = gamma^2 (1 - eps / sigma^2)
    gain2 = (gamma.square() - after[number].var((0, 2, 3), correction=0)) / 1e-5
    for name, term in (("bias", "mean_term"), ("weight", "yhat_term")):
        expected = float((gain2 * grads[f"{path}.{name}"].square()).sum() / m)
        assert row[term] == pytest.approx(expected, rel=1e-5)


def test_without_bn_scaling_alone_changes_nothing() -> None:
    for row in at(table("vgg", "none")):
        assert row["scaled"] == pytest.approx(row["plain"], rel=1e-10)


def test_in_float32_it_is_the_same_to_rounding() -> None:
    exact, rounded = (
        at(table("vgg", "bn", dtype), step=0) for dtype in (torch.float64, torch.float32)
    )
    for row, other in zip(exact, rounded, strict=True):
        for name in ("grad", "bound", "plain", "scaled"):
            assert other[name] == pytest.approx(row[name], rel=1e-2)
