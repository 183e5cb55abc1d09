"""The joined passes of a linear network against one pass after the other (torch.func, direct)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bnexp.models import Network, dln
from bnexp.models.layers import Layer
from bnexp.models.streams import streamable
from bnexp.norms import NORMS, NormOptions, at_step, build_norm, frozen_statistics
from bnexp.objective import Objective

every_norm = pytest.mark.parametrize("norm", list(NORMS))
LOSSES = pytest.mark.parametrize("loss", ["half_sum_squares", "mean_squares"])


def network(norm: str, eps: float = 1e-5) -> Network:
    options = NormOptions(eps=eps)
    made = dln(lambda number, units: build_norm(norm, units, options, number), k=5, d=4, seed=3)
    at_step(made, 7)
    return made


def draws(*shapes: tuple[int, ...]) -> list[Tensor]:
    source = torch.Generator().manual_seed(1)
    return [torch.randn(shape, generator=source, dtype=torch.float64) for shape in shapes]


def close(found: Tensor, expected: Tensor) -> None:
    # to 1e-10 of the tensor's largest entry: single entries may cancel
    limit = 1e-10 * max(float(expected.abs().max()), 1e-300)
    assert float((found - expected).abs().max()) <= limit


@every_norm
@LOSSES
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("which", ["weights", "all"])
def test_points_along_a_direction(norm: str, loss: str, decay: float, which: str) -> None:
    model, objective = network(norm), Objective(loss, decay, which)
    x, y = draws((30, 4), (30, 4))
    params = {name: p.detach() for name, p in model.named_parameters()}
    direction = dict(zip(params, draws(*(p.shape for p in params.values())), strict=True))
    etas = [1e-3, 0.1, 1.0]
    with frozen_statistics(model):
        (joined,) = objective.passes_along(model, x, y, params, direction, etas)
        for i, eta in enumerate(etas):
            point = {name: p - eta * direction[name] for name, p in params.items()}
            alone = objective.loss_and_grads(model, x, y, params=point)
            close(joined.loss[i], alone.loss)
            close(joined.data_loss[i], alone.data_loss)
            close(joined.outputs[i], alone.outputs)
            assert list(joined.grads) == list(alone.grads)
            close(
                torch.cat([grad[i].flatten() for grad in joined.grads.values()]),
                torch.cat([grad.flatten() for grad in alone.grads.values()]),
            )


@every_norm
@pytest.mark.parametrize("numbers", [[2], [3, 5], [1, 2, 3, 4, 5]])
def test_gradients_of_suffixes(norm: str, numbers: list[int]) -> None:
    model, objective = network(norm), Objective("half_sum_squares", 0.1)
    (y, *inputs) = draws((30, 4), *[(30, 4)] * len(numbers))
    params = {name: p.detach() for name, p in model.named_parameters()}
    hidden = dict(zip(numbers, inputs, strict=True))
    with frozen_statistics(model):
        joined = objective.weight_grads(model, hidden.items(), y, params)
        for number, x in hidden.items():
            name = model.weight_name(number)
            alone = objective.loss_and_grads(model, x, y, params=params, wrt=[name], first=number)
            close(joined[number], alone.grads[name])
    assert list(joined) == numbers


def test_only_linear_networks_without_pooling_are_joined() -> None:
    linear = Layer(torch.nn.Linear(4, 4), None, torch.nn.ReLU())
    pooled = Layer(torch.nn.Linear(4, 4), None, None, torch.nn.AvgPool1d(1))
    convolution = Layer(torch.nn.Conv2d(3, 3, 3))
    assert streamable(Network([linear]))
    assert not streamable(Network([linear, pooled]))
    assert not streamable(Network([convolution]))
