"""Batch sharpness against dense Hessians of the batches that it draws."""

from __future__ import annotations

import pytest

from bnexp.objective import Objective
from bnexp.probes import Setting, build_probes
from bnexp.probes.base import leaving_no_trace
from bnexp.seeds import derive
from tests.helpers import LOSS, both, measured, no_test_split, probe, trainer
from tests.probes.second_order import bare, dense, row, tiny


@both
@pytest.mark.parametrize("norm", ["none", "bn", "noisy_bn"])
def test_it_is_the_mean_over_its_own_batches(family: str, norm: str) -> None:
    model, batches = tiny(family, norm)
    probes = probe("batch_sharpness", batches=3)
    made = trainer(model, batches, probes, objective=Objective(LOSS[family], 0.3), lr=1e-3)
    for step in (0, 1):
        along, squares = [], []
        for i in range(3):
            batch = batches.at(derive(0, "batch_sharpness", step, i))
            with leaving_no_trace(model):
                g, H = dense(family, norm, model, batch, step, (0.3, "weights"))
            along.append(float(g @ H @ g))
            squares.append(float(g @ g))
        found = measured(made, 1, first=step)["batch_sharpness"]
        mean = sum(a / s for a, s in zip(along, squares, strict=True)) / 3
        assert found["batch_sharpness"] == [pytest.approx(mean, rel=1e-8)]
        assert found["ratio_of_means"] == [pytest.approx(sum(along) / sum(squares), rel=1e-8)]
        assert found["batches"] == [3]


def test_without_other_batches_it_is_the_curvature_of_the_step() -> None:
    objective = Objective("half_sum_squares", 0.3)
    curvature = row("curvature", *bare(k=3), objective)["curvature"]
    model, batches = bare(k=3)
    made = trainer(model, batches, {}, objective=objective, lr=1e-3)
    made.probes = build_probes(
        probe("batch_sharpness"), Setting(model, objective, 1, 0, no_test_split)
    )
    found = measured(made, 1)["batch_sharpness"]
    assert found["batch_sharpness"] == [pytest.approx(curvature, rel=1e-12)]
    assert found["ratio_of_means"] == [pytest.approx(curvature, rel=1e-12)]
    assert found["batches"] == [1]
