"""The joined passes of a linear network against one pass after the other (torch.func, direct)."""

from __future__ import annotations

from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn

from bnexp.models import Network, dln
from bnexp.models.layers import Layer
from bnexp.models.streams import streamable
from bnexp.norms import NORMS, NormOptions, at_step, build_norm, frozen_statistics
from bnexp.objective import Objective
from tests.helpers import LR, Draws, measured, probe, trainer
from tests.helpers import network as reference_network

every_norm = pytest.mark.parametrize("norm", list(NORMS))
both_precisions = pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
LOSSES = pytest.mark.parametrize("loss", ["half_sum_squares", "mean_squares"])
LIMIT = {torch.float64: 1e-10, torch.float32: 1e-4}
DOUBLE = torch.float64


def network(norm: str, dtype: torch.dtype = DOUBLE, eps: float = 1e-5) -> Network:
    options = NormOptions(eps=eps)
    made = dln(lambda number, units: build_norm(norm, units, options, number), k=5, d=4, seed=3)
    source = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if ".norm." in name:  # gamma and beta off 1 and 0
                parameter += 0.2 * torch.randn(parameter.shape, generator=source)
    at_step(made, 7)
    return made.to(dtype)


def mixed(dtype: torch.dtype) -> Network:
    """Biases, a non-linearity, layers with and without a normalisation, also after the last."""

    def layer(norm: str, activation: nn.Module | None = None) -> Layer:
        return Layer(nn.Linear(4, 4), build_norm(norm, 4, NormOptions(), 1), activation)

    torch.manual_seed(0)
    layers = [layer("bn", nn.ReLU()), layer("bn"), layer("none"), layer("bn"), layer("l1")]
    made = Network([*layers, layer("bn"), layer("bn"), layer("noisy_bn"), layer("bn")])
    return made.to(dtype)


def draws(*shapes: tuple[int, ...], dtype: torch.dtype = DOUBLE) -> list[Tensor]:
    source = torch.Generator().manual_seed(1)
    return [torch.randn(shape, generator=source, dtype=DOUBLE).to(dtype) for shape in shapes]


def close(found: Tensor, expected: Tensor) -> None:
    # to so much of the tensor's largest entry: single entries may cancel
    limit = LIMIT[expected.dtype] * max(float(expected.detach().abs().max()), 1e-300)
    assert float((found - expected).detach().abs().max()) <= limit


def check_points(model: Network, objective: Objective, dtype: torch.dtype) -> None:
    x, y = draws((30, 4), (30, 4), dtype=dtype)
    params = {name: p.detach() for name, p in model.named_parameters()}
    shapes = [p.shape for p in params.values()]
    direction = dict(zip(params, draws(*shapes, dtype=dtype), strict=True))
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


def check_suffixes(model: Network, numbers: list[int], dtype: torch.dtype) -> None:
    objective = Objective("half_sum_squares", 0.1)
    (y, *inputs) = draws((30, 4), *[(30, 4)] * len(numbers), dtype=dtype)
    params = {name: p.detach() for name, p in model.named_parameters()}
    hidden = dict(zip(numbers, inputs, strict=True))
    before = [x.clone() for x in inputs]
    with frozen_statistics(model):
        joined = objective.weight_grads(model, hidden.items(), y, params)
        for number, x in hidden.items():
            name = model.weight_name(number)
            alone = objective.loss_and_grads(model, x, y, params=params, wrt=[name], first=number)
            close(joined[number], alone.grads[name])
    assert list(joined) == numbers
    assert all(map(torch.equal, inputs, before))


@every_norm
@LOSSES
@both_precisions
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("which", ["weights", "all"])
def test_points_along_a_direction(
    norm: str, loss: str, decay: float, which: str, dtype: torch.dtype
) -> None:
    check_points(network(norm, dtype), Objective(loss, decay, which), dtype)


@every_norm
@both_precisions
@pytest.mark.parametrize("numbers", [[2], [3, 5], [1, 2, 3, 4, 5]])
def test_gradients_of_suffixes(norm: str, numbers: list[int], dtype: torch.dtype) -> None:
    check_suffixes(network(norm, dtype), numbers, dtype)


@both_precisions
def test_layers_of_every_kind_in_one_network(dtype: torch.dtype) -> None:
    check_points(mixed(dtype), Objective("half_sum_squares", 0.1), dtype)
    check_suffixes(mixed(dtype), [1, 2, 3, 4, 5, 6, 7, 8, 9], dtype)


@every_norm
@both_precisions
def test_tables_of_a_network_with_momentum(norm: str, dtype: torch.dtype) -> None:
    """Three steps of training: the probes' tables from joined passes and from direct ones."""

    def tables() -> dict[str, dict[str, list[float]]]:
        made = trainer(
            reference_network("dln", norm, dtype=dtype),
            Draws("dln", dtype),
            {**probe("landscape"), **probe("gradient_shift")},
            objective=Objective("half_sum_squares", 0.01),
            lr=LR["dln"],
            momentum=0.9,
        )
        return measured(made, 3)

    joined = tables()
    with patch("bnexp.objective.streamable", return_value=False):
        apart = tables()
    assert joined.keys() == apart.keys() == {"landscape", "smoothness", "gradient_shift"}
    for name, table in apart.items():
        for column, values in table.items():
            close(
                *(torch.tensor(x, dtype=DOUBLE).to(dtype) for x in (joined[name][column], values))
            )


def test_only_linear_networks_without_pooling_are_joined() -> None:
    linear = Layer(torch.nn.Linear(4, 4), None, torch.nn.ReLU())
    pooled = Layer(torch.nn.Linear(4, 4), None, None, torch.nn.AvgPool1d(1))
    convolution = Layer(torch.nn.Conv2d(3, 3, 3))
    assert streamable(Network([linear]))
    foreign = Layer(torch.nn.Linear(4, 4), torch.nn.LayerNorm(4), torch.nn.ReLU())
    assert not streamable(Network([linear, foreign]))
    assert not streamable(Network([linear, pooled]))
    assert not streamable(Network([convolution]))
