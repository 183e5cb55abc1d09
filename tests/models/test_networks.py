"""Numbered layers, and forward passes with other parameters, against the reference."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from bnexp.models import Chain, Layer, Network, Stage
from bnexp.norms import at_step, frozen_statistics
from bnexp.objective import Objective
from tests import reference
from tests.helpers import (
    LOSS,
    NOISY,
    D,
    Draws,
    both,
    built,
    every_family,
    every_network,
    every_norm,
    measured,
    network,
    noise_of,
    norm_module,
    probe,
    theta_of,
    trainer,
    twin,
)


@every_norm
def test_vgg16_layer_10_is_the_tenth_convolution_whatever_the_norm(norm: str) -> None:
    model = built("vgg", norm, depth=16)
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    for number in range(1, 14):
        assert model.affine(number) is convolutions[number - 1]
        assert model.own_params[model.weight_name(number)] is convolutions[number - 1].weight
    assert isinstance(model.affine(14), nn.Linear)
    assert model.weight_names() == [model.weight_name(i) for i in range(1, 15)]


def test_resnet18s_layers_are_in_the_order_of_the_forward_pass() -> None:
    """The stem, each block's convolutions and then its projection, the head: 21 layers."""
    model = built("resnet", "bn")
    calls: list[nn.Module] = []
    affine = [model.affine(number) for number in model.layers]
    for module in affine:
        module.register_forward_hook(lambda module, *_: calls.append(module))
    model(Draws("resnet", torch.float32).at(0).inputs)
    assert calls == affine
    assert len(calls) == 21
    projections = [i for i in model.layers if getattr(affine[i - 1], "kernel_size", 0) == (1, 1)]
    assert projections == [8, 13, 18]


@every_network
def test_every_parameter_belongs_to_the_layer_that_holds_it(family: str, norm: str) -> None:
    model = network(family, norm)
    for number in model.layers:
        modules = [model.affine(number), model.norm(number)]
        own = {id(parameter) for module in modules for parameter in module.parameters()}
        named = {id(p) for n, p in model.named_parameters() if model.layer_of(n) == number}
        assert own == named != set()


def test_a_parameter_of_no_layer_goes_with_the_one_before_it() -> None:
    class Scaled(Network):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(2, 2)
            self.scale = nn.Parameter(torch.ones(2))
            self.second = nn.Linear(2, 2)

    model = Scaled()
    model.number([Layer("first"), Layer("second")])
    # a module's own parameters are listed before those of its children
    assert [model.layer_of(name) for name in model.own_params] == [1, 1, 1, 2, 2]


def test_a_stage_is_affine_then_norm_then_relu_then_pool() -> None:
    conv, norm = nn.Conv2d(3, 2, 3, padding=1), nn.BatchNorm2d(2)
    x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = torch.max_pool2d(torch.relu(norm(conv(x))), 2)
    assert torch.equal(Stage(conv, norm, nn.ReLU(), nn.MaxPool2d(2))(x), expected)


@every_network
def test_forward_and_pre_activations_are_the_references(family: str, norm: str) -> None:
    model, batch = network(family, norm), Draws(family).at(0)
    net = twin(model, family, norm, batch.inputs, step=5)
    outputs, expected = reference.forward(net, theta_of(model), batch.inputs)
    torch.testing.assert_close(model.outputs(batch.inputs), outputs, rtol=1e-10, atol=1e-10)
    captured = model.evaluate(
        Objective(LOSS[family]), batch.inputs, batch.targets, capture=list(model.layers)
    ).activations
    assert sorted(captured) == sorted(expected) == list(model.layers)
    for number, values in expected.items():
        assert not captured[number].requires_grad
        assert model.units(number) == values.shape[1]
        torch.testing.assert_close(captured[number], values, rtol=1e-10, atol=1e-10)


@every_network
def test_given_parameters_stand_in_for_the_networks_own(family: str, norm: str) -> None:
    model, other = network(family, norm, seed=0), network(family, norm, seed=1)
    for noise, own in zip(other.modules(), model.modules(), strict=True):
        if hasattr(noise, "seed"):
            noise.seed = own.seed
    objective, batch = Objective(LOSS[family], 0.1), Draws(family).at(0)
    own = {name: p.clone() for name, p in model.named_parameters()}
    with frozen_statistics(list(model.modules())):
        stood_in = model.evaluate(
            objective, batch.inputs, batch.targets, params=dict(other.named_parameters())
        )
    expected = other.evaluate(objective, batch.inputs, batch.targets)
    assert float(stood_in.loss) == pytest.approx(float(expected.loss), rel=1e-12)
    for name, gradient in expected.grads.items():
        torch.testing.assert_close(stood_in.grads[name], gradient, rtol=1e-9, atol=1e-10)
        assert torch.equal(model.own_params[name], own[name])


@pytest.mark.parametrize("norm", NOISY)
def test_layers_and_steps_meet_different_noise(norm: str) -> None:
    model, x = network("dln", norm), Draws("dln").at(0).inputs
    draws = [noise for step in (0, 1) for noise in noise_of(model, x, step).values()]
    assert len(draws) == 2 * 4  # the last layer has none
    for i, (m, s) in enumerate(draws):
        for other_m, other_s in draws[:i]:
            assert not bool((m == other_m).any() | (s == other_s).any())


@every_family
def test_noise_is_off_in_evaluation(family: str) -> None:
    model, x = network(family, "noise_only").eval(), Draws(family).at(0).inputs
    plain = network(family, "none").eval()
    for step in (0, 1):
        at_step(model, step)
        torch.testing.assert_close(model(x), plain(x), rtol=1e-12, atol=1e-12)


def test_hooks_are_gone_after_capturing_even_on_an_error() -> None:
    model = network("vgg", "bn")
    with pytest.raises(RuntimeError), model.captured([1, 2]):
        model(torch.ones(3, 99, dtype=torch.float64))
    assert not any(module._forward_hooks for module in model.modules())


@both
def test_own_params_are_the_networks_own_wherever_it_is_moved_or_copied(family: str) -> None:
    model = network(family, "bn")
    assert list(model.own_params) == [name for name, _ in model.named_parameters()]
    for other in (model.float(), copy.deepcopy(model), model.to(torch.float64)):
        for name, parameter in other.named_parameters():
            assert other.own_params[name] is parameter


@every_network
def test_mixed_gradients_are_those_of_the_definition(family: str, norm: str) -> None:
    """What a network overrides for speed is `Network.mixed_gradients` all the same."""
    model, batch = network(family, norm), Draws(family).at(0)
    objective = Objective(LOSS[family], 0.1, "all")
    old = {name: p.detach().clone() for name, p in model.named_parameters()}
    draws = torch.Generator().manual_seed(2)
    new = {
        n: p + 0.1 * torch.randn(p.shape, generator=draws, dtype=p.dtype) for n, p in old.items()
    }
    numbers = [i for i in model.layers if i > 1]
    args = (objective, batch.inputs, batch.targets, old, new, numbers)
    with frozen_statistics(list(model.modules())):
        ours, definition = model.mixed_gradients(*args), Network.mixed_gradients(model, *args)
    assert list(ours) == numbers
    for number, expected in definition.items():
        error = float((ours[number] - expected).norm() / expected.norm())
        assert error < 1e-10, number
    for name, value in old.items():
        assert torch.equal(model.own_params[name], value)


@pytest.mark.slow
def test_torch_compile_gives_the_same_losses_and_gradients() -> None:
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        get_cpp_compiler()
    except Exception as error:
        pytest.skip(f"torch.compile needs a C++ compiler: {error}")
    losses = []
    for compiled in (False, True):
        torch.manual_seed(0)
        first = Stage(nn.Linear(D, D), norm_module("bn", D), nn.ReLU())
        model = Chain([first, Stage(nn.Linear(D, D))]).double()
        if compiled:
            model.compiled()
        made = trainer(
            model,
            Draws("dln"),
            probe("train"),
            objective=Objective("mean_squares", 0.1),
            lr=0.1,
            momentum=0.9,
        )
        losses.append(measured(made, 4)["train"])
    for name in ("loss", "grad_norm"):
        assert losses[0][name] == pytest.approx(losses[1][name], rel=1e-6)
