"""The theorems on random cases and on layers: what must hold holds, what does not is counted."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.func import grad, hessian

from bnexp import theory
from bnexp.norms import frozen_statistics
from bnexp.objective import Objective
from bnexp.theory.check import Finding, finding
from bnexp.theory.setting import rows_of
from bnexp.theory.theorems import SIDES
from tests.helpers import LOSS, Draws, network


@pytest.fixture(scope="module")
def report() -> theory.Report:
    return theory.check_cases("random", [theory.random_case(3, number) for number in range(48)])


def of(report: theory.Report, theorem: str, name: str) -> Finding:
    (found,) = [f for f in report.findings if (f["theorem"], f["name"]) == (theorem, name)]
    return found


def units(count: int = 48) -> list[theory.Unit]:
    points = [theory.Point(theory.random_case(3, number)) for number in range(count)]
    return [theory.Unit(point, j) for point in points for j in point.units]


def test_what_must_hold_holds_on_random_cases(report: theory.Report) -> None:
    assert list(theory.TITLES) == list(SIDES)
    assert {(s["theorem"], s["name"]) for s in theory.STATEMENTS} == {
        (theorem, name) for theorem, sides in SIDES.items() for u in units(24) for name in sides(u)
    }
    assert not report.wrong
    for found in report.findings:
        if found["must"]:
            assert found["cases"] > 10, found
            assert found["violation"] < 1e-11, found


def test_4_4_as_printed_fails_where_its_algebra_says_so(report: theory.Report) -> None:
    """lambda^2 ||v||^2 sigma^2/gamma^2 > g_j^2 - m mu^2 - lambda^2 <g,y^>^2."""
    printed = of(report, "4.4", "printed")
    assert printed["cases"] == report.units
    assert printed["against"] > printed["cases"] / 2
    assert printed["verdict"] == "does not hold"
    for unit in units(24):
        lam = 10 ** float(2 * torch.rand((), generator=unit.stream("4.4")) - 1)
        mean, q = unit.m * float(unit.g.mean()) ** 2, unit.inner**2
        expected = mean * (1 - lam**2) + lam**2 * q * (1 - 1 / unit.m)
        left, right, scale = SIDES["4.4"](unit)["printed"]
        size = scale / unit.gain**2
        assert (left - right) / unit.gain**2 == pytest.approx(expected, rel=1e-7, abs=1e-9 * size)


def test_what_is_only_sometimes_so_is_counted(report: theory.Report) -> None:
    for name in ("keeps", "aligned", "convex"):
        found = of(report, "4.2", name)
        assert 0 < found["against"] < found["cases"]
    lost = of(report, "4.3", "minima_without_bias")
    assert lost["against"] == lost["cases"] > 10


@pytest.mark.parametrize("theorem", ["4.1", "4.2", "4.4", "C.1", "4.5"])
def test_a_right_side_that_is_slightly_off_is_detected(theorem: str) -> None:
    for s in theory.STATEMENTS:
        if s["theorem"] == theorem and s["must"] and "<=" not in s["text"]:
            every = map(SIDES[theorem], units(12))
            sides = [both[s["name"]] for both in every if s["name"] in both]
            off = [(left, 0.999 * right - 1e-3 * scale, scale) for left, right, scale in sides]
            assert finding(s, sides)["against"] == 0 < finding(s, off)["against"]


@pytest.mark.parametrize("number", range(0, 48, 10))
def test_vectors_and_hessians_are_those_of_other_derivatives(number: int) -> None:
    """g, v, H_jj and H^_jj against torch.func's gradients and Hessians of BN written out."""
    point = theory.Point(theory.random_case(5, number))
    unit, case = theory.Unit(point, point.units[-1]), point.case
    y = point.y[:, unit.j]

    def with_unit(layer: Tensor, value: Tensor) -> Tensor:
        columns = [value if j == unit.j else layer[:, j] for j in range(layer.shape[1])]
        return torch.stack(columns, 1)

    def after_bn(value: Tensor) -> Tensor:
        y = with_unit(point.y, value)
        mean, var = y.mean(0), y.var(0, correction=0)
        return case.rest((y - mean) / var.sqrt() * point.gamma + point.beta)

    def plain(value: Tensor) -> Tensor:
        return case.rest(with_unit(point.z, value))

    close = {"rtol": 1e-8, "atol": 1e-9}
    torch.testing.assert_close(unit.v, grad(after_bn)(y), **close)
    torch.testing.assert_close(unit.g, grad(plain)(point.z[:, unit.j]), **close)
    if unit.m <= 32:
        direction = torch.randn(unit.m, dtype=torch.float64)
        full = hessian(plain)(point.z[:, unit.j])
        torch.testing.assert_close(unit.hessian(direction), full @ direction, **close)
        bent = hessian(after_bn)(y) @ direction
        torch.testing.assert_close(unit.hessian(direction, after_bn=True), bent, **close)


def test_findings_count_violations_and_gaps() -> None:
    bound = finding({"text": "a <= b"}, [(1.0, 1.5, 2.0), (1.0, 1, 2), (1.2, 1, 2)])
    assert (bound["cases"], bound["against"]) == (3, 1)
    assert (bound["violation"], bound["gap"]) == pytest.approx((0.1, 0.25))
    equal = {"text": "a = b"}
    assert finding(equal, [])["verdict"] == "no case"
    assert finding(equal, [(1.0, 1.0 + 5e-10, 1.0)])["verdict"] == "holds"
    assert finding(equal, [(1.0, 1.5, 1.0), (float("nan"), 1.0, 1.0)])["against"] == 2


def test_lemma_4_5_has_a_counterexample(report: theory.Report) -> None:
    """At W*: y = (2, -1, 1)/3, so y^ is (4, -5, 1)/sqrt(14); t less its mean is (2, -1, -1)/3."""
    example = theory.counterexample()
    assert example["optimum"] == pytest.approx([2 / 3, -1 / 3])
    assert example["plain_gradient"] < 1e-14
    assert example["gradient"] > 0.1
    assert example["loss"] == pytest.approx((2 / 3 - 12**2 / 9 / 42) / 2)
    assert example["least"] < 1e-24
    premise = of(report, "4.5", "optimum")
    several = [u for u in units() if len(u.w) > 1 and u.m >= len(u.w) + 2]
    assert 0 < premise["against"] == len(several) < premise["cases"]


def test_the_gradient_grows_as_yang_et_al_say() -> None:
    grown = theory.growth("linear", 10, 128, 8, networks=8)
    assert grown["predicted"] == 6 / 5
    assert abs(grown["measured"] - grown["predicted"]) < 4 * grown["error"] < 0.2
    small, large = (theory.growth("relu", 10, 128, batch, networks=8) for batch in (8, 256))
    assert small["measured"] > 1.6
    assert large["measured"] == pytest.approx(large["predicted"], rel=0.03)
    assert large["predicted"] == pytest.approx(1.467, abs=1e-3)


# layers of real networks

LAYERS = {"vgg": [1, 5, 9], "resnet": [2, 8, 21], "dln": [1, 3, 5]}


def cases(family: str, norm: str, numbers: list[int]) -> list[theory.Case]:
    model, batch, objective = network(family, norm), Draws(family).at(0), Objective(LOSS[family])
    x, targets = batch.inputs, batch.targets
    inputs = theory.inputs_of(model, numbers, x)
    return [theory.real_case(model, objective, n, inputs[n], x, targets, seed=n) for n in numbers]


@pytest.mark.parametrize(
    ("family", "norm"),
    [*((f, n) for f in LAYERS for n in ("none", "bn")), ("dln", "l1"), ("vgg", "noisy_bn")],
)
def test_what_must_hold_holds_on_layers(family: str, norm: str) -> None:
    report = theory.check_cases(norm, cases(family, norm, LAYERS[family]), units=1)
    assert report.units == 3
    assert not report.wrong
    assert len([f for f in report.findings if f["must"] and f["cases"]]) >= 14


@pytest.mark.parametrize("norm", ["none", "bn", "noisy_bn"])
@pytest.mark.parametrize("family", LAYERS)
def test_a_case_is_the_network_itself(family: str, norm: str) -> None:
    """The loss and its gradient by W_i are the network's own (eps 0); X W' is its linear layer."""
    number = LAYERS[family][1]
    model, batch = network(family, norm, eps=0.0), Draws(family).at(0)
    objective, x, targets = Objective(LOSS[family]), batch.inputs, batch.targets
    before = {name: value.clone() for name, value in model.state_dict().items()}
    reaching, weight = theory.inputs_of(model, [number], x)[number], model.weight_name(number)
    point = theory.Point(theory.real_case(model, objective, number, reaching, x, targets))
    with frozen_statistics(model.parts):
        own = model.evaluate(objective, x, targets, wrt=[weight])
    assert float(point.by_weight.value) == pytest.approx(float(own.loss), rel=1e-10)
    bias = getattr(model.affine(number), "bias", None)
    y = point.x @ point.case.weight.flatten(1).T + (0.0 if bias is None else bias.detach())
    torch.testing.assert_close(y, rows_of(point.y).T)
    if theory.bn_of(model, number) is not None:
        gradient = point.by_weight.gradient[0]
        torch.testing.assert_close(gradient, own.grads[weight], rtol=1e-9, atol=1e-12)
    else:  # a BN layer was put there: the same activations
        torch.testing.assert_close(point.z, point.y, rtol=1e-10, atol=1e-10)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_the_lemma_starts_at_the_layers_own_initialisation() -> None:
    (case,) = cases("dln", "bn", [2])
    report = theory.check_cases("start", [replace(case, start=2 * case.weight)])
    assert of(report, "4.5", "distance")["cases"] == report.units  # <W0, W*> > 0 in every unit
    assert of(report, "4.5", "gain")["violation"] < 1e-12
