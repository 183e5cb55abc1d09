"""The objective, its gradient and the L2 term, against closed forms and torch.func."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.func import grad_and_value

from bnexp.objective import DATA_LOSSES, Objective, SecondOrder, accuracy, norm, norms
from tests import reference
from tests.helpers import (
    LOSS,
    NETWORKS,
    Draws,
    both,
    every_network,
    measured,
    names,
    network,
    theta_of,
    trainer,
    twin,
)

DECAY = {"no decay": (0.0, "weights"), "weights": (0.3, "weights"), "all": (0.3, "all")}
decays = pytest.mark.parametrize("decay", DECAY.values(), ids=DECAY)


def test_data_losses_of_two_samples() -> None:
    out, target = torch.tensor([[1.0, 2.0], [0.0, -1.0]]), torch.tensor([[0.0, 4.0], [0.0, 2.0]])
    by_hand = {"half_sum_squares": 7.0, "sum_squares": 14.0, "mean_squares": 3.5}
    for name, value in by_hand.items():
        assert float(DATA_LOSSES[name](out, target)) == value
    expected = (math.log(1 + math.e) + math.log(1 + math.exp(-1))) / 2
    entropy = DATA_LOSSES["cross_entropy"](out, torch.tensor([0, 0]))
    assert float(entropy) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("family", "name", "decay"),
    [(*each, (0.3, "weights")) for each in NETWORKS]
    + [
        (family, "bn", decay)
        for family in ("vgg", "dln")
        for decay in ((0.0, "weights"), (0.3, "all"))
    ],
)
def test_loss_and_gradient_are_the_references(
    family: str, name: str, decay: tuple[float, str]
) -> None:
    model, batch = network(family, name), Draws(family).at(0)
    net, theta = twin(model, family, name, batch.inputs, step=3), theta_of(model)
    loss = reference.objective(net, LOSS[family], *batch, *decay)
    gradient, value = grad_and_value(loss)(theta)
    here = model.evaluate(Objective(LOSS[family], *decay), *batch)
    assert float(here.loss) == pytest.approx(float(value), rel=1e-12)
    scale = reference.length(gradient)
    assert set(here.grads) == set(model.own_params)
    for ours, theirs in names(model).items():
        assert float((here.grads[ours] - gradient[theirs]).norm()) <= 1e-10 * scale
    assert float(here.grad_norm) == pytest.approx(scale, rel=1e-10)
    by_tensor = float(norms(here.grads.values())[1])
    assert by_tensor == pytest.approx(reference.length_by_tensor(gradient), rel=1e-10)
    decayed = [n for n in theta if decay[1] == "all" or n.startswith("W")]
    l2_term = decay[0] / 2 * sum(float(theta[n].square().sum()) for n in decayed)
    assert float(here.loss - here.data_loss) == pytest.approx(l2_term, rel=1e-10, abs=1e-12)


@every_network
def test_evaluating_touches_neither_parameters_nor_grad(family: str, norm: str) -> None:
    model, batch = network(family, norm), Draws(family).at(0)
    before = {n: p.clone() for n, p in model.named_parameters()}
    objective, weight = Objective(LOSS[family], 0.1), model.weight_name(2)
    here = model.evaluate(objective, *batch)
    part = model.evaluate(objective, *batch, params=before, wrt=[weight])
    torch.testing.assert_close(part.grads[weight], here.grads[weight], rtol=1e-12, atol=1e-14)
    for n, p in model.named_parameters():
        assert p.grad is None
        assert p.requires_grad
        assert torch.equal(p, before[n])
        assert not before[n].is_leaf or not before[n].requires_grad
    assert not any(t.requires_grad for t in (here.loss, here.data_loss, here.grad_norm))
    assert not any(g.requires_grad for g in here.grads.values())


@both
@decays
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_optimiser_descends_the_measured_gradient_and_decays_nothing(
    family: str, decay: tuple[float, str], momentum: float
) -> None:
    """Three steps of v <- momentum v + g, theta <- theta - lr v by the reference's gradients."""
    model, batches = network(family, "noisy_bn"), Draws(family)
    theta, velocity = theta_of(model), {}
    objective = Objective(LOSS[family], *decay)
    made = trainer(model, batches, {}, objective=objective, lr=0.01, momentum=momentum)
    for step in range(3):
        batch = batches.at(step)
        net = twin(network(family, "noisy_bn"), family, "noisy_bn", batch.inputs, step)
        loss = reference.objective(net, LOSS[family], *batch, *decay)
        gradient, _ = grad_and_value(loss)(theta)
        theta = reference.descend(gradient, theta, velocity, 0.01, momentum)
        measured(made, 1, first=step)
    for name, value in theta_of(model).items():
        torch.testing.assert_close(value, theta[name], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("family", ["vgg", "dln", "resnet"])
@pytest.mark.parametrize("name", ["bn", "noisy_bn", "l1", "l2", "linf"])
def test_normalised_weights_are_orthogonal_to_their_gradient(family: str, name: str) -> None:
    """Scale invariance with eps = 0: <W_j, grad_{W_j} L> = 0 for every row before a norm.

    With BN for the weights alone; an l_p average is taken before centring, so there it holds of
    weights and bias together, which are scaled together.
    """
    model, batch = network(family, name, eps=1e-40), Draws(family).at(0)
    grads = model.evaluate(Objective(LOSS[family]), *batch).grads

    def along(number: int) -> Tensor:
        weight = model.weight_name(number)
        bias = weight.replace("weight", "bias")
        inner = (model.own_params[weight] * grads[weight]).flatten(1).sum(1)
        if name not in ("bn", "noisy_bn") and bias in grads:
            inner = inner + model.own_params[bias] * grads[bias]
        size = model.own_params[weight].detach().flatten(1).norm(dim=1) * grads[weight].norm()
        assert float(size.min()) > 0
        return (inner / size).detach().abs().max()

    *hidden, last = model.layers
    assert all(float(along(number)) < 1e-11 for number in hidden)
    assert float(along(last)) > 1e-6  # not before a norm: no such law


def test_bn_makes_the_bias_before_it_idle() -> None:
    model, batch = network("vgg", "bn"), Draws("vgg").at(0)
    here = model.evaluate(Objective("cross_entropy"), *batch)
    for number in range(1, 9):
        bias = here.grads[model.weight_name(number).replace("weight", "bias")]
        assert float(bias.norm() / here.grad_norm) < 1e-12


def test_accuracy_is_the_fraction_of_rows_whose_largest_output_is_the_target() -> None:
    outputs = torch.tensor([[0.1, 3.0, 2.0], [5.0, -1.0, 4.9], [0.0, 0.0, 1.0], [-1.0, -2.0, -3.0]])
    assert float(accuracy(outputs, torch.tensor([1, 0, 2, 1]))) == 0.75
    assert math.isnan(float(accuracy(outputs, outputs)))


def test_norms_of_a_gradient_by_hand() -> None:
    """Tensors of norms 3, 4, 12 and 0: 13 as one vector, 19 as a sum."""
    parts = [torch.tensor([3.0]), torch.tensor([4.0]), torch.tensor([[12.0]]), torch.zeros(7)]
    assert float(norm(parts)) == pytest.approx(13)
    assert norms(parts).tolist() == pytest.approx([13, 19])


def test_second_order_of_a_quadratic_is_its_matrix() -> None:
    """1/2 w'Hw has gradient Hw and Hessian H; a linear and an unused variable bend nothing."""
    draws = torch.Generator().manual_seed(0)
    half = torch.randn(5, 5, generator=draws, dtype=torch.float64)
    matrix = half + half.T
    w, b, unused = (torch.randn(5, generator=draws, dtype=torch.float64) for _ in range(3))
    there = SecondOrder(lambda w, b, _: w @ matrix @ w / 2 + b.sum(), [w, b, unused])
    assert float(there.value) == pytest.approx(float(w @ matrix @ w / 2 + b.sum()))
    torch.testing.assert_close(there.gradient, [matrix @ w, torch.ones_like(b), 0 * unused])
    for _ in range(2):  # the graph is kept
        vectors = [torch.randn(5, generator=draws, dtype=torch.float64) for _ in range(3)]
        torch.testing.assert_close(there.hvp(vectors), [matrix @ vectors[0], 0 * b, 0 * b])
    flat = SecondOrder(lambda b: b.sum(), [b])
    torch.testing.assert_close(flat.hvp([w]), [0 * b])
