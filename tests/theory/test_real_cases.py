"""The theorems on layers of networks: convolutions and linear layers, with BN and without."""

from __future__ import annotations

import pytest
import torch

from bnexp.norms import frozen_statistics
from bnexp.objective import Objective
from bnexp.theory import Case, Point, check_cases, has_bn, inputs_of, real_case
from bnexp.theory.setting import rows_of
from tests.helpers import LOSS, Draws, network


def cases(family: str, norm: str, numbers: list[int], **options: float) -> list[Case]:
    model = network(family, norm, **options)
    batch = Draws(family).at(0)
    inputs = inputs_of(model, numbers, batch.inputs)
    objective = Objective(LOSS[family], 0.01)
    return [real_case(model, objective, n, inputs[n], batch.targets) for n in numbers]


@pytest.mark.parametrize("norm", ["none", "bn", "noisy_bn", "l1"])
@pytest.mark.parametrize(("family", "numbers"), [("vgg", [1, 5, 9]), ("dln", [1, 3, 5])])
def test_what_must_hold_holds_on_layers(family: str, norm: str, numbers: list[int]) -> None:
    report = check_cases(norm, cases(family, norm, numbers), units=1)
    assert report.units == 3
    assert not report.wrong
    held = [f for f in report.findings if f.form.must and f.cases]
    assert len(held) >= 14


@pytest.mark.parametrize("norm", ["none", "bn", "noisy_bn", "l2"])
@pytest.mark.parametrize(("family", "number"), [("vgg", 3), ("dln", 2)])
def test_a_case_is_the_network_itself(family: str, norm: str, number: int) -> None:
    """The loss and its gradient by W_i are the network's own (eps 0); X W' is its linear layer."""
    model = network(family, norm, eps=0.0)
    batch, objective = Draws(family).at(0), Objective(LOSS[family])
    with frozen_statistics(model):
        own = objective.loss_and_grads(model, batch.inputs, batch.targets)
    inputs = inputs_of(model, [number], batch.inputs)
    case = real_case(model, objective, number, inputs[number], batch.targets)
    point = Point(case)
    assert float(point.by_weight.value) == pytest.approx(float(own.loss), rel=1e-10)
    torch.testing.assert_close(
        point.x @ case.weight.flatten(1).T + _bias(model, number), _flat(point)
    )
    if has_bn(model.layers[number]):
        gradient = own.grads[model.weight_name(number)]
        torch.testing.assert_close(point.by_weight.gradient[0], gradient, rtol=1e-9, atol=1e-12)
    else:  # a BN layer was put there: the same activations
        torch.testing.assert_close(point.z, point.y, rtol=1e-10, atol=1e-10)


def _flat(point: Point) -> torch.Tensor:
    return rows_of(point.y).T


def _bias(model: torch.nn.Module, number: int) -> torch.Tensor | float:
    bias = model.layers[number].affine.bias  # type: ignore[index,union-attr]
    return 0.0 if bias is None else bias.detach()  # type: ignore[union-attr,return-value]


def test_inputs_leave_the_running_statistics_be() -> None:
    model = network("vgg", "bn")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    inputs_of(model, [4], Draws("vgg").at(0).inputs)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_start_is_the_layers_own_initialisation() -> None:
    case = cases("dln", "bn", [2])[0]
    start = torch.randn_like(case.weight)
    from dataclasses import replace

    report = check_cases("start", [replace(case, start=start)])
    (gain,) = [f for f in report.findings if f.name == "gain"]
    assert gain.cases == report.units
    assert gain.violation < 1e-12


def test_a_dead_network_has_nothing_against_the_theorems() -> None:
    """All biases far below 0: behind the first layer every unit is constant, and g is 0."""
    model = network("vgg", "none")
    with torch.no_grad():
        for layer in model.layers:
            assert layer.affine.bias is not None
            layer.affine.bias.fill_(-1e3)
    batch = Draws("vgg").at(0)
    inputs = inputs_of(model, [1, 4], batch.inputs)
    made = [
        real_case(model, Objective("cross_entropy"), n, x, batch.targets) for n, x in inputs.items()
    ]
    report = check_cases("dead", made)
    assert report.units == model.layers[1].units
    assert report.skipped == model.layers[4].units
    assert not report.wrong
