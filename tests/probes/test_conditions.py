"""The gap between training and test mode, and the stable rank, against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from bnexp.objective import Objective
from bnexp.probes.stable_rank import stable_rank
from tests.helpers import Draws, at, built, measured, network, probe, trainer


@pytest.mark.parametrize("norm", ["none", "bn", "noisy_bn"])
def test_the_mode_gap_is_that_of_the_network_in_both_modes(norm: str) -> None:
    model, batches = network("vgg", norm), Draws("vgg")
    made = trainer(model, batches, probe("mode_gap"), objective=Objective("cross_entropy"), lr=0.1)
    rows = at(measured(made, 1)["mode_gap"])
    again = network("vgg", norm)
    batch = batches.at(0)
    train = F.cross_entropy(again(batch.inputs), batch.targets)  # moves the running statistics
    again.eval()
    outputs = again(batch.inputs)
    test = F.cross_entropy(outputs, batch.targets)
    assert rows[0]["train_mode"] == pytest.approx(float(train), rel=1e-9)
    assert rows[0]["test_mode"] == pytest.approx(float(test), rel=1e-9)
    assert (rows[0]["train_mode"] == rows[0]["test_mode"]) == (norm == "none")
    right = (outputs.argmax(1) == batch.targets).double().mean()
    assert rows[0]["accuracy"] == pytest.approx(float(right))


@pytest.mark.parametrize("shape", [(7, 3), (2, 5), (4, 6, 3, 2)])
@pytest.mark.parametrize("size", [1e-200, 1.0, 1e200])
def test_the_stable_rank_is_that_of_the_singular_values(
    shape: tuple[int, ...], size: float
) -> None:
    values = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    matrix = np.moveaxis(values.numpy(), 1, -1).reshape(-1, shape[1])
    singular = np.linalg.svd(matrix, compute_uv=False)
    expected = float((singular**2).sum() / singular.max() ** 2)
    assert float(stable_rank(values * size)) == pytest.approx(expected, rel=1e-10)


def test_the_stable_rank_of_parallel_samples_is_1_and_of_orthogonal_ones_their_number() -> None:
    row = torch.tensor([[1.0, -2.0, 3.0]], dtype=torch.float64)
    assert float(stable_rank(torch.tensor([[1.0], [-4.0], [0.5]]) * row)) == pytest.approx(1)
    assert float(stable_rank(torch.eye(4))) == pytest.approx(4)
    assert torch.isnan(stable_rank(torch.zeros(3, 2)))


def test_initial_weights_are_scaled() -> None:
    model, scaled = built("vgg", "none"), built("vgg", "none", init_scale=3.0)
    for name in model.weight_names():
        torch.testing.assert_close(scaled.own_params[name], 3 * model.own_params[name])
