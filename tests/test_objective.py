"""The objective, its gradient and the L2 term, against closed forms and torch.func."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.func import grad_and_value

from bnexp.models import Network
from bnexp.norms import at_step, frozen_statistics
from bnexp.objective import DATA_LOSSES, Objective, SecondOrder, accuracy, norm, norms_of
from tests import reference
from tests.helpers import FAMILIES, LOSS, NORMS, Draws, measured, network, probe, trainer, twin

both = pytest.mark.parametrize("family", FAMILIES)
every_norm = pytest.mark.parametrize("name", NORMS)
DECAY = {"no decay": (0.0, "weights"), "weights": (0.3, "weights"), "all": (0.3, "all")}
decays = pytest.mark.parametrize("decay", DECAY.values(), ids=DECAY)


def names(model: Network) -> dict[str, str]:
    """The reference's name of every parameter by ours."""
    parameters = dict(model.named_parameters())
    return {name: next(iter(reference.theta_of({name: parameters[name]}))) for name in parameters}


def test_data_losses_of_two_samples() -> None:
    out, target = torch.tensor([[1.0, 2.0], [0.0, -1.0]]), torch.tensor([[0.0, 4.0], [0.0, 2.0]])
    by_hand = {"half_sum_squares": 7.0, "sum_squares": 14.0, "mean_squares": 3.5}
    for name, value in by_hand.items():
        assert float(DATA_LOSSES[name](out, target)) == value
    expected = (math.log(1 + math.e) + math.log(1 + math.exp(-1))) / 2
    entropy = DATA_LOSSES["cross_entropy"](out, torch.tensor([0, 0]))
    assert float(entropy) == pytest.approx(expected)


def test_an_untrained_classifier_without_logits_has_loss_ln_classes() -> None:
    model = network("vgg", "bn")
    with torch.no_grad():
        model.layers[9].affine.weight.zero_()
        model.layers[9].affine.bias.zero_()
    batch = Draws("vgg").at(0)
    loss = Objective("cross_entropy").loss_and_grads(model, batch.inputs, batch.targets).loss
    assert float(loss) == pytest.approx(math.log(3))


@both
@every_norm
@decays
def test_loss_and_gradient_are_the_references(
    family: str, name: str, decay: tuple[float, str]
) -> None:
    model, batch = network(family, name), Draws(family).at(0)
    net = twin(model, family, name, batch.inputs, step=3)
    theta = reference.theta_of(dict(model.named_parameters()))
    loss = reference.objective(net, LOSS[family], batch.inputs, batch.targets, *decay)
    gradient, value = grad_and_value(loss)(theta)
    done = Objective(LOSS[family], *decay).loss_and_grads(model, batch.inputs, batch.targets)
    assert float(done.loss) == pytest.approx(float(value), rel=1e-12)
    scale = reference.length(gradient)
    for ours, theirs in names(model).items():
        assert float((done.grads[ours] - gradient[theirs]).norm()) <= 1e-11 * scale
    assert float(norm(done.grads.values())) == pytest.approx(scale, rel=1e-11)
    by_layer = float(norms_of(model, done.grads)[1])
    assert by_layer == pytest.approx(reference.length_by_layer(gradient), rel=1e-11)
    squares = sum(
        float(p.detach().square().sum())
        for n, p in model.named_parameters()
        if decay[1] == "all" or n.endswith("affine.weight")
    )
    l2_term = float(done.loss - done.data_loss)
    assert l2_term == pytest.approx(decay[0] / 2 * squares, rel=1e-10, abs=1e-12)


@decays
def test_the_gradient_contains_the_decay_of_exactly_the_parameters_decayed(
    decay: tuple[float, str],
) -> None:
    model, batch = network("vgg", "bn"), Draws("vgg").at(0)
    args = (model, batch.inputs, batch.targets)
    plain = Objective("cross_entropy").loss_and_grads(*args)
    done = Objective("cross_entropy", *decay).loss_and_grads(*args)
    assert torch.equal(done.data_loss, plain.data_loss)
    for name, parameter in model.named_parameters():
        decayed = decay[1] == "all" or name.endswith("affine.weight")
        expected = plain.grads[name] + (decay[0] if decayed else 0) * parameter
        torch.testing.assert_close(done.grads[name], expected, rtol=1e-10, atol=1e-12)


@both
@every_norm
def test_all_parameters_of_the_network_have_a_gradient_and_no_grad_is_touched(
    family: str, name: str
) -> None:
    model, batch = network(family, name), Draws(family).at(0)
    before = {n: p.clone() for n, p in model.named_parameters()}
    objective = Objective(LOSS[family], 0.1)
    done = objective.loss_and_grads(model, batch.inputs, batch.targets)
    objective.loss_and_grads(model, batch.inputs, batch.targets, params=before)
    assert list(done.grads) == list(before)
    for n, p in model.named_parameters():
        assert p.grad is None
        assert p.requires_grad
        assert torch.equal(p, before[n])
        assert not before[n].is_leaf or not before[n].requires_grad
    assert not any(t.requires_grad for t in (done.loss, done.data_loss, done.outputs))
    assert not any(g.requires_grad for g in done.grads.values())


@both
@every_norm
def test_at_its_own_parameters_a_second_pass_is_bitwise_the_first(family: str, name: str) -> None:
    """The difference of the gradients at eta = 0 is exactly 0, under noise too."""
    model, batch = network(family, name), Draws(family).at(0)
    at_step(model, 4)
    objective = Objective(LOSS[family], 0.1)
    args = (model, batch.inputs, batch.targets)
    first = objective.loss_and_grads(*args)
    for params in (None, {n: p - 0.0 * first.grads[n] for n, p in model.named_parameters()}):
        again = objective.loss_and_grads(*args, params=params)
        assert torch.equal(again.loss, first.loss)
        assert all(torch.equal(again.grads[n], g) for n, g in first.grads.items())


@both
@every_norm
def test_a_suffix_gives_the_gradient_of_the_whole_for_its_layers(family: str, name: str) -> None:
    model, batch = network(family, name), Draws(family).at(0)
    objective = Objective(LOSS[family], 0.1)
    params = dict(model.named_parameters())
    whole = objective.loss_and_grads(model, batch.inputs, batch.targets)
    with torch.no_grad():
        hidden = model.run_layer(2, model.run_layer(1, batch.inputs))
    weight = model.weight_name(3)
    part = objective.loss_and_grads(
        model, hidden, batch.targets, params=params, wrt=[weight], first=3
    )
    assert torch.equal(part.loss, whole.loss)
    assert list(part.grads) == [weight]
    torch.testing.assert_close(part.grads[weight], whole.grads[weight], rtol=1e-12, atol=1e-12)


@both
@decays
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_optimiser_descends_the_measured_gradient_and_decays_nothing(
    family: str, decay: tuple[float, str], momentum: float
) -> None:
    """Three steps of v <- momentum v + g, theta <- theta - lr v by the reference's gradients."""
    model, batches = network(family, "noisy_bn"), Draws(family)
    theta = reference.theta_of(dict(model.named_parameters()))
    velocity: dict[str, Tensor] = {}
    made = trainer(
        model, batches, {}, objective=Objective(LOSS[family], *decay), lr=0.01, momentum=momentum
    )
    for step in range(3):
        batch = batches.at(step)
        net = twin(network(family, "noisy_bn"), family, "noisy_bn", batch.inputs, step)
        loss = reference.objective(net, LOSS[family], batch.inputs, batch.targets, *decay)
        gradient, _ = grad_and_value(loss)(theta)
        theta = reference.descend(gradient, theta, velocity, 0.01, momentum)
        measured(made, 1, first=step)
    for ours, theirs in names(model).items():
        now = dict(model.named_parameters())[ours]
        torch.testing.assert_close(now.detach(), theta[theirs], rtol=1e-9, atol=1e-9)


@both
@pytest.mark.parametrize("name", ["bn", "noisy_bn", "l1", "l2", "linf"])
def test_normalised_weights_are_orthogonal_to_their_gradient(family: str, name: str) -> None:
    """Scale invariance with eps = 0: <W_j, grad_{W_j} L> = 0 for every row before a norm.

    With BN for the weights alone; an l_p average is taken before centring, so there it holds of
    weights and bias together, which are scaled together.
    """
    model, batch = network(family, name, eps=1e-40), Draws(family).at(0)
    grads = Objective(LOSS[family]).loss_and_grads(model, batch.inputs, batch.targets).grads
    for number in list(model.layers.numbers())[:-1]:
        affine, prefix = model.layers[number].affine, f"layers.{number}.affine."
        inner = (affine.weight * grads[prefix + "weight"]).flatten(1).sum(1)
        if name not in ("bn", "noisy_bn") and affine.bias is not None:
            inner = inner + affine.bias * grads[prefix + "bias"]
        size = (affine.weight.flatten(1).norm(dim=1) * grads[prefix + "weight"].norm()).detach()
        assert float(size.min()) > 0
        assert float((inner.detach() / size).abs().max()) < 1e-12
    last = model.layers[len(model.layers)].affine
    name = model.weight_name(len(model.layers))
    assert (
        float((last.weight.detach() * grads[name]).sum().abs()) > 1e-6
    )  # not before a norm: no such law


def test_bn_makes_the_bias_before_it_idle() -> None:
    model, batch = network("vgg", "bn"), Draws("vgg").at(0)
    grads = Objective("cross_entropy").loss_and_grads(model, batch.inputs, batch.targets).grads
    scale = norm(grads.values())
    for number in range(1, 9):
        assert float(grads[f"layers.{number}.affine.bias"].norm() / scale) < 1e-13


def test_accuracy_is_the_fraction_of_rows_whose_largest_output_is_the_target() -> None:
    outputs = torch.tensor([[0.1, 3.0, 2.0], [5.0, -1.0, 4.9], [0.0, 0.0, 1.0], [-1.0, -2.0, -3.0]])
    assert float(accuracy(outputs, torch.tensor([1, 0, 2, 1]))) == 0.75
    assert math.isnan(float(accuracy(outputs, outputs)))


def test_norms_of_a_gradient_by_hand() -> None:
    """Layer 1 holds (3, 4), layer 2 holds 12 in one tensor and 0 in another: 13 and 5 + 12."""
    model = network("dln", "bn")
    parts = {
        "layers.1.affine.weight": torch.tensor([3.0]),
        "layers.1.norm.weight": torch.tensor([4.0]),
        "layers.2.affine.weight": torch.tensor([[12.0]]),
        "layers.2.norm.bias": torch.zeros(7),
    }
    assert float(norm(parts.values())) == pytest.approx(13)
    assert float(norms_of(model, parts)[1]) == pytest.approx(17)


def test_train_rows_are_at_theta_t_on_the_batch_of_step_t() -> None:
    model, batches = network("vgg", "noisy_bn"), Draws("vgg")
    objective = Objective("cross_entropy", 0.01)
    made = trainer(model, batches, probe("train"), objective=objective, lr=0.1)
    other = network("vgg", "noisy_bn")
    for step in range(3):
        other.load_state_dict(model.state_dict())
        at_step(other, step)
        batch = batches.at(step)
        alone = objective.loss_and_grads(other, batch.inputs, batch.targets)
        row = measured(made, 1, first=step)["train"]
        assert row["step"] == [step]
        assert row["loss"] == [float(alone.loss)]
        assert row["data_loss"] == [float(alone.data_loss)]
        assert row["grad_norm"] == [float(norm(alone.grads.values()))]
        hits = (alone.outputs.argmax(1) == batch.targets).tolist()
        assert row["accuracy"] == [sum(hits) / len(hits)]


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
        torch.testing.assert_close(there.times(vectors), [matrix @ vectors[0], 0 * b, 0 * b])
    flat = SecondOrder(lambda b: b.sum(), [b])
    torch.testing.assert_close(flat.times([w]), [0 * b])


@both
@every_norm
def test_second_order_against_differences_of_gradients(family: str, name: str) -> None:
    """The Hessian's product is the central difference of two gradients along the vector."""
    model, objective = network(family, name), Objective(LOSS[family], 0.3, "all")
    batch = Draws(family).at(0)
    draws = torch.Generator().manual_seed(1)
    own = {n: p.detach() for n, p in model.named_parameters()}
    vector = {n: torch.randn(p.shape, generator=draws, dtype=p.dtype) for n, p in own.items()}
    with frozen_statistics(model):
        there = objective.second_order(model, batch.inputs, batch.targets)
        direct = objective.loss_and_grads(model, batch.inputs, batch.targets)
        step, beside = 1e-9, []  # shorter than the way to the next kink
        for sign in (1, -1):
            at = {n: p + sign * step * vector[n] for n, p in own.items()}
            done = objective.loss_and_grads(model, batch.inputs, batch.targets, params=at)
            beside.append(list(done.grads.values()))
    assert float(there.value) == pytest.approx(float(direct.loss), rel=1e-12)
    torch.testing.assert_close(there.gradient, list(direct.grads.values()))
    by_differences = [(a - b) / (2 * step) for a, b in zip(*beside, strict=True)]
    found = there.times(list(vector.values()))
    error = norm([a - b for a, b in zip(found, by_differences, strict=True)])
    assert float(error) < 1e-4 * float(norm(found))
