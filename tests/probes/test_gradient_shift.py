"""Internal covariate shift (Definition 2.1) against the reference, closed forms and its limit."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.func import grad, jvp

from bnexp.models import dln
from bnexp.norms import at_step
from bnexp.objective import Objective
from tests import reference
from tests.helpers import (
    FAMILIES,
    LOSS,
    LR,
    NORMS,
    Draws,
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
CASES = {
    "plain": (0.0, 0.0, "weights"),
    "momentum": (0.9, 0.0, "weights"),
    "decay of weights": (0.0, 0.05, "weights"),
    "momentum and decay of all": (0.9, 0.05, "all"),
}
STEPS = 2


def close(row: dict[str, float], expected: tuple[float, float, float], tolerance: float) -> None:
    """l2 and grad_norm to ``tolerance`` of the gradient's size, cos to ``tolerance``."""
    l2, cos, size = expected
    assert math.isfinite(l2)
    assert size > 0
    assert row["grad_norm"] == pytest.approx(size, rel=tolerance)
    assert row["l2"] == pytest.approx(l2, abs=tolerance * (size + l2))
    assert row["cos"] == pytest.approx(cos, abs=tolerance)


@both
@every_norm
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_is_definition_2_1(family: str, norm: str, case: tuple[float, float, str]) -> None:
    """The reference walks the whole trajectory by itself, so an off-by-one step would show."""
    momentum, weight_decay, decay = case
    model, batches, lr = network(family, norm), Draws(family), LR[family]
    old = reference.theta_of(dict(model.named_parameters()))
    velocity: dict[str, Tensor] = {}
    objective = Objective(LOSS[family], weight_decay, decay)
    made = trainer(
        model, batches, probe("gradient_shift"), objective=objective, lr=lr, momentum=momentum
    )
    table = measured(made, STEPS)["gradient_shift"]
    numbers = list(model.layers.numbers())
    assert table["step"] == [t for t in range(STEPS) for _ in numbers]
    assert table["layer"] == numbers * STEPS
    moved = 0.0
    for t in range(STEPS):
        batch = batches.at(t)
        net = twin(model, family, norm, batch.inputs, t)
        loss = reference.objective(
            net, LOSS[family], batch.inputs, batch.targets, weight_decay, decay
        )
        new = reference.descend(grad(loss)(old), old, velocity, lr, momentum)
        for i, expected in reference.gradient_shift(loss, old, new, numbers).items():
            close(at(table, step=t, layer=i)[0], expected, 1e-10)
            moved = max(moved, 1 - expected[1])
        old = new
    assert moved > 1e-5  # there is a shift to be measured


@both
@every_norm
def test_float32_agrees_with_a_float64_reference(family: str, norm: str) -> None:
    """A small step, lest rounding carry a pre-activation over the ReLU's kink."""
    lr = LR[family] / 10
    model, batch = network(family, norm, dtype=torch.float32), Draws(family, torch.float32).at(0)
    old = reference.theta_of(dict(model.double().named_parameters()))
    model.float()
    net = twin(model, family, norm, batch.inputs, 0)
    noise = {i: (m.double(), s.double()) for i, (m, s) in net.noise.items()}
    net = reference.Net(net.layers, norm, net.relu, noise)
    inputs, targets = batch.inputs.double(), batch.targets
    targets = targets.double() if targets.is_floating_point() else targets
    loss = reference.objective(net, LOSS[family], inputs, targets)
    new = reference.descend(grad(loss)(old), old, {}, lr, 0.0)
    made = trainer(
        model,
        Draws(family, torch.float32),
        probe("gradient_shift"),
        objective=Objective(LOSS[family]),
        lr=lr,
    )
    table = measured(made, 1)["gradient_shift"]
    for i, expected in reference.gradient_shift(loss, old, new, model.layers.numbers()).items():
        close(at(table, layer=i)[0], expected, 1e-4)


@both
@every_norm
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_layer_1_has_none_exactly(family: str, norm: str, momentum: float) -> None:
    made = trainer(
        network(family, norm, dtype=torch.float32),
        Draws(family, torch.float32),
        probe("gradient_shift", layers=[1]),
        objective=Objective(LOSS[family], 0.1, "all"),
        lr=LR[family],
        momentum=momentum,
    )
    table = measured(made, 3)["gradient_shift"]
    assert table["layer"] == [1, 1, 1]
    assert table["l2"] == [0.0, 0.0, 0.0]
    assert table["cos"] == [1.0, 1.0, 1.0]
    assert min(table["grad_norm"]) > 0


@pytest.mark.parametrize("lr", [1e-4, 1e-2])
def test_two_linear_layers_have_a_closed_form(lr: float) -> None:
    """L = 1/2 ||W2 W1 X - Y||^2: G_2 = (W2 W1 X - Y)(W1 X)', G_2' with W1 - lr G_1 for W1."""
    model, batch = dln(normaliser("none"), k=2, d=4), Draws("dln").at(0)
    W1, W2 = (layer.affine.weight.detach().clone() for layer in model.layers)
    X, Y = batch.inputs.T, batch.targets.T
    G1 = W2.T @ (W2 @ W1 @ X - Y) @ X.T
    G2 = (W2 @ W1 @ X - Y) @ (W1 @ X).T
    moved = (W1 - lr * G1) @ X
    after = (W2 @ moved - Y) @ moved.T
    made = trainer(
        model,
        Draws("dln"),
        probe("gradient_shift"),
        objective=Objective("half_sum_squares"),
        lr=lr,
    )
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
    batch = Draws(family).at(0)
    model = network(family, norm)
    theta = reference.theta_of(dict(model.named_parameters()))
    net = twin(model, family, norm, batch.inputs, 0)
    loss = reference.objective(net, LOSS[family], batch.inputs, batch.targets, 0.05)
    g = grad(loss)(theta)
    errors = {}
    for lr in (1e-6, 1e-7):
        made = trainer(
            network(family, norm),
            Draws(family),
            probe("gradient_shift", layers=[3, 5]),
            objective=Objective(LOSS[family], 0.05),
            lr=lr,
        )
        table = measured(made, 1)["gradient_shift"]
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


def test_the_layer_named_is_the_layer_measured_and_its_gradient_is_of_the_affine_weight() -> None:
    """Asking for some layers gives the rows of all of them: no renumbering by norm layers."""
    tables = []
    for layers in ("all", [5, 2, 5]):
        made = trainer(
            network("vgg", "bn"),
            Draws("vgg"),
            probe("gradient_shift", layers=layers),
            objective=Objective("cross_entropy", 0.01),
            lr=0.1,
        )
        tables.append(measured(made, 1)["gradient_shift"])
    everything, some = tables
    assert some["layer"] == [2, 5]
    assert at(some, layer=2) == at(everything, layer=2)
    assert at(some, layer=5) == at(everything, layer=5)
    model, batch = network("vgg", "bn"), Draws("vgg").at(0)
    done = Objective("cross_entropy", 0.01).loss_and_grads(model, batch.inputs, batch.targets)
    for number in (2, 5):
        of_weight = done.grads[f"layers.{number}.affine.weight"].norm()
        assert at(some, layer=number)[0]["grad_norm"] == pytest.approx(float(of_weight), rel=1e-14)


@both
@every_norm
def test_at_the_last_step_it_measures_the_update_that_is_then_undone(
    family: str, norm: str
) -> None:
    """With ``steps`` = 2 the row of step 2 is that of a run that goes on, yet nothing moves."""
    tables, states = [], []
    for steps in (2, 100):
        model = network(family, norm)
        made = trainer(
            model,
            Draws(family),
            probe("gradient_shift"),
            objective=Objective(LOSS[family], 0.01),
            lr=LR[family],
            momentum=0.9,
            steps=steps,
        )
        measured(made, 2)
        before = {n: p.detach().clone() for n, p in model.named_parameters()}
        velocity = [s["momentum_buffer"].clone() for s in made.optimizer.state.values()]
        tables.append(measured(made, 1, first=2)["gradient_shift"])
        kept = all(torch.equal(p, before[n]) for n, p in model.named_parameters())
        after = [s["momentum_buffer"] for s in made.optimizer.state.values()]
        kept_velocity = all(torch.equal(a, b) for a, b in zip(velocity, after, strict=True))
        states.append((kept, kept_velocity))
    assert tables[0] == tables[1]
    assert states == [(True, True), (False, False)]


@pytest.mark.parametrize("norm", ["noisy_bn", "noise_only"])
def test_without_a_step_there_is_no_shift_under_noise(norm: str) -> None:
    """lr so small that nothing moves: G' = G exactly, as both meet the same noise."""
    model = network("dln", norm)
    made = trainer(
        model,
        Draws("dln"),
        probe("gradient_shift"),
        objective=Objective("half_sum_squares"),
        lr=1e-300,
    )
    at_step(model, 0)
    table = measured(made, 2)["gradient_shift"]
    size = max(table["grad_norm"])
    assert max(table["l2"]) <= 1e-14 * size
