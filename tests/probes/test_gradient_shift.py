"""Internal covariate shift (Definition 2.1) against the reference, closed forms and its limit."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.func import grad, jvp

from bnexp.objective import Objective
from tests import reference
from tests.helpers import (
    LOSS,
    LR,
    NETWORKS,
    Draws,
    Table,
    at,
    both,
    every_network,
    every_norm,
    measured,
    network,
    probe,
    theta_of,
    trainer,
    twin,
)
from tests.probes.second_order import bare

STEPS = 2


def shift(
    family: str,
    norm: str,
    objective: Objective,
    lr: float,
    steps: int = 1,
    momentum: float = 0.0,
    dtype: torch.dtype = torch.float64,
    layers: object = "all",
) -> Table:
    made = trainer(
        network(family, norm, dtype=dtype),
        Draws(family, dtype),
        probe("gradient_shift", layers=layers),
        objective=objective,
        lr=lr,
        momentum=momentum,
    )
    return measured(made, steps)["gradient_shift"]


def close(row: dict[str, float], expected: tuple[float, float, float], tolerance: float) -> None:
    """l2 and grad_norm to ``tolerance`` of the gradient's size, cos to ``tolerance``."""
    l2, cos, size = expected
    assert math.isfinite(l2)
    assert size > 0
    assert row["grad_norm"] == pytest.approx(size, rel=tolerance)
    assert row["l2"] == pytest.approx(l2, abs=tolerance * (size + l2))
    assert row["cos"] == pytest.approx(cos, abs=tolerance)


@pytest.mark.parametrize(
    ("family", "norm", "momentum", "lam", "decay"),
    [(*each, 0.9, 0.05, "all") for each in NETWORKS]
    + [(f, "bn", 0.9, 0.0, "weights") for f in ("vgg", "dln")]
    + [(f, "bn", 0.0, 0.05, "weights") for f in ("vgg", "dln")],
)
def test_is_definition_2_1(family: str, norm: str, momentum: float, lam: float, decay: str) -> None:
    """The reference walks the whole trajectory by itself, so an off-by-one step would show."""
    model, batches, lr = network(family, norm), Draws(family), LR[family]
    old, numbers = theta_of(model), list(model.layers)
    velocity: dict[str, Tensor] = {}
    table = shift(family, norm, Objective(LOSS[family], lam, decay), lr, STEPS, momentum)
    assert table["step"] == [t for t in range(STEPS) for _ in numbers]
    assert table["layer"] == numbers * STEPS
    moved = 0.0
    for t in range(STEPS):
        batch = batches.at(t)
        net = twin(model, family, norm, batch.inputs, t)
        loss = reference.objective(net, LOSS[family], *batch, lam, decay)
        new = reference.descend(grad(loss)(old), old, velocity, lr, momentum)
        for i, expected in reference.gradient_shift(loss, old, new, numbers).items():
            close(at(table, step=t, layer=i)[0], expected, 1e-9)
            moved = max(moved, 1 - expected[1])
        old = new
    assert moved > 1e-5  # there is a shift to be measured


@both
@every_norm
def test_float32_agrees_with_a_float64_reference(family: str, norm: str) -> None:
    """A small step, lest rounding carry a pre-activation over the ReLU's kink."""
    lr, model = LR[family] / 10, network(family, norm, dtype=torch.float32)
    batch = Draws(family, torch.float32).at(0)
    old = {name: value.double() for name, value in theta_of(model).items()}
    net = twin(model, family, norm, batch.inputs, 0)
    noise = {i: (m.double(), s.double()) for i, (m, s) in net.noise.items()}
    net = reference.Net(net.layers, norm, net.relu, noise)
    inputs, targets = batch.inputs.double(), batch.targets
    targets = targets.double() if targets.is_floating_point() else targets
    loss = reference.objective(net, LOSS[family], inputs, targets)
    new = reference.descend(grad(loss)(old), old, {}, lr, 0.0)
    table = shift(family, norm, Objective(LOSS[family]), lr, dtype=torch.float32)
    for i, expected in reference.gradient_shift(loss, old, new, list(model.layers)).items():
        close(at(table, layer=i)[0], expected, 1e-4)


@every_network
def test_layer_1_has_none_exactly(family: str, norm: str) -> None:
    objective = Objective(LOSS[family], 0.1, "all")
    table = shift(family, norm, objective, LR[family], 3, 0.9, torch.float32, layers=[1])
    assert table["layer"] == [1, 1, 1]
    assert table["l2"] == [0.0, 0.0, 0.0]
    assert table["cos"] == [1.0, 1.0, 1.0]
    assert min(table["grad_norm"]) > 0


@pytest.mark.parametrize("lr", [1e-4, 1e-2])
def test_two_linear_layers_have_a_closed_form(lr: float) -> None:
    """L = 1/2 ||W2 W1 X - Y||^2: G_2 = (W2 W1 X - Y)(W1 X)', G_2' with W1 - lr G_1 for W1."""
    model, batches = bare(k=2)
    W1, W2 = (model.affine(i).weight.detach().clone() for i in (1, 2))
    X, Y = batches.at(0).inputs.T, batches.at(0).targets.T
    G1 = W2.T @ (W2 @ W1 @ X - Y) @ X.T
    G2 = (W2 @ W1 @ X - Y) @ (W1 @ X).T
    moved = (W1 - lr * G1) @ X
    after = (W2 @ moved - Y) @ moved.T
    objective = Objective("half_sum_squares")
    made = trainer(model, batches, probe("gradient_shift"), objective=objective, lr=lr)
    row = at(measured(made, 1)["gradient_shift"], layer=2)[0]
    assert row["grad_norm"] == pytest.approx(float(G2.norm()), rel=1e-12)
    assert row["l2"] == pytest.approx(float((G2 - after).norm()), rel=1e-10)
    cosine = float((G2 * after).sum() / (G2.norm() * after.norm()))
    assert row["cos"] == pytest.approx(cosine, abs=1e-12)


@both
@every_norm
def test_over_the_learning_rate_it_tends_to_a_directional_derivative(
    family: str, norm: str
) -> None:
    """ICS_i / lr -> ||d/dh grad_{W_i} L(preceding - h grad)|| as lr -> 0, with an error O(lr)."""
    batch, model = Draws(family).at(0), network(family, norm)
    theta = theta_of(model)
    net = twin(model, family, norm, batch.inputs, 0)
    loss = reference.objective(net, LOSS[family], *batch, 0.05)
    g = grad(loss)(theta)
    errors = {}
    for lr in (1e-6, 1e-7):
        table = shift(family, norm, Objective(LOSS[family], 0.05), lr, layers=[3, 5])
        for i in (3, 5):
            before = {n: t for n, t in theta.items() if reference.layer_of(n) < i}

            def gradient(preceding: reference.Theta, i: int = i) -> Tensor:
                rest = {**theta, **preceding}
                return grad(lambda w: loss({**rest, f"W{i}": w}))(rest[f"W{i}"])

            _, slope = jvp(gradient, (before,), ({n: -g[n] for n in before},))
            limit = float(slope.norm())
            errors[lr, i] = abs(at(table, layer=i)[0]["l2"] / lr / limit - 1)
    assert max(errors.values()) < 1e-3
    assert all(errors[1e-7, i] < max(0.3 * errors[1e-6, i], 1e-6) for i in (3, 5))


@pytest.mark.parametrize("family", ["vgg", "resnet"])
def test_the_layer_named_is_the_layer_measured(family: str) -> None:
    """Some layers have the rows they have among all: no renumbering by norm layers. The gradient
    is that of the affine map's weight."""
    objective = Objective("cross_entropy", 0.01)
    everything = shift(family, "bn", objective, 0.1)
    some = shift(family, "bn", objective, 0.1, layers=[8, 2, 8])
    assert some["layer"] == [2, 8]
    model, batch = network(family, "bn"), Draws(family).at(0)
    grads = model.evaluate(objective, *batch).grads
    for number in (2, 8):
        assert at(some, layer=number) == [
            {name: pytest.approx(value, rel=1e-12) for name, value in row.items()}
            for row in at(everything, layer=number)
        ]
        size = float(grads[model.weight_name(number)].norm())
        assert at(some, layer=number)[0]["grad_norm"] == pytest.approx(size, rel=1e-12)


@every_network
def test_at_the_last_step_it_measures_the_update_that_is_then_undone(
    family: str, norm: str
) -> None:
    """With ``steps`` = 2 the row of step 2 is that of a run that goes on, yet nothing moves."""
    tables, still = [], []
    for steps in (2, 100):
        model = network(family, norm)
        made = trainer(
            model,
            Draws(family),
            probe("gradient_shift"),
            objective=Objective(LOSS[family], 0.01),
            momentum=0.9,
            steps=steps,
        )
        measured(made, 2)

        def tensors(made: object = made, model: object = model) -> list[Tensor]:
            velocities = [s["momentum_buffer"] for s in made.optimizer.state.values()]
            return [p.detach().clone() for p in [*model.parameters(), *velocities]]

        before = tensors()
        tables.append(measured(made, 1, first=2)["gradient_shift"])
        still.append([torch.equal(a, b) for a, b in zip(before, tensors(), strict=True)])
    assert tables[0] == tables[1]
    assert all(still[0])
    assert not all(still[1])
