"""The hand-written pass of the linear network against autograd on the samples."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from bnexp.models.linear import LOSSES, NORMS, LinearPass, sufficient
from bnexp.objective import DATA_LOSSES


class Samplewise:
    """The same network on the samples, by autograd; written from the formulas alone."""

    def __init__(self, k, d, norm, eps, bias, loss, weight_decay=0.0, decay="weights"):
        self.k, self.d, self.norm, self.eps, self.bias = k, d, norm, eps, bias
        self.loss, self.weight_decay, self.decay = loss, weight_decay, decay

    def split(self, theta: Tensor) -> list[dict[str, Tensor]]:
        layers, rest = [], theta
        for layer in range(self.k):
            names = ["bias"] * self.bias + ["gamma", "beta"] * self.normalised(layer)
            sizes = [self.d**2, *[self.d] * len(names)]
            parts = rest[: sum(sizes)].split(sizes)
            rest = rest[sum(sizes) :]
            weight = parts[0].view(self.d, self.d)
            layers.append({"weight": weight, **dict(zip(names, parts[1:], strict=True))})
        assert rest.numel() == 0
        return layers

    def normalised(self, layer: int) -> bool:
        return self.norm != "none" and layer < self.k - 1

    def objective(self, layers, x, y):
        """Loss, data loss, and per layer the pre-activations and the norm's statistics."""
        outputs, statistics = [], []
        for layer, own in enumerate(layers):
            x = x @ own["weight"].T
            if self.bias:
                x = x + own["bias"]
            if self.normalised(layer):
                mean = x.mean(0)
                scale = {
                    "bn": lambda x: (x - x.mean(0)).square().mean(0),
                    "l1": lambda x: x.abs().mean(0),
                    "l2": lambda x: torch.linalg.vector_norm(x, dim=0) / len(x) ** 0.5,
                    "linf": lambda x: x.abs().amax(0),
                }[self.norm](x)
                statistics.append((mean, scale))
                bn = self.norm == "bn"
                divisor = (scale + self.eps).sqrt() if bn else scale + self.eps
                x = own["gamma"] * (x - mean) / divisor + own["beta"]
            outputs.append(x)
        data_loss = DATA_LOSSES[self.loss](x, y)
        decayed = (value for own in layers for name, value in own.items()
                   if self.decay == "all" or name == "weight")  # fmt: skip
        penalty = sum(value.square().sum() for value in decayed) * self.weight_decay / 2
        return data_loss + penalty, data_loss, outputs, statistics

    def at(self, theta, x, y):
        return self.objective(self.split(theta), x, y)


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
    """One pass against autograd: loss, gradient, pre-activations, statistics."""
    data = sufficient(x, y)
    got = LinearPass(*network).loss_and_grad(theta, data)
    point = torch.tensor(theta, requires_grad=True)
    loss, data_loss, outputs, statistics = Samplewise(*network).at(
        point, torch.tensor(x), torch.tensor(y)
    )
    (grad,) = torch.autograd.grad(loss, point)
    close([got.loss, got.data_loss], [loss.item(), data_loss.item()], tolerance)
    close(got.grad, grad, tolerance)
    for mine, expected in zip(data.samples(got.coordinates), outputs, strict=True):
        close(mine, expected.detach(), tolerance)
    for means, scales, (mean, scale) in zip(got.means, got.scales, statistics, strict=True):
        close(scales, scale.detach(), tolerance)
        size = scale.sqrt().max() if network[2] == "bn" else scale.max()
        assert np.abs(means - mean.detach().numpy()).max() <= tolerance * size.item()


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
    reference = Samplewise(*network)
    before, after = (reference.split(torch.tensor(theta)) for theta in (old, new))
    for layer, gradient in got.items():
        weight = before[layer - 1]["weight"].clone().requires_grad_()
        own = {**before[layer - 1], "weight": weight}
        mixed = [*after[: layer - 1], own, *before[layer:]]
        loss = reference.objective(mixed, torch.tensor(x), torch.tensor(y))[0]
        close(gradient, torch.autograd.grad(loss, weight)[0])


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("bias", [False, True])
def test_hessian_vector_products_are_autograds(norm, bias):
    k, d = 5, 4
    network = (k, d, norm, 1e-5, bias, "sum_squares", 0.1, "all")
    theta, v, x, y = problem(k, d, 60, norm, bias=bias, noise=0.5)
    reference = Samplewise(*network)
    _, expected = torch.autograd.functional.hvp(
        lambda point: reference.at(point, torch.tensor(x), torch.tensor(y))[0],
        torch.tensor(theta),
        torch.tensor(v),
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
