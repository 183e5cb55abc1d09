"""The numbering of layers, and networks run in parts or with other parameters."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from bnexp.models import captured, vgg
from bnexp.models.layers import Layer
from bnexp.norms import at_step, frozen_statistics
from tests import reference
from tests.helpers import FAMILIES, NORMS, Draws, network, normaliser, twin

both = pytest.mark.parametrize("family", FAMILIES)
every_norm = pytest.mark.parametrize("norm", NORMS)


@every_norm
def test_vgg16_layer_10_is_the_tenth_convolution_whatever_the_norm(norm: str) -> None:
    model = vgg("vgg16", normaliser(norm), classes=10, width=1 / 32)
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    parameters = dict(model.named_parameters())
    for number in range(1, 14):
        assert model.layers[number].affine is convolutions[number - 1]
        name = model.weight_name(number)
        assert name == f"layers.{number}.affine.weight"
        assert parameters[name] is convolutions[number - 1].weight
    assert isinstance(model.layers[14].affine, nn.Linear)
    assert model.weight_names() == [model.weight_name(i) for i in range(1, 15)]


@both
@every_norm
def test_every_parameter_belongs_to_the_layer_that_holds_it(family: str, norm: str) -> None:
    model = network(family, norm)
    for number, layer in zip(model.layers.numbers(), model.layers, strict=True):
        own = {id(parameter) for parameter in layer.parameters()}
        named = {id(p) for n, p in model.named_parameters() if model.layer_of(n) == number}
        assert own == named != set()


@pytest.mark.parametrize("number", [0, -1, 6])
def test_a_layer_that_is_not_there_is_refused(number: int) -> None:
    model = network("dln", "bn")
    for ask in (model.layers.__getitem__, model.weight_name):
        with pytest.raises(IndexError, match=f"numbered 1 to 5; there is no layer {number}"):
            ask(number)


def test_a_layer_is_affine_then_norm_then_relu_then_pool() -> None:
    conv, norm = nn.Conv2d(3, 2, 3, padding=1), nn.BatchNorm2d(2)
    layer = Layer(conv, norm, nn.ReLU(), nn.MaxPool2d(2))
    x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = torch.max_pool2d(torch.relu(norm(conv(x))), 2)
    assert torch.equal(layer(x), expected)
    assert layer.units == 2


@both
@every_norm
def test_forward_and_pre_activations_are_the_references(family: str, norm: str) -> None:
    model, batch = network(family, norm), Draws(family).at(0)
    net = twin(model, family, norm, batch.inputs, step=5)
    outputs, seen = reference.forward(
        net, reference.theta_of(dict(model.named_parameters())), batch.inputs
    )
    with captured(model, model.layers.numbers()) as found:
        ours = model(batch.inputs)
    torch.testing.assert_close(ours, outputs, rtol=1e-10, atol=1e-10)
    assert sorted(found) == sorted(seen)
    for number, values in seen.items():
        assert not found[number].requires_grad
        torch.testing.assert_close(found[number], values, rtol=1e-10, atol=1e-10)


@both
@every_norm
def test_prefix_then_suffix_is_the_whole(family: str, norm: str) -> None:
    model, x = network(family, norm), Draws(family).at(0).inputs
    with frozen_statistics(model):
        whole = model(x)
        for number in model.layers.numbers():
            assert torch.equal(model.run_from(number, x), whole)
            x = model.run_layer(number, x)
    assert torch.equal(x, whole)


@both
@every_norm
def test_given_parameters_stand_in_for_the_networks_own(family: str, norm: str) -> None:
    model, x = network(family, norm, seed=0), Draws(family).at(0).inputs
    other = network(family, norm, seed=1)
    params = dict(other.named_parameters())
    mixed = {**dict(model.named_parameters()), model.weight_name(2): params[model.weight_name(2)]}
    own = {name: p.clone() for name, p in model.named_parameters()}
    replaced = model.run_from(1, x, params)
    one = model.run_from(1, x, mixed)
    assert all(torch.equal(p, own[name]) for name, p in model.named_parameters())
    model.load_state_dict(params, strict=False)
    assert torch.equal(model(x), replaced)
    model.load_state_dict(own, strict=False)
    with torch.no_grad():
        model.layers[2].affine.weight.copy_(other.layers[2].affine.weight)
    assert torch.equal(model(x), one)


@pytest.mark.parametrize("norm", ["noisy_bn", "noise_only"])
def test_layers_and_steps_meet_different_noise(norm: str) -> None:
    model, x = network("dln", norm), Draws("dln").at(0).inputs
    draws = [noise for step in (0, 1) for noise in twin(model, "dln", norm, x, step).noise.values()]
    assert len(draws) == 2 * 4  # the last layer has none
    for i, (m, s) in enumerate(draws):
        for other_m, other_s in draws[:i]:
            assert not bool((m == other_m).any() | (s == other_s).any())


@both
def test_noise_is_off_in_evaluation(family: str) -> None:
    model, x = network(family, "noise_only").eval(), Draws(family).at(0).inputs
    plain = network(family, "none").eval()
    for step in (0, 1):
        at_step(model, step)
        assert torch.equal(model(x), plain(x))


def test_hooks_are_gone_after_capturing_even_on_an_error() -> None:
    model = network("dln", "bn")
    with pytest.raises(RuntimeError), captured(model, [1, 2]):
        model(torch.ones(3, 99, dtype=torch.float64))
    assert not any(module._forward_hooks for module in model.modules())


def test_own_params_are_the_networks_own_wherever_it_is_moved_or_copied() -> None:
    model = network("vgg", "bn")
    assert list(model.own_params) == [name for name, _ in model.named_parameters()]
    for other in (model.float(), copy.deepcopy(model), model.to(torch.float64)):
        for name, parameter in other.named_parameters():
            assert other.own_params[name] is parameter
