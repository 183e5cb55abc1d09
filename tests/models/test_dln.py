"""The deep linear network: a product of matrices, float64, no biases."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from bnexp.config.schema import DlnConfig, NormConfig
from bnexp.errors import UserError
from bnexp.models import build_model, dln, layer_count
from tests.helpers import NORMS, normaliser

every_norm = pytest.mark.parametrize("norm", NORMS)


def config(k: int = 25, d: int = 10, init: str = "glorot_uniform") -> DlnConfig:
    return DlnConfig("dln", "dln", init, "half_sum_squares", k, d)


NONE = NormConfig("none", 1e-5, 0.1, 0.5, 1.25, 0.1, 0.1)


def test_without_norm_it_is_the_product_of_its_weights() -> None:
    model = dln(normaliser("none"), k=7, d=3)
    product = torch.eye(3, dtype=torch.float64)
    for layer in model.layers:
        product = layer.affine.weight @ product
    x = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model(x), x @ product.T)


def test_the_papers_has_25_square_layers_of_10_units() -> None:
    model = build_model(config(), NONE, classes=None, seed=0)
    assert len(model.layers) == layer_count(config()) == 25
    assert [tuple(p.shape) for p in model.parameters()] == [(10, 10)] * 25


@every_norm
def test_float64_without_biases_norm_on_all_but_the_last(norm: str) -> None:
    model = dln(normaliser(norm), k=6, d=4)
    assert {t.dtype for t in [*model.parameters(), *model.buffers()]} == {torch.float64}
    *hidden, last = model.layers
    expected = type(normaliser(norm)(1, 1))
    assert all(type(layer.norm) is expected for layer in hidden)
    assert isinstance(last.norm, nn.Identity)
    for layer in model.layers:
        assert layer.affine.bias is None
        assert isinstance(layer.activation, nn.Identity)
        assert isinstance(layer.pool, nn.Identity)


@every_norm
def test_same_weights_for_every_norm_others_for_another_seed(norm: str) -> None:
    weights = [layer.affine.weight for layer in dln(normaliser(norm), k=4, d=3, seed=0).layers]
    plain = [layer.affine.weight for layer in dln(normaliser("none"), k=4, d=3, seed=0).layers]
    other = [layer.affine.weight for layer in dln(normaliser(norm), k=4, d=3, seed=1).layers]
    assert all(torch.equal(a, b) for a, b in zip(weights, plain, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(weights, other, strict=True))
    assert not any(torch.equal(weights[0], later) for later in weights[1:])


@pytest.mark.parametrize("init", ["glorot_uniform", "glorot_normal"])
def test_glorot_variance_is_one_over_d(init: str) -> None:
    model = dln(normaliser("none"), k=40, d=20, init=init)
    weights = torch.stack([layer.affine.weight.detach() for layer in model.layers])
    assert float(weights.var()) == pytest.approx(1 / 20, rel=0.05)
    largest = float(weights.abs().max()) / math.sqrt(6 / 40)
    assert 0.99 < largest <= 1 if init == "glorot_uniform" else largest > 1


def test_data_with_classes_is_refused() -> None:
    with pytest.raises(UserError, match="dln expects data=gaussian"):
        build_model(config(), NONE, classes=10, seed=0)
