"""The theorems on layers of networks: convolutions and linear layers, chains and skips."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor

from bnexp.models import Network, build_model
from bnexp.models.base import Task
from bnexp.models.dln import DlnOptions
from bnexp.models.resnet import ResnetOptions
from bnexp.models.vgg import VggOptions
from bnexp.norms import NoisyOptions, StatisticsOptions, frozen_statistics
from bnexp.objective import Objective
from bnexp.registry import NORMS, Options
from bnexp.theory import Case, Point, bn_of, check_cases, inputs_of, real_case
from bnexp.theory.setting import rows_of

MODELS = {
    "vgg": VggOptions(
        init="glorot_uniform", loss="cross_entropy", depth=11, width=1 / 32, head="linear"
    ),
    "resnet": ResnetOptions(
        "glorot_uniform", "cross_entropy", depth=18, width=1 / 32, stem="cifar"
    ),
    "dln": DlnOptions("glorot_uniform", "sum_squares", k=5, d=4),
}
LAYERS = {"vgg": [1, 5, 9], "resnet": [2, 8, 21], "dln": [1, 3, 5]}


def network(model: str, norm: str, eps: float = 1e-5) -> Network:
    """Small, in float64, gamma and beta moved off 1 and 0; in training mode."""
    kinds: dict[type[Options], Options] = {
        StatisticsOptions: StatisticsOptions(eps, 0.1),
        NoisyOptions: NoisyOptions(
            eps=eps, momentum=0.1, n_mu=0.5, n_sigma=1.25, r_mu=0.1, r_sigma=0.1
        ),
    }
    options = kinds.get(NORMS[norm].options, Options())
    made = build_model(model, MODELS[model], norm, options, Task(classes=3), 0).double()
    stream = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.dim() == 1:
                parameter += 0.2 * torch.randn(parameter.shape, generator=stream)
    return made


@cache
def batch(model: str) -> tuple[Tensor, Tensor]:
    stream = torch.Generator().manual_seed(1)
    shape = (8, 4) if model == "dln" else (8, 3, 32, 32)
    x = torch.randn(shape, generator=stream, dtype=torch.float64)
    return x, torch.randint(0, 3, (8,), generator=stream) if model != "dln" else x.flip(1)


def objective(model: str, decay: float = 0.0) -> Objective:
    return Objective(MODELS[model].loss, decay)


def cases(model: str, norm: str, numbers: list[int]) -> list[Case]:
    made, (x, targets) = network(model, norm), batch(model)
    inputs = inputs_of(made, numbers, x)
    return [
        real_case(made, objective(model, 0.01), n, inputs[n], x, targets, seed=n) for n in numbers
    ]


@pytest.mark.parametrize(
    ("model", "norm"),
    [
        *((model, norm) for model in MODELS for norm in ("none", "bn")),
        *(("dln", norm) for norm in ("noisy_bn", "l1")),
        ("vgg", "noisy_bn"),
    ],
)
def test_what_must_hold_holds_on_layers(model: str, norm: str) -> None:
    report = check_cases(norm, cases(model, norm, LAYERS[model]), units=1)
    assert report.units == 3
    assert not report.wrong
    held = [f for f in report.findings if f.form.must and f.cases]
    assert len(held) >= 14


@pytest.mark.parametrize("norm", ["none", "bn", "noisy_bn"])
@pytest.mark.parametrize("model", MODELS)
def test_a_case_is_the_network_itself(model: str, norm: str) -> None:
    """The loss and its gradient by W_i are the network's own (eps 0); X W' is its linear layer."""
    made, number, (x, targets) = network(model, norm, eps=0.0), LAYERS[model][1], batch(model)
    weight = made.weight_name(number)
    with frozen_statistics(made.parts):
        own = objective(model).by_autograd(made, x, targets, wrt=[weight])
    reaching = inputs_of(made, [number], x)[number]
    point = Point(real_case(made, objective(model), number, reaching, x, targets))
    assert float(point.by_weight.value) == pytest.approx(float(own.loss), rel=1e-10)
    bias = getattr(made.affine(number), "bias", None)
    y = point.x @ point.case.weight.flatten(1).T + (0.0 if bias is None else bias.detach())
    torch.testing.assert_close(y, rows_of(point.y).T)
    if bn_of(made, number) is not None:
        torch.testing.assert_close(
            point.by_weight.gradient[0], own.grads[weight], rtol=1e-9, atol=1e-12
        )
    else:  # a BN layer was put there: the same activations
        torch.testing.assert_close(point.z, point.y, rtol=1e-10, atol=1e-10)


def test_cases_leave_statistics_gradients_and_hooks_be() -> None:
    made, (x, targets) = network("vgg", "bn"), batch("vgg")
    before = {name: value.clone() for name, value in made.state_dict().items()}
    case = real_case(made, objective("vgg"), 4, inputs_of(made, [4], x)[4], x, targets)
    check_cases("once", [case], units=1)
    assert all(torch.equal(before[name], value) for name, value in made.state_dict().items())
    assert all(parameter.grad is None for parameter in made.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in made.modules())


def test_the_lemma_starts_at_the_layers_own_initialisation() -> None:
    case = cases("dln", "bn", [2])[0]
    report = check_cases("start", [replace(case, start=torch.randn_like(case.weight))])
    (gain,) = [f for f in report.findings if f.name == "gain"]
    assert gain.cases == report.units
    assert gain.violation < 1e-12


def test_a_dead_network_has_nothing_against_the_theorems() -> None:
    """All biases far below 0: behind the first layer every unit is constant, and g is 0."""
    made, (x, targets) = network("vgg", "none"), batch("vgg")
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name.endswith("bias"):
                parameter.fill_(-1e3)
    inputs = inputs_of(made, [1, 4], x)
    dead = [real_case(made, objective("vgg"), n, inputs[n], x, targets) for n in (1, 4)]
    report = check_cases("dead", dead)
    assert (report.units, report.skipped) == (made.units(1), made.units(4))
    assert not report.wrong
