"""The kept distribution of one unit per layer: a fixed sample of its pre-activations."""

from __future__ import annotations

from typing import Any

import pytest

from bnexp.errors import UserError
from bnexp.objective import Objective
from bnexp.probes.units import units_of
from tests.helpers import (
    LOSS,
    LR,
    NORMS,
    Draws,
    Table,
    at,
    built,
    every_network,
    measured,
    network,
    probe,
    theta_of,
    trainer,
    twin,
)
from tests.reference import forward


def tables(
    family: str, norm: str, steps: int = 2, seed: int = 5, **options: Any
) -> dict[str, Table]:
    made = trainer(
        network(family, norm),
        Draws(family),
        {**probe("activations", **options), **probe("moments")},
        objective=Objective(LOSS[family]),
        lr=LR[family],
        seed=seed,
    )
    return measured(made, steps)


@every_network
def test_values_are_pre_activations_of_the_unit_at_fixed_places(family: str, norm: str) -> None:
    """Each value lies at one place of the reference's batch, the same at every step."""
    steps, model, batches = 3, network(family, norm), Draws(family)
    made = trainer(
        model, batches, probe("activations"), objective=Objective(LOSS[family]), lr=LR[family]
    )
    places: dict[tuple[int, int], set[int]] = {}
    for t in range(steps):
        inputs = batches.at(t).inputs
        _, preactivations = forward(twin(model, family, norm, inputs, t), theta_of(model), inputs)
        table = measured(made, 1, first=t)["activations"]
        for layer, values in preactivations.items():
            (row,) = at(table, step=t, layer=layer)
            whole, sample = values[:, row["unit"]].flatten().numpy(), row["values"]
            assert len(sample) == min(64, len(whole))
            assert sample.dtype == "float64"
            near = abs(whole[None] - sample[:, None]) <= 1e-9 * abs(whole).max()
            for number, candidates in enumerate(near):
                here = set(candidates.nonzero()[0].tolist())
                places[layer, number] = places.get((layer, number), here) & here
                assert places[layer, number]


@every_network
def test_the_unit_is_fixed_and_its_moments_are_those_recorded(family: str, norm: str) -> None:
    """With every value recorded, their mean and variance are those of table moments."""
    found = tables(family, norm, steps=2, samples=10_000)
    layers = len(network(family, norm).layers)
    for layer in range(1, layers + 1):
        rows = at(found["activations"], layer=layer)
        assert len({row["unit"] for row in rows}) == 1
        for row in rows:
            (moments,) = at(found["moments"], step=row["step"], layer=layer, unit=row["unit"])
            assert row["values"].mean() == pytest.approx(moments["mean"], abs=1e-12)
            assert row["values"].var() == pytest.approx(moments["var"], rel=1e-9, abs=1e-20)


def test_a_smaller_sample_is_the_beginning_of_a_larger_one() -> None:
    large = tables("vgg", "bn", samples=100)["activations"]
    small = tables("vgg", "bn", samples=10)["activations"]
    for a, b in zip(large["values"], small["values"], strict=True):
        assert a[:10].tolist() == b.tolist()


def test_the_unit_comes_from_the_seed_whatever_the_norm_and_may_be_named() -> None:
    units = {norm: tables("vgg", norm, steps=1)["activations"]["unit"] for norm in NORMS}
    assert len({tuple(chosen) for chosen in units.values()}) == 1
    assert units["bn"] != tables("vgg", "bn", steps=1, seed=6)["activations"]["unit"]
    assert tables("vgg", "bn", steps=1, unit=1)["activations"]["unit"] == [1] * 9
    model = built("vgg", "bn", depth=16, width=1.0)
    drawn = [units_of(model, number, seed, 1)[0] for number in range(9, 14) for seed in range(40)]
    assert min(drawn) < 50
    assert max(drawn) > 461  # of 512 units, none is favoured
    assert sorted(units_of(model, 3, 0)) == list(range(128))


def test_a_unit_that_a_layer_lacks_is_refused() -> None:
    with pytest.raises(UserError, match=r"activations\.unit.*layer 1 has units 0 to 1; got 2"):
        tables("vgg", "bn", unit=2)


def test_values_are_copies_that_training_does_not_change() -> None:
    objective = Objective("half_sum_squares")
    made = trainer(
        network("dln", "none"), Draws("dln"), probe("activations"), objective=objective, lr=1e-3
    )
    rows = measured(made, 1)["activations"]["values"]
    before = [values.copy() for values in rows]
    measured(made, 3, first=1)
    assert all((a == b).all() for a, b in zip(rows, before, strict=True))
