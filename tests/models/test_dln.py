"""The deep linear network: its shape, and its passes on sufficient statistics against `Chain`."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bnexp.models import Chain, Network
from bnexp.models.dln import LinearNetwork
from bnexp.norms import frozen_statistics
from bnexp.objective import Objective
from tests.helpers import (
    Draws,
    built,
    every_norm,
    measured,
    network,
    norm_module,
    trainer,
)

OBJECTIVE = Objective("sum_squares", 0.1)


def samplewise(norm: str, seed: int = 0) -> Chain:
    """The same network as a plain chain, on the samples."""
    return Chain(network("dln", norm, seed=seed).stages.values())


def train(model: Network, steps: int = 6, **options: float) -> None:
    options = {"lr": 1e-3, "momentum": 0.9, **options}
    made = trainer(model, Draws("dln"), {}, objective=OBJECTIVE, **options)
    measured(made, steps)


def assert_equal_states(model: nn.Module, other: nn.Module, tolerance: float = 1e-10) -> None:
    theirs = other.state_dict()
    assert set(model.state_dict()) == set(theirs)
    for name, value in model.state_dict().items():
        size = 1 + float(theirs[name].abs().max())
        assert float((value - theirs[name]).abs().max()) <= tolerance * size, name


def test_without_norm_it_is_the_product_of_its_weights() -> None:
    model = built("dln", "none", k=7, d=3)
    product = torch.eye(3, dtype=torch.float64)
    for number in model.layers:
        product = model.affine(number).weight @ product
    x = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model(x), x @ product.T)


@every_norm
def test_float64_without_biases_norm_on_all_but_the_last(norm: str) -> None:
    model = built("dln", norm, k=25, d=10)
    assert isinstance(model, LinearNetwork)
    weights = [model.own_params[name] for name in model.weight_names()]
    assert [tuple(weight.shape) for weight in weights] == [(10, 10)] * 25
    assert {weight.dtype for weight in weights} == {torch.float64}
    assert all(type(model.norm(i)) is type(norm_module(norm, 1)) for i in range(1, 25))
    assert isinstance(model.norm(25), nn.Identity)
    assert all(model.affine(i).bias is None for i in model.layers)


@every_norm
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_it_trains_as_the_chain_does_on_its_samples(norm: str, momentum: float) -> None:
    """Parameters and running statistics, over several steps of the optimiser."""
    linear, chain = network("dln", norm), samplewise(norm)
    for model in (linear, chain):
        train(model, momentum=momentum)
    assert_equal_states(linear, chain)
    start = network("dln", norm).state_dict()
    still = {"stages.5.affine.weight"} if norm == "none" else set()
    for name, value in linear.state_dict().items():
        # before another norm a shift changes nothing, so beta's gradient is 0
        moves = name not in still and not name.endswith("bias")
        assert not moves or not torch.equal(value, start[name]), name


@every_norm
def test_frozen_statistics_stay_and_evaluation_uses_the_running_ones(norm: str) -> None:
    model, batch = network("dln", norm), Draws("dln").at(0)
    before = {name: b.clone() for name, b in model.named_buffers()}
    with frozen_statistics(list(model.modules())):
        frozen = model.evaluate(OBJECTIVE, *batch)
    assert all(torch.equal(b, before[name]) for name, b in model.named_buffers())
    moving = model.evaluate(OBJECTIVE, *batch)
    assert not any(torch.equal(b, before[name]) for name, b in model.named_buffers())
    assert float(moving.loss) == pytest.approx(float(frozen.loss), rel=1e-12)
    chain = samplewise(norm)
    chain.load_state_dict(model.state_dict())
    for each in (model, chain):
        each.eval()
    ours, theirs = (each.evaluate(OBJECTIVE, *batch) for each in (model, chain))
    assert float(ours.loss) == pytest.approx(float(theirs.loss), rel=1e-12)


def copied(model: Network) -> Network:
    return copy.deepcopy(model)


def loaded(model: Network) -> Network:
    other = network("dln", "bn", seed=7)
    train(other, 2)  # its parameters lie in one vector by now
    other.load_state_dict(model.state_dict())
    return other


def cast(model: Network) -> Network:
    return model.float().double()


def replaced(model: Network) -> Network:
    """New storage for one parameter in the middle, as ``weight.data = ..`` gives it."""
    model.affine(2).weight.data = model.affine(2).weight.detach().clone()
    return model


@pytest.mark.parametrize("way", [copied, loaded, cast, replaced])
def test_it_goes_on_training_wherever_it_is_copied_loaded_or_moved(
    way: Callable[[Network], Network],
) -> None:
    model, chain = network("dln", "bn"), samplewise("bn")
    for each in (model, chain):
        train(each, 3)
    tolerance = 1e-5 if way is cast else 1e-10
    other = way(model)
    assert_equal_states(other, chain, tolerance)
    at_rest = {name: value.clone() for name, value in model.state_dict().items()}
    for each in (other, chain):
        train(each, 3)
    assert_equal_states(other, chain, tolerance)
    if other is not model:
        assert all(torch.equal(value, at_rest[n]) for n, value in model.state_dict().items())


def test_an_optimiser_goes_on_with_a_network_whose_storage_was_replaced() -> None:
    """What is optimised is one vector; it stays the network's own."""
    model, chain = network("dln", "bn"), samplewise("bn")
    for each in (model, chain):
        made = trainer(each, Draws("dln"), {}, objective=OBJECTIVE, momentum=0.9)
        measured(made, 2)
        for parameter in each.parameters():
            parameter.data = parameter.detach().clone()
        measured(made, 2, first=2)
    assert_equal_states(model, chain)


class Cosine(Objective):
    """A data loss of one's own."""

    def data(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return -(outputs * targets).sum() / (outputs.norm() * targets.norm())


@pytest.mark.parametrize(
    ("objective", "dtype"),
    [(Cosine("cosine"), torch.float64), (Objective("sum_squares"), torch.float32)],
)
def test_what_the_statistics_do_not_suffice_for_is_the_chains(
    objective: Objective, dtype: torch.dtype
) -> None:
    model, chain = network("dln", "bn").to(dtype), samplewise("bn").to(dtype)
    batch = Draws("dln", dtype).at(0)
    ours, theirs = (each.evaluate(objective, *batch) for each in (model, chain))
    assert float(ours.loss) == pytest.approx(float(theirs.loss), rel=1e-6)
    for name, gradient in theirs.grads.items():
        torch.testing.assert_close(ours.grads[name], gradient, rtol=1e-4, atol=1e-6)
