"""The landscape along a direction against the reference and closed forms (Appendix A.2.2)."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import grad

from bnexp.models import Network
from bnexp.objective import Objective
from bnexp.probes.landscape import Landscape
from tests import reference
from tests.helpers import (
    LOSS,
    LR,
    NETWORKS,
    Draws,
    Table,
    at,
    every_network,
    every_norm,
    measured,
    network,
    probe,
    theta_of,
    trainer,
    twin,
)
from tests.probes.second_order import FLAT, LINEAR, bare

ETAS = [0.5, 1, 2, 4]
STEPS = 2


def tables(
    model: Network,
    family: str,
    *,
    lr: float,
    objective: Objective | None = None,
    steps: int = 1,
    **options: Any,
) -> dict[str, Table]:
    made = trainer(
        model,
        Draws(family),
        probe("landscape", **options),
        objective=objective or Objective(LOSS[family]),
        lr=lr,
    )
    return measured(made, steps)


@pytest.mark.parametrize(
    ("family", "norm", "decay"),
    [(*each, (0.05, "weights")) for each in NETWORKS]
    + [(f, "bn", decay) for f in ("vgg", "dln") for decay in ((0.0, "weights"), (0.05, "all"))],
)
def test_is_the_reference_at_every_eta(family: str, norm: str, decay: tuple[float, str]) -> None:
    """Over two steps of training, whose trajectory the reference walks by itself."""
    lr, batches = LR[family], Draws(family)
    model = network(family, norm)
    theta = theta_of(model)
    found = tables(model, family, lr=lr, objective=Objective(LOSS[family], *decay), steps=STEPS)
    for t in range(STEPS):
        batch = batches.at(t)
        net = twin(model, family, norm, batch.inputs, t)
        loss = reference.objective(net, LOSS[family], *batch, *decay)
        direction = grad(loss)(theta)
        rows = at(found["landscape"], step=t)
        assert [row["eta"] for row in rows] == [m * lr for m in ETAS]
        for row in rows:
            expected = asdict(reference.landscape(loss, theta, direction, row["eta"]))
            assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-9)
        theta = reference.descend(direction, theta, {}, lr, 0.0)


@every_network
def test_smoothness_follows_from_the_landscape(family: str, norm: str) -> None:
    model, objective = network(family, norm), Objective(LOSS[family], 0.01)
    made = trainer(
        model, Draws(family), {**probe("landscape"), **probe("train")}, objective=objective
    )
    found = measured(made, 1)
    grid, (here,) = at(found["landscape"]), at(found["train"])
    (row,) = at(found["smoothness"])
    slopes = [abs(r["loss"] - here["loss"]) / (r["eta"] * here["grad_norm"]) for r in grid]
    steepest = max(grid, key=lambda r: r["beta"])
    assert row == {
        "step": 0,
        "loss_min": min(r["loss"] for r in grid),
        "loss_max": max(r["loss"] for r in grid),
        "lipschitz": pytest.approx(max(slopes), rel=1e-12),
        "predictiveness_min": min(r["predictiveness"] for r in grid),
        "predictiveness_max": max(r["predictiveness"] for r in grid),
        "beta": steepest["beta"],
        "beta_eta": steepest["eta"],
    }


@every_network
def test_at_a_distance_that_rounds_to_nothing_all_is_as_here(family: str, norm: str) -> None:
    """eta -> 0: the difference is 0 to rounding, under noise too, so no noise was drawn anew."""
    made = trainer(
        network(family, norm),
        Draws(family),
        {**probe("landscape", etas=[1e-291]), **probe("train")},
        objective=Objective(LOSS[family], 0.1),
        lr=1e-9,
    )
    found = measured(made, 2)
    for step in (0, 1):
        (row,), (here,) = (at(found[name], step=step) for name in ("landscape", "train"))
        assert row["predictiveness"] <= row["predictiveness_tensors"] <= 1e-12 * here["grad_norm"]
        assert row["loss"] == pytest.approx(here["loss"], rel=1e-13)


def quadratic() -> tuple[Network, Tensor, Tensor]:
    """One linear layer: L = 1/2 ||W X - Y||^2, whose Hessian is v -> v X X'; and g."""
    model, batches = bare()
    X, Y = batches.at(0).inputs.T, batches.at(0).targets.T
    W = model.affine(1).weight.detach()
    return model, X @ X.T, (W @ X - Y) @ X.T


@pytest.mark.parametrize("lr", [1e-6, 1e-3, 1.0])
def test_a_quadratic_has_the_same_beta_at_every_eta(lr: float) -> None:
    """The difference is eta ||H g|| and beta = ||H g|| / ||g||."""
    model, gram, g = quadratic()
    for row in at(tables(model, "dln", lr=lr, etas=[0.01, 1, 30])["landscape"]):
        Hg = float((g @ gram).norm())
        tolerance = 1e-12 / min(1.0, row["eta"])
        assert row["predictiveness"] == pytest.approx(row["eta"] * Hg, rel=tolerance)
        assert row["beta"] == pytest.approx(Hg / float(g.norm()), rel=tolerance)
        assert row["beta_tensors"] == pytest.approx(row["beta"])


def test_on_a_linear_loss_the_gradient_is_predicted_to_rounding() -> None:
    """Gradients that added up over the points would give ||g'|| instead of 0."""
    found = tables(bare()[0], "dln", lr=0.1, objective=LINEAR)
    batch = Draws("dln").at(0)
    g = float((batch.targets.T @ batch.inputs).norm())
    for row in at(found["landscape"]):
        assert row["predictiveness"] <= 1e-12 * g
        assert row["beta"] * row["eta"] <= 1e-12
    assert found["smoothness"]["lipschitz"] == [pytest.approx(g)]


class Recorded(Landscape):
    """Holds the directions it was measured along."""

    def direction(self, step: Any) -> Any:
        direction = super().direction(step)
        self.directions.append({name: value.clone() for name, value in direction.items()})
        return direction


def random_directions(seed: int, norm: str = "bn") -> tuple[list[dict[str, Tensor]], Table, Any]:
    made = trainer(
        network("vgg", norm),
        Draws("vgg"),
        probe("landscape", direction="random"),
        objective=Objective("cross_entropy", 0.01),
        seed=seed,
    )
    (before,) = made.probes
    after = Recorded(before.options, before.setting)
    after.name, after.directions = before.name, []
    made.probes = [after]
    return after.directions, measured(made, 2)["landscape"], made


def test_random_directions_are_of_the_gradients_norm_new_each_step_and_reproducible() -> None:
    (first, _, _), (again, _, _), (other, _, _) = (random_directions(seed) for seed in (0, 0, 1))
    model, batch = network("vgg", "bn"), Draws("vgg").at(0)
    objective = Objective("cross_entropy", 0.01)
    grads = model.evaluate(objective, *batch).grads

    def flat(direction: Any) -> Tensor:
        return torch.cat([direction[name].flatten() for name in grads])

    g, d = flat(grads), flat(first[0])
    assert float(d.norm()) == pytest.approx(float(g.norm()), rel=1e-12)
    for unlike in (g, flat(other[0]), flat(first[1])):
        cosine = float(d @ unlike / (d.norm() * unlike.norm()))
        assert abs(cosine) < 5 / math.sqrt(len(d))
    torch.testing.assert_close(flat(first[0]), flat(again[0]), rtol=1e-12, atol=0)
    z = d / d.std()  # Gaussian over the whole vector, so no parameter is favoured
    assert float((z**4).mean()) == pytest.approx(3, rel=0.15)
    assert abs(float(z.mean())) < 5 / math.sqrt(len(d))


@every_norm
def test_along_a_random_direction_it_is_the_reference_too(norm: str) -> None:
    directions, table, made = random_directions(seed=0, norm=norm)
    model, batch = network("vgg", norm), Draws("vgg").at(0)
    net = twin(made.setting.model, "vgg", norm, batch.inputs, 0)
    loss = reference.objective(net, "cross_entropy", *batch, 0.01)
    along = theta_of(model, directions[0])
    for row in at(table, step=0):
        expected = asdict(reference.landscape(loss, theta_of(model), along, row["eta"]))
        assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("norm", ["none", "bn", "l1"])
def test_an_overflow_is_an_infinite_predictiveness_not_a_missing_one(norm: str) -> None:
    found = tables(network("dln", norm), "dln", lr=1.0, etas=[1e-3, 1e200])
    _, far = at(found["landscape"])
    (row,) = at(found["smoothness"])
    if norm == "none":
        assert far["loss"] == far["predictiveness"] == far["beta"] == math.inf
        assert row["beta"] == row["loss_max"] == row["lipschitz"] == math.inf
    assert not any(math.isnan(value) for value in [*far.values(), *row.values()])


def test_where_the_gradient_is_zero_beta_is_nan() -> None:
    found = tables(bare()[0], "dln", lr=0.1, objective=FLAT)
    assert all(math.isnan(row["beta"]) for row in at(found["landscape"]))
    assert math.isnan(found["smoothness"]["beta"][0])
