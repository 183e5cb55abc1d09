"""Numbered layers, and forward passes with other parameters, against the reference."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from bnexp.models import Chain, Layer, Network, Stage
from bnexp.objective import Objective
from tests import reference
from tests.helpers import (
    LOSS,
    D,
    Draws,
    both,
    every_network,
    measured,
    network,
    norm_module,
    probe,
    theta_of,
    trainer,
    twin,
)


@every_network
def test_every_parameter_belongs_to_the_layer_that_holds_it(family: str, norm: str) -> None:
    model = network(family, norm)
    for number in model.layers:
        modules = [model.affine(number), model.norm(number)]
        own = {id(parameter) for module in modules for parameter in module.parameters()}
        named = {id(p) for n, p in model.named_parameters() if model.layer_of[n] == number}
        # a DenseNet has norms of several layers' outputs, too: tests/models/test_others.py
        assert own
        assert own <= named if family == "densenet" else own == named


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
    assert [model.layer_of[name] for name in model.own_params] == [1, 1, 1, 2, 2]


@every_network
def test_forward_and_pre_activations_are_the_references(family: str, norm: str) -> None:
    model, batch = network(family, norm), Draws(family).at(0)
    net = twin(model, family, norm, batch.inputs, step=5)
    outputs, expected = reference.forward(net, theta_of(model), batch.inputs)
    torch.testing.assert_close(model.outputs(batch.inputs), outputs, rtol=1e-10, atol=1e-10)
    captured = model.evaluate(
        Objective(LOSS[family]), *batch, capture=list(model.layers)
    ).activations
    assert sorted(captured) == sorted(expected) == list(model.layers)
    for number, values in expected.items():
        assert not captured[number].requires_grad
        assert model.units(number) == values.shape[1]
        torch.testing.assert_close(captured[number], values, rtol=1e-10, atol=1e-10)


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
