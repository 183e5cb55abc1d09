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
    FAMILIES,
    LOSS,
    LR,
    NORMS,
    Draws,
    Table,
    at,
    measured,
    network,
    probe,
    trainer,
    twin,
)

both = pytest.mark.parametrize("family", FAMILIES)
every_norm = pytest.mark.parametrize("norm", NORMS)


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


@both
@every_norm
def test_every_unit_of_every_layer_after_norm_and_noise_before_the_relu(
    family: str, norm: str
) -> None:
    """At theta_t on the batch of step t, over samples and positions, with biased variance."""
    model, batches = network(family, norm), Draws(family)
    theta = reference.theta_of(dict(model.named_parameters()))
    table = moments(model, family, steps=2)
    row = 0
    for t in range(2):
        batch = batches.at(t)
        net = twin(model, family, norm, batch.inputs, t)
        _, seen = reference.forward(net, theta, batch.inputs)
        for layer, values in seen.items():
            for unit in range(values.shape[1]):
                one = values[:, unit].flatten().tolist()
                mean = sum(one) / len(one)
                assert [table[name][row] for name in ("step", "layer", "unit")] == [t, layer, unit]
                assert table["mean"][row] == pytest.approx(mean, abs=1e-11)
                var = sum((x - mean) ** 2 for x in one) / len(one)
                assert table["var"][row] == pytest.approx(var, rel=1e-10, abs=1e-13)
                row += 1
        loss = reference.objective(net, LOSS[family], batch.inputs, batch.targets)
        theta = reference.descend(grad(loss)(theta), theta, {}, LR[family], 0.0)
    assert row == len(table["step"])


@both
def test_under_bn_they_are_beta_and_gamma_squared(family: str) -> None:
    """The variance is the biased one, gamma^2 var / (var + eps), also at 8 samples."""
    model = network(family, "bn", eps=1e-40)
    table = moments(model, family)
    for number in list(model.layers.numbers())[:-1]:
        norm = model.layers[number].norm
        fresh = network(family, "bn").layers[number].norm
        rows = at(table, layer=number)
        assert [row["mean"] for row in rows] == pytest.approx(fresh.bias.tolist(), abs=1e-10)
        variances = (fresh.weight**2).tolist()
        assert [row["var"] for row in rows] == pytest.approx(variances, rel=1e-8)
        assert len(rows) == len(norm.weight)


def test_a_layer_is_found_by_its_number() -> None:
    everything = moments(network("vgg", "bn"), "vgg")
    some = moments(network("vgg", "bn"), "vgg", layers=[9, 4])
    assert sorted(set(some["layer"])) == [4, 9]
    for number in (4, 9):
        assert at(some, layer=number) == at(everything, layer=number)
    assert len(at(some, layer=9)) == 3  # the logits


def test_fewer_units_are_a_fixed_part_of_all_that_holds_the_one_of_the_activations() -> None:
    everything = moments(network("vgg", "noisy_bn"), "vgg", steps=2)
    some = moments(network("vgg", "noisy_bn"), "vgg", steps=2, units=3)
    model = network("vgg", "noisy_bn")
    for number in model.layers.numbers():
        at_0, at_1 = (at(some, layer=number, step=step) for step in (0, 1))
        assert len(at_0) == min(3, model.layers[number].units)
        assert [row["unit"] for row in at_0] == [row["unit"] for row in at_1]
        assert units_of(model, number, 5, 1)[0] in [row["unit"] for row in at_0]
        for row in at_0 + at_1:
            assert [row] == at(everything, step=row["step"], layer=number, unit=row["unit"])


def test_successive_measures_the_step_after_each_too() -> None:
    sparse = moments(network("dln", "bn"), "dln", steps=12, every=5, layers=[2], units=1)
    paired = moments(
        network("dln", "bn"), "dln", steps=12, every=5, layers=[2], units=1, successive=True
    )
    assert sparse["step"] == [0, 5, 10]
    assert paired["step"] == [0, 1, 5, 6, 10, 11]
    dense = moments(network("dln", "bn"), "dln", steps=12, every=5, dense=3, layers=[2], units=1)
    assert dense["step"] == [0, 1, 2, 5, 10]
