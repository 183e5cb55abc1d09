"""The size and the angle of updates against the step written out, and against the equilibrium."""

from __future__ import annotations

import math

import pytest
import torch

from bnexp.objective import Objective
from tests.helpers import at, measured, probe, trainer
from tests.probes.second_order import SCALE_FREE, Own, bare

LR, DECAY = 0.05, 0.4


def test_of_a_quadratic_they_are_those_of_the_step_written_out() -> None:
    """W' = W - lr ((W X - Y) X' + lambda W)."""
    model, batches = bare()
    W = model.affine(1).weight.detach().clone()
    X, Y = batches.at(0).inputs.T, batches.at(0).targets.T
    new = W - LR * ((W @ X - Y) @ X.T + DECAY * W)
    objective = Objective("half_sum_squares", DECAY)
    made = trainer(model, batches, probe("updates"), objective=objective, lr=LR)
    (found,) = at(measured(made, 1)["updates"])
    assert (found["step"], found["layer"]) == (0, 1)
    assert found["weight_norm"] == pytest.approx(float(W.norm()), rel=1e-14)
    assert found["update_norm"] == pytest.approx(float((new - W).norm()), rel=1e-12)
    relative = float((new - W).norm() / W.norm())
    assert found["relative_update"] == pytest.approx(relative, rel=1e-12)
    cosine = float((new * W).sum() / new.norm() / W.norm())
    assert found["angle"] == pytest.approx(math.acos(cosine), rel=1e-9)


def test_a_small_angle_has_all_its_digits() -> None:
    """Of a loss whose gradient is orthogonal to the weights: tan(angle) is the relative update."""
    model, batches = bare()
    probes = probe("updates")
    made = trainer(model, batches, probes, objective=SCALE_FREE, lr=1e-9)
    (found,) = at(measured(made, 1)["updates"])
    assert found["angle"] == pytest.approx(found["relative_update"], rel=1e-6)
    assert 0 < found["angle"] < 1e-8


@pytest.mark.parametrize("factor", [0.1, 1.0])
def test_scale_invariant_weights_come_to_rotational_equilibrium(factor: float) -> None:
    """Under SGD with L2 the relative update tends to sqrt(2 lr lambda) whatever the size of the
    gradients (Wan et al. 2021), from weights too long and too short."""
    model, batches = bare()
    with torch.no_grad():
        model.affine(1).weight.mul_(factor)
    objective = Own(SCALE_FREE.data)
    object.__setattr__(objective, "weight_decay", 0.2)
    made = trainer(model, batches, probe("updates"), objective=objective, lr=LR, steps=400)
    found = measured(made, 400)["updates"]["relative_update"]
    equilibrium = math.sqrt(2 * LR * 0.2)
    assert abs(math.log(found[0] / equilibrium)) > 0.5
    mean_square = sum(x * x for x in found[250:]) / 150
    assert math.sqrt(mean_square) == pytest.approx(equilibrium, rel=0.1)
