"""The hand-written pass of the linear network against autograd on the samples."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from bnexp.models.linear import LOSSES, NORMS, LinearPass, sufficient
from tests import reference


def named(theta: Tensor, network: tuple) -> dict[str, Tensor]:
    """``theta`` by the reference's names."""
    k, d, norm, _, bias, *_ = network
    names = []
    for i in range(1, k + 1):
        kinds = ["W", *["b"] * bias, *["gamma", "beta"] * (norm != "none" and i < k)]
        names += [f"{kind}{i}" for kind in kinds]
    parts = theta.split([d * d if name[0] == "W" else d for name in names])
    pairs = zip(names, parts, strict=True)
    return {name: part.view(d, d) if name[0] == "W" else part for name, part in pairs}


def samplewise(network: tuple, x, y):
    """The reference's network and its objective on the samples, of parameters by name."""
    k, _, norm, eps, _, loss, *decay = network
    net = reference.Net(["linear"] * k, norm, False, eps=eps)
    return net, reference.objective(net, loss, torch.tensor(x), torch.tensor(y), *decay)


def problem(k, d, n, norm, *, bias=False, condition=1.0, noise=0.0, seed=0):
    """Parameters, a direction, inputs and targets, as NumPy arrays."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) * np.geomspace(1.0, 1.0 / condition, d) + 0.3
    y = x @ rng.normal(size=(d, d)) + noise * rng.normal(size=(n, d))
    parts = []
    for layer in range(k):
        parts.append(rng.normal(size=d * d) * d**-0.5)
        parts += [0.1 * rng.normal(size=d)] * bias
        if norm != "none" and layer < k - 1:
            parts += [rng.uniform(0.5, 1.5, size=d), 0.1 * rng.normal(size=d)]
    theta = np.concatenate(parts)
    return theta, rng.normal(size=theta.shape), x, y


def close(got, expected, tolerance=1e-10):
    got, expected = (np.asarray(values, dtype=float) for values in (got, expected))
    assert got.shape == expected.shape
    assert np.abs(got - expected).max(initial=0) <= tolerance * np.abs(expected).max(initial=1e-300)


def check(network: tuple, theta, x, y, tolerance=1e-10):
    """One pass against autograd: loss, gradient, pre-activations."""
    data = sufficient(x, y)
    got = LinearPass(*network).loss_and_grad(theta, data)
    point = torch.tensor(theta, requires_grad=True)
    net, objective = samplewise(network, x, y)
    loss = objective(named(point, network))
    (grad,) = torch.autograd.grad(loss, point)
    outputs, layers = reference.forward(net, named(point.detach(), network), torch.tensor(x))
    data_loss = reference.data_loss(network[5], outputs, torch.tensor(y))
    close([got.loss, got.data_loss], [loss.item(), data_loss.item()], tolerance)
    close(got.grad, grad, tolerance)
    for mine, expected in zip(data.samples(got.coordinates), layers.values(), strict=True):
        close(mine, expected, tolerance)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("k", "d", "n"), [(1, 3, 20), (2, 5, 700), (7, 4, 3), (25, 10, 300)])
def test_the_pass_is_that_of_the_samples(norm, k, d, n):
    options = itertools.product(
        [False, True], [0.0, 1e-5, 0.1], LOSSES, [(0.0, "weights"), (0.1, "weights"), (0.1, "all")]
    )
    for bias, eps, loss, decay in options:
        theta, _, x, y = problem(k, d, n, norm, bias=bias, noise=0.5)
        check((k, d, norm, eps, bias, loss, *decay), theta, x, y)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("bias", [False, True])
def test_ill_conditioned_and_rank_deficient_inputs(norm, bias):
    theta, _, x, y = problem(6, 8, 200, norm, bias=bias, condition=1e8)
    check((6, 8, norm, 1e-5, bias, "sum_squares"), theta, x, y)
    x[:, 3], x[:, 5] = 2.0, x[:, 4]
    check((6, 8, norm, 1e-5, bias, "sum_squares"), theta, x, y)


@pytest.mark.parametrize("norm", NORMS)
def test_wide_and_deep(norm):
    theta, _, x, y = problem(3, 64, 500, norm)
    check((3, 64, norm, 1e-5, False, "mean_squares"), theta, x, y)
    theta, _, x, y = problem(100, 6, 300, norm)
    check((100, 6, norm, 1e-5, False, "sum_squares"), theta, x, y, 1e-7)


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
def test_a_unit_that_is_zero_has_the_gradient_autograd_gives_the_norm(norm):
    theta, _, x, y = problem(3, 4, 30, norm)
    theta[:4] = 0.0
    check((3, 4, norm, 1e-5, False, "sum_squares"), theta, x, y)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("bias", [False, True])
def test_mixed_gradients_are_definition_2_1(norm, bias):
    k, d = 6, 5
    network = (k, d, norm, 1e-5, bias, "sum_squares", 0.1, "all")
    old, direction, x, y = problem(k, d, 60, norm, bias=bias)
    new = old + 0.1 * direction
    got = LinearPass(*network).mixed_gradients(old, new, sufficient(x, y), [1, 2, 4, 6])
    assert list(got) == [1, 2, 4, 6]
    _, objective = samplewise(network, x, y)
    before, after = (named(torch.tensor(theta), network) for theta in (old, new))
    for layer, gradient in got.items():
        mixed = {n: (after if reference.layer_of(n) < layer else before)[n] for n in before}
        mixed[f"W{layer}"] = weight = before[f"W{layer}"].clone().requires_grad_()
        close(gradient, torch.autograd.grad(objective(mixed), weight)[0])


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("bias", [False, True])
def test_hessian_vector_products_are_autograds(norm, bias):
    k, d = 5, 4
    network = (k, d, norm, 1e-5, bias, "sum_squares", 0.1, "all")
    theta, v, x, y = problem(k, d, 60, norm, bias=bias, noise=0.5)
    _, objective = samplewise(network, x, y)
    _, expected = torch.autograd.functional.hvp(
        lambda point: objective(named(point, network)), torch.tensor(theta), torch.tensor(v)
    )
    engine, data = LinearPass(*network), sufficient(x, y)
    for size in (1.0, 1e-30, 1e30):
        close(engine.hvp(theta, v * size, data) / size, expected)
    assert not engine.hvp(theta, 0.0 * v, data).any()


@pytest.mark.parametrize("norm", NORMS)
def test_points_are_passes_and_a_pass_twice_has_equal_bits(norm):
    theta, v, x, y = problem(10, 10, 400, norm)
    data, engine = sufficient(x, y), LinearPass(10, 10, norm, 1e-5, False, "sum_squares")
    thetas = theta + np.outer([0.0, 0.1, -0.2], v)
    losses, grads = engine.points(thetas, data)
    passes = [engine.loss_and_grad(point, data) for point in thetas]
    assert losses.tolist() == [one.loss for one in passes]
    np.testing.assert_array_equal(grads, [one.grad for one in passes])
    again = LinearPass(10, 10, norm, 1e-5, False, "sum_squares").loss_and_grad(thetas[1], data)
    np.testing.assert_array_equal(again.grad, grads[1])


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.filterwarnings("error")
def test_overflow_is_inf_or_nan_and_raises_nothing(norm):
    theta, v, x, y = problem(25, 4, 50, norm)
    engine = LinearPass(25, 4, norm, 1e-5, False, "sum_squares")
    data = sufficient(x, y)
    for huge in (1e200 * v, np.full_like(theta, np.inf), np.full_like(theta, np.nan)):
        assert not np.isfinite(engine.loss_and_grad(huge, data).loss)
        assert not np.isfinite(engine.points(huge[None], data)[1]).all()
        assert engine.mixed_gradients(theta, huge, data, [1, 25])[1].shape == (4, 4)
        assert not np.isfinite(engine.hvp(huge, v, data)).all()
        if not np.isfinite(huge).all():
            assert not np.isfinite(engine.hvp(theta, huge, data)).all()
