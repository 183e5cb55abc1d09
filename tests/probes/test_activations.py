"""Pre-activations against the reference's forward pass: moments of all, a fixed sample of one."""

from __future__ import annotations

from typing import Any

import pytest
from torch.func import grad

from bnexp.errors import UserError
from bnexp.models import Network
from bnexp.objective import Objective
from bnexp.probes.activations import units_of
from tests import reference
from tests.helpers import (
    LOSS,
    LR,
    NORMS,
    Draws,
    Table,
    at,
    built,
    every_family,
    every_network,
    measured,
    network,
    probe,
    theta_of,
    trainer,
    twin,
)


def tables(
    model: Network, family: str, steps: int = 1, seed: int = 5, **options: Any
) -> dict[str, Table]:
    """Both tables; ``options`` are of the probe of the pre-activations or of the moments."""
    samples = {name: options.pop(name) for name in ("unit", "samples") if name in options}
    probes = {**probe("activations", **samples), **probe("moments", **options)}
    objective = Objective(LOSS[family])
    made = trainer(model, Draws(family), probes, objective=objective, seed=seed)
    return measured(made, steps)


@every_network
def test_they_are_the_references_after_norm_and_noise_before_the_relu(
    family: str, norm: str
) -> None:
    """At theta_t on the batch of step t, over samples and positions, with biased variance; each
    value recorded lies at one place of the batch, the same at every step."""
    model, batches = network(family, norm), Draws(family)
    theta = theta_of(model)
    found = tables(model, family, steps=2)
    rows = iter(at(found["moments"]))
    places: dict[tuple[int, int], set[int]] = {}
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
            (kept,) = at(found["activations"], step=t, layer=layer)
            whole, some = values[:, kept["unit"]].flatten().numpy(), kept["values"]
            assert len(some) == min(64, len(whole))
            assert some.dtype == "float64"
            near = abs(whole[None] - some[:, None]) <= 1e-9 * abs(whole).max()
            for number, candidates in enumerate(near):
                here = set(candidates.nonzero()[0].tolist())
                places[layer, number] = places.get((layer, number), here) & here
                assert places[layer, number]
        loss = reference.objective(net, LOSS[family], *batch)
        theta = reference.descend(grad(loss)(theta), theta, {}, LR[family], 0.0)
    assert next(rows, None) is None


def test_a_smaller_sample_is_the_beginning_of_a_larger_one() -> None:
    large, small = (
        tables(network("vgg", "bn"), "vgg", samples=count)["activations"] for count in (100, 10)
    )
    for a, b in zip(large["values"], small["values"], strict=True):
        assert a[:10].tolist() == b.tolist()


def test_the_unit_comes_from_the_seed_whatever_the_norm_and_may_be_named() -> None:
    units = {norm: tables(network("vgg", norm), "vgg")["activations"]["unit"] for norm in NORMS}
    assert len({tuple(chosen) for chosen in units.values()}) == 1
    bn = network("vgg", "bn")
    assert units["bn"] != tables(bn, "vgg", seed=6)["activations"]["unit"]
    assert tables(bn, "vgg", unit=1)["activations"]["unit"] == [1] * 9
    model = built("vgg", "bn", depth=16, width=1.0)
    drawn = [units_of(model, number, seed, 1)[0] for number in range(9, 14) for seed in range(40)]
    assert min(drawn) < 50
    assert max(drawn) > 461  # of 512 units, none is favoured
    assert sorted(units_of(model, 3, 0)) == list(range(128))


def test_a_unit_that_a_layer_lacks_is_refused() -> None:
    with pytest.raises(UserError, match=r"activations\.unit.*layer 1 has units 0 to 1; got 2"):
        tables(network("vgg", "bn"), "vgg", unit=2)


@every_family
def test_under_bn_they_are_beta_and_gamma_squared(family: str) -> None:
    """The variance is the biased one, gamma^2 var / (var + eps), also at 8 samples."""
    model, fresh = (network(family, "bn", eps=1e-40) for _ in range(2))
    table = tables(model, family)["moments"]
    varied: list[bool] = []
    for number in [i for i in list(model.layers)[:-1] if model.layers[i].norm]:
        norm = fresh.norm(number)
        for row, mean, gamma in zip(at(table, layer=number), norm.bias, norm.weight, strict=True):
            varied.append(row["var"] > 1e-20)  # unless the ReLU has cut off all of its inputs
            assert row["mean"] == pytest.approx(mean.item(), abs=1e-10)
            assert not varied[-1] or row["var"] == pytest.approx(gamma.item() ** 2, rel=1e-8)
    assert sum(varied) > 0.8 * len(varied)


def test_fewer_units_are_a_fixed_part_of_all_with_the_one_of_the_activations() -> None:
    everything = tables(network("vgg", "noisy_bn"), "vgg", steps=2)["moments"]
    some = tables(network("vgg", "noisy_bn"), "vgg", steps=2, units=3)["moments"]
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
    table = tables(network("dln", "bn"), "dln", 12, every=5, layers=[2], units=1, **options)[
        "moments"
    ]
    assert table["step"] == steps
