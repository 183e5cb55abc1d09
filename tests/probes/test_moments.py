"""Mean and variance of pre-activations against the reference's forward pass."""

from __future__ import annotations

from typing import Any

import pytest
from torch.func import grad

from bnexp.models import Network
from bnexp.objective import Objective
from bnexp.probes.units import units_of
from tests import reference
from tests.helpers import (
    LOSS,
    LR,
    Draws,
    Table,
    at,
    every_family,
    every_network,
    measured,
    network,
    probe,
    theta_of,
    trainer,
    twin,
)


def moments(
    model: Network, family: str, steps: int = 1, lr: float | None = None, **options: Any
) -> Table:
    made = trainer(
        model,
        Draws(family),
        probe("moments", **options),
        objective=Objective(LOSS[family]),
        lr=lr or LR[family],
        seed=5,
    )
    return measured(made, steps)["moments"]


@every_network
def test_every_unit_of_every_layer_after_norm_and_noise_before_the_relu(
    family: str, norm: str
) -> None:
    """At theta_t on the batch of step t, over samples and positions, with biased variance."""
    model, batches = network(family, norm), Draws(family)
    theta = theta_of(model)
    rows = iter(at(moments(model, family, steps=2)))
    for t in range(2):
        batch = batches.at(t)
        net = twin(model, family, norm, batch.inputs, t)
        _, preactivations = reference.forward(net, theta, batch.inputs)
        for layer, values in preactivations.items():
            for unit in range(values.shape[1]):
                sample, row = values[:, unit].flatten().tolist(), next(rows)
                mean = sum(sample) / len(sample)
                var = sum((x - mean) ** 2 for x in sample) / len(sample)
                assert (row["step"], row["layer"], row["unit"]) == (t, layer, unit)
                assert row["mean"] == pytest.approx(mean, abs=1e-10)
                assert row["var"] == pytest.approx(var, rel=1e-9, abs=1e-12)
        loss = reference.objective(net, LOSS[family], batch.inputs, batch.targets)
        theta = reference.descend(grad(loss)(theta), theta, {}, LR[family], 0.0)
    assert next(rows, None) is None


@every_family
def test_under_bn_they_are_beta_and_gamma_squared(family: str) -> None:
    """The variance is the biased one, gamma^2 var / (var + eps), also at 8 samples."""
    model, fresh = (network(family, "bn", eps=1e-40) for _ in range(2))
    table = moments(model, family)
    varied: list[bool] = []
    for number in list(model.layers)[:-1]:
        norm = fresh.norm(number)
        for row, mean, gamma in zip(at(table, layer=number), norm.bias, norm.weight, strict=True):
            varied.append(row["var"] > 1e-20)  # unless the ReLU has cut off all of its inputs
            assert row["mean"] == pytest.approx(mean.item(), abs=1e-10)
            assert not varied[-1] or row["var"] == pytest.approx(gamma.item() ** 2, rel=1e-8)
    assert sum(varied) > 0.8 * len(varied)


def test_a_layer_goes_by_its_number() -> None:
    everything = moments(network("vgg", "bn"), "vgg")
    some = moments(network("vgg", "bn"), "vgg", layers=[9, 4])
    assert sorted(set(some["layer"])) == [4, 9]
    for number in (4, 9):
        assert at(some, layer=number) == at(everything, layer=number)
    assert len(at(some, layer=9)) == 3  # the logits


def test_fewer_units_are_a_fixed_part_of_all_with_the_one_of_the_activations() -> None:
    everything = moments(network("vgg", "noisy_bn"), "vgg", steps=2)
    some = moments(network("vgg", "noisy_bn"), "vgg", steps=2, units=3)
    model = network("vgg", "noisy_bn")
    for number in model.layers:
        at_0, at_1 = (at(some, layer=number, step=step) for step in (0, 1))
        assert len(at_0) == min(3, model.units(number))
        assert [row["unit"] for row in at_0] == [row["unit"] for row in at_1]
        assert units_of(model, number, 5, 1)[0] in [row["unit"] for row in at_0]
        for row in at_0 + at_1:
            assert [row] == at(everything, step=row["step"], layer=number, unit=row["unit"])


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({}, [0, 5, 10]),
        ({"successive": True}, [0, 1, 5, 6, 10, 11]),
        ({"dense": 3}, [0, 1, 2, 5, 10]),
    ],
)
def test_successive_measures_the_step_after_each_too(
    options: dict[str, Any], steps: list[int]
) -> None:
    table = moments(network("dln", "bn"), "dln", 12, every=5, layers=[2], units=1, **options)
    assert table["step"] == steps
