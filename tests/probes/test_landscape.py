"""The landscape along a direction against the reference and closed forms (Appendix A.2.2)."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import grad

from bnexp.models import Network, dln
from bnexp.norms import at_step
from bnexp.objective import Objective
from bnexp.objective import norm as length
from bnexp.probes.landscape import Landscape
from tests import reference
from tests.helpers import (
    FAMILIES,
    LOSS,
    LR,
    NORMS,
    Draws,
    Table,
    at,
    measured,
    network,
    normaliser,
    probe,
    trainer,
    twin,
)

both = pytest.mark.parametrize("family", FAMILIES)
every_norm = pytest.mark.parametrize("norm", NORMS)
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


def rows(table: Table, step: int = 0) -> list[dict[str, float]]:
    return at(table, step=step)


class Linear(Objective):
    """<outputs, targets>: linear in the weight of a single layer."""

    def data(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs * targets).sum()


@both
@every_norm
@pytest.mark.parametrize("decay", [(0.0, "weights"), (0.05, "weights"), (0.05, "all")])
def test_is_the_reference_at_every_eta(family: str, norm: str, decay: tuple[float, str]) -> None:
    """Over two steps of training, whose trajectory the reference walks by itself."""
    lr, batches = LR[family], Draws(family)
    model = network(family, norm)
    theta = reference.theta_of(dict(model.named_parameters()))
    found = tables(model, family, lr=lr, objective=Objective(LOSS[family], *decay), steps=STEPS)
    for t in range(STEPS):
        batch = batches.at(t)
        net = twin(model, family, norm, batch.inputs, t)
        loss = reference.objective(net, LOSS[family], batch.inputs, batch.targets, *decay)
        direction = grad(loss)(theta)
        measured_rows = rows(found["landscape"], t)
        assert [row["eta"] for row in measured_rows] == [m * lr for m in ETAS]
        for row in measured_rows:
            expected = asdict(reference.landscape(loss, theta, direction, row["eta"]))
            assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-9)
        theta = reference.descend(direction, theta, {}, lr, 0.0)


@both
@every_norm
def test_smoothness_follows_from_the_landscape(family: str, norm: str) -> None:
    model, batch = network(family, norm), Draws(family).at(0)
    at_step(model, 0)
    objective = Objective(LOSS[family], 0.01)
    here = objective.loss_and_grads(model, batch.inputs, batch.targets)
    g = float(length(here.grads.values()))
    found = tables(network(family, norm), family, lr=LR[family], objective=objective)
    grid = rows(found["landscape"])
    (row,) = rows(found["smoothness"])
    slopes = [abs(r["loss"] - float(here.loss)) / (r["eta"] * g) for r in grid]
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


@both
@every_norm
def test_at_a_distance_that_rounds_to_nothing_all_is_as_here(family: str, norm: str) -> None:
    """eta -> 0: the difference is 0, under noise too, so no noise was drawn anew.

    Exactly 0 for the VGG. The DLN's points share one pass whose sums are taken in another order
    than the step's own: there 0 to rounding.
    """
    objective, model, batch = Objective(LOSS[family], 0.1), network(family, norm), Draws(family)
    found = tables(model, family, lr=1e-9, etas=[1e-291], objective=objective, steps=2)
    model = network(family, norm)
    here = objective.loss_and_grads(model, batch.at(0).inputs, batch.at(0).targets)
    for step in (0, 1):
        (row,) = rows(found["landscape"], step)
        rounding = 0.0 if family == "vgg" else 1e-12 * float(length(here.grads.values()))
        assert row["predictiveness"] <= row["predictiveness_sum"] <= rounding
    loss = rows(found["landscape"])[0]["loss"]
    assert loss == pytest.approx(float(here.loss), rel=0.0 if family == "vgg" else 1e-14)


def quadratic() -> tuple[Network, Tensor, Tensor]:
    """One linear layer: L = 1/2 ||W X - Y||^2, whose Hessian is v -> v X X'; and g."""
    model, batch = dln(normaliser("none"), k=1, d=4), Draws("dln").at(0)
    X, Y = batch.inputs.T, batch.targets.T
    W = model.layers[1].affine.weight.detach()
    return model, X @ X.T, (W @ X - Y) @ X.T


@pytest.mark.parametrize("lr", [1e-6, 1e-3, 1.0])
def test_a_quadratic_has_the_same_beta_at_every_eta(lr: float) -> None:
    """The difference is eta ||H g|| and beta = ||H g|| / ||g||."""
    model, gram, g = quadratic()
    for row in rows(tables(model, "dln", lr=lr, etas=[0.01, 1, 30])["landscape"]):
        Hg = float((g @ gram).norm())
        tolerance = 1e-12 / min(1.0, row["eta"])
        assert row["predictiveness"] == pytest.approx(row["eta"] * Hg, rel=tolerance)
        assert row["beta"] == pytest.approx(Hg / float(g.norm()), rel=tolerance)
        assert row["beta_sum"] == pytest.approx(row["beta"])


def test_an_eigenvector_of_the_hessian_has_its_eigenvalue_for_beta() -> None:
    model, gram, _ = quadratic()
    values, vectors = torch.linalg.eigh(gram)
    batch = Draws("dln").at(0)
    for value, vector in zip(values, vectors.T, strict=True):
        # W chosen so that g = outer(e_1, vector): W X X' = Y X' + g
        g = torch.zeros(4, 4, dtype=torch.float64)
        g[0] = vector
        with torch.no_grad():
            W = (batch.targets.T @ batch.inputs + g) @ torch.linalg.inv(gram)
            model.layers[1].affine.weight.copy_(W)
        (row,) = rows(tables(model, "dln", lr=1e-9, etas=[1e5])["smoothness"])
        assert row["beta"] == pytest.approx(float(value), rel=1e-8)


def test_a_loss_c_times_as_large_has_c_times_the_beta() -> None:
    """At the same points: sum_squares = 2 half_sum_squares, with half the step along 2 g."""
    model = network("dln", "l1")
    once = tables(model, "dln", lr=1e-3, objective=Objective("half_sum_squares"))
    model = network("dln", "l1")
    twice = tables(model, "dln", lr=5e-4, objective=Objective("sum_squares"))
    for a, b in zip(rows(once["landscape"]), rows(twice["landscape"]), strict=True):
        for name in ("loss", "predictiveness", "beta", "predictiveness_sum", "beta_sum"):
            assert b[name] == pytest.approx(2 * a[name], rel=1e-10)
    (a,), (b,) = rows(once["smoothness"]), rows(twice["smoothness"])
    assert b["beta"] == pytest.approx(2 * a["beta"], rel=1e-10)
    assert b["lipschitz"] == pytest.approx(2 * a["lipschitz"], rel=1e-10)


def test_on_a_linear_loss_the_gradient_is_predicted_exactly() -> None:
    """Gradients that added up over the points would give ||g'|| instead of 0."""
    model = dln(normaliser("none"), k=1, d=4)
    found = tables(model, "dln", lr=0.1, objective=Linear("half_sum_squares"))
    for row in rows(found["landscape"]):
        assert row["predictiveness"] == row["beta"] == row["beta_sum"] == 0.0
    (row,) = rows(found["smoothness"])
    batch = Draws("dln").at(0)
    assert row["lipschitz"] == pytest.approx(float((batch.targets.T @ batch.inputs).norm()))


@both
def test_beta_is_per_its_own_distance_not_per_learning_rate(family: str) -> None:
    """The same absolute etas out of another lr give the same rows."""
    one = tables(network(family, "bn"), family, lr=0.1, etas=[0.01, 0.1])["landscape"]
    other = tables(network(family, "bn"), family, lr=0.01, etas=[0.1, 1.0])["landscape"]
    assert set(one) == set(other)
    for name, values in one.items():
        assert values == pytest.approx(other[name], rel=1e-9)


@both
@every_norm
def test_sums_are_of_the_layers_norms(family: str, norm: str) -> None:
    model, batch = network(family, norm), Draws(family).at(0)
    objective, eta = Objective(LOSS[family], 0.01), 2 * LR[family]
    at_step(model, 0)
    args = (model, batch.inputs, batch.targets)
    here = objective.loss_and_grads(*args).grads
    point = {n: p.detach() - eta * here[n] for n, p in model.named_parameters()}
    there = objective.loss_and_grads(*args, params=point).grads
    changes, moves = 0.0, 0.0
    for number in model.layers.numbers():
        own = [n for n in here if n.startswith(f"layers.{number}.")]
        changes += math.sqrt(sum(float((there[n] - here[n]).square().sum()) for n in own))
        moves += eta * math.sqrt(sum(float(here[n].square().sum()) for n in own))
    found = tables(network(family, norm), family, lr=LR[family], etas=[2], objective=objective)
    (row,) = rows(found["landscape"])
    assert row["predictiveness_sum"] == pytest.approx(changes, rel=1e-10)
    assert row["beta_sum"] == pytest.approx(changes / moves, rel=1e-10)
    assert row["predictiveness"] < row["predictiveness_sum"]


class Seen(Landscape):
    """Keeps the directions it was measured along."""

    kept: list[dict[str, Tensor]]

    def direction(self, step: Any) -> Any:
        found = super().direction(step)
        self.kept.append({name: value.clone() for name, value in found.items()})
        return found


def random_directions(seed: int, norm: str = "bn") -> tuple[list[dict[str, Tensor]], Table, Any]:
    made = trainer(
        network("vgg", norm),
        Draws("vgg"),
        probe("landscape", direction="random"),
        objective=Objective("cross_entropy", 0.01),
        lr=0.1,
        seed=seed,
    )
    (before,) = made.probes
    after = Seen(before.options, before.setting)
    after.kept = []
    made.probes = [after]
    return after.kept, measured(made, 2)["landscape"], made


def test_random_directions_are_of_the_gradients_norm_new_each_step_and_reproducible() -> None:
    first, _, _ = random_directions(seed=0)
    again, _, _ = random_directions(seed=0)
    other, _, _ = random_directions(seed=1)
    model, batch = network("vgg", "bn"), Draws("vgg").at(0)
    objective = Objective("cross_entropy", 0.01)
    grads = objective.loss_and_grads(model, batch.inputs, batch.targets).grads

    def flat(direction: dict[str, Tensor]) -> Tensor:
        return torch.cat([direction[name].flatten() for name in grads])

    g, d = flat(grads), flat(first[0])
    assert float(d.norm()) == pytest.approx(float(g.norm()), rel=1e-12)
    for unlike in (g, flat(other[0]), flat(first[1])):
        cosine = float(d @ unlike / (d.norm() * unlike.norm()))
        assert abs(cosine) < 5 / math.sqrt(len(d))
    for a, b in zip(first, again, strict=True):
        assert all(torch.equal(a[name], b[name]) for name in a)
    z = d / d.std()  # Gaussian over the whole vector, so no parameter is favoured
    assert float((z**4).mean()) == pytest.approx(3, rel=0.15)
    assert abs(float(z.mean())) < 5 / math.sqrt(len(d))


@every_norm
def test_along_a_random_direction_it_is_the_reference_too(norm: str) -> None:
    kept, table, made = random_directions(seed=0, norm=norm)
    model, batch = network("vgg", norm), Draws("vgg").at(0)
    theta = reference.theta_of(dict(model.named_parameters()))
    net = twin(made.setting.model, "vgg", norm, batch.inputs, 0)
    loss = reference.objective(net, "cross_entropy", batch.inputs, batch.targets, 0.01)
    for row in rows(table):
        expected = reference.landscape(loss, theta, reference.theta_of(kept[0]), row["eta"])
        wanted = asdict(expected)
        assert {name: row[name] for name in wanted} == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("norm", ["none", "bn", "l1"])
def test_an_overflow_is_an_infinite_predictiveness_not_a_missing_one(norm: str) -> None:
    found = tables(network("dln", norm), "dln", lr=1.0, etas=[1e-3, 1e200])
    _, far = rows(found["landscape"])
    (row,) = rows(found["smoothness"])
    if norm == "none":
        assert far["loss"] == far["predictiveness"] == far["beta"] == math.inf
        assert row["beta"] == row["loss_max"] == row["lipschitz"] == math.inf
    assert not any(math.isnan(value) for value in [*far.values(), *row.values()])


def test_where_the_gradient_is_zero_beta_is_no_number() -> None:
    model = dln(normaliser("none"), k=1, d=4)

    class Flat(Objective):
        def data(self, outputs: Tensor, targets: Tensor) -> Tensor:
            return (outputs * 0).sum()

    found = tables(model, "dln", lr=0.1, objective=Flat("half_sum_squares"))
    assert all(math.isnan(row["beta"]) for row in rows(found["landscape"]))
    assert math.isnan(rows(found["smoothness"])[0]["beta"])
