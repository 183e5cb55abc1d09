"""The theorems on random cases: what must hold holds, what does not is found out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.func import grad, hessian

from bnexp.norms import BatchNorm, StatisticsOptions
from bnexp.theory import (
    THEOREMS,
    TOLERANCE,
    Case,
    Form,
    Point,
    Report,
    Sides,
    Theorem,
    Unit,
    check_cases,
    counterexample,
    growth,
    random_case,
    random_cases,
)
from bnexp.theory.check import Finding
from bnexp.theory.setting import normalise
from bnexp.theory.theorems import terms_4_1

NUMBERS = range(0, 48, 5)


@pytest.fixture(scope="module")
def report() -> Report:
    return check_cases("random", random_cases(48, 3))


def finding(report: Report, theorem: str, name: str) -> Finding:
    (found,) = [f for f in report.findings if (f.theorem, f.name) == (theorem, name)]
    return found


def units(count: int = 48) -> list[Unit]:
    points = [Point(case) for case in random_cases(count, 3)]
    return [Unit(point, j) for point in points for j in point.units]


def test_all_theorems_of_the_paper_are_there() -> None:
    assert list(THEOREMS) == ["4.1", "4.2", "4.3", "4.4", "C.1", "4.5"]
    assert {name for t in THEOREMS.values() for name in t.forms} >= {"printed", "corrected"}


def test_what_must_hold_holds_on_random_cases(report: Report) -> None:
    assert not report.wrong
    for found in report.findings:
        if found.form.must:
            assert found.cases > 10, found.name
            assert found.verdict == "holds", found.name
            assert found.violation < 1e-11, found.name


def test_4_4_as_printed_fails_where_it_holds_as_corrected(report: Report) -> None:
    printed, corrected = finding(report, "4.4", "printed"), finding(report, "4.4", "corrected")
    assert printed.cases == corrected.cases == report.units
    assert printed.against > printed.cases / 2
    assert printed.violation > 0.1
    assert printed.verdict == "does not hold"
    assert corrected.against == 0
    assert corrected.violation < 1e-11


def test_4_4_as_printed_fails_where_its_algebra_says_so() -> None:
    # lambda^2 ||v||^2 sigma^2/gamma^2 > g_j^2 - m mu^2 - lambda^2 q is
    # m mu^2 (1 - lambda^2) + lambda^2 q (1 - 1/m) > 0 with q = <g, y^>^2
    for unit in units():
        lam = 10 ** float(2 * torch.rand((), generator=unit.stream("4.4")) - 1)
        mean, q = unit.m * float(unit.g.mean()) ** 2, float(unit.g @ unit.yhat) ** 2
        expected = mean * (1 - lam**2) + lam**2 * q * (1 - 1 / unit.m)
        sides = THEOREMS["4.4"].sides(unit)["printed"]
        excess = (sides.left - sides.right) / unit.gain**2
        assert excess == pytest.approx(expected, rel=1e-7, abs=1e-9 * sides.scale / unit.gain**2)


def test_4_4_the_maximum_depends_on_holding_yhat_and_sigma_fixed(report: Report) -> None:
    assert finding(report, "4.4", "moving").against > 0


def test_4_3_minima_are_kept_with_a_bias_and_not_without(report: Report) -> None:
    kept = finding(report, "4.3", "minima")
    lost = finding(report, "4.3", "minima_without_bias")
    assert kept.against == 0
    assert lost.against == lost.cases > 10


def test_4_2_lowers_the_curvature_only_sometimes(report: Report) -> None:
    for name in ("keeps", "aligned", "convex"):
        found = finding(report, "4.2", name)
        assert 0 < found.against < found.cases


MUTATIONS = {
    "1/m of <1,g>^2 left out": lambda u, t: t["g"] + u.m * t["mean"] + t["yhat"],
    "1/m of <g,y^>^2 left out": lambda u, t: t["g"] + t["mean"] + u.m * t["yhat"],
    "<1,g> left out": lambda u, t: t["g"] + t["yhat"],
    "<g,y^> left out": lambda u, t: t["g"] + t["mean"],
    "a sign": lambda u, t: t["g"] - t["mean"] + t["yhat"],
    "unbiased variance": lambda u, t: sum(t.values()) * (u.m - 1) / u.m,
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_wrong_right_side_of_4_1_is_found_out(name: str) -> None:
    form = THEOREMS["4.1"].forms["equality"]
    found = Finding("4.1", name, form)
    for unit in units(12):
        true = THEOREMS["4.1"].sides(unit)["equality"]
        right = unit.gain**2 * MUTATIONS[name](unit, terms_4_1(unit))
        found.add(replace(true, right=right))
    assert found.wrong
    assert found.violation > 1e-4


@pytest.mark.parametrize(
    ("theorem", "name"),
    [("4.2", "equality"), ("4.4", "corrected"), ("C.1", "weights"), ("4.5", "gain")],
)
@pytest.mark.parametrize("change", [1.001, 0.999])
def test_a_right_side_that_is_slightly_off_is_found_out(
    theorem: str, name: str, change: float
) -> None:
    form = THEOREMS[theorem].forms[name]
    found = Finding(theorem, name, form)
    for unit in units(12):
        sides = THEOREMS[theorem].sides(unit)[name]
        found.add(replace(sides, right=change * sides.right))
    assert found.wrong


def plain_case(number: int) -> tuple[Unit, Tensor, Tensor]:
    """A unit, its y, and the layer's other outputs."""
    point = Point(random_case(5, number))
    j = point.units[-1]
    return Unit(point, j), point.y[:, j], point.y


@pytest.mark.parametrize("number", NUMBERS)
def test_vectors_and_hessians_are_those_of_other_derivatives(number: int) -> None:
    """g, v, H_jj and H^_jj against torch.func's gradients and Hessians of BN written out."""
    unit, y, whole = plain_case(number)
    point, case = unit.point, unit.point.case

    def with_unit(layer: Tensor, value: Tensor) -> Tensor:
        columns = [value if j == unit.j else layer[:, j] for j in range(layer.shape[1])]
        return torch.stack(columns, 1)

    def after_bn(value: Tensor) -> Tensor:
        y = with_unit(whole, value)
        mean, var = y.mean(0), y.var(0, correction=0)
        return case.rest((y - mean) / var.sqrt() * point.gamma + point.beta)

    def plain(value: Tensor) -> Tensor:
        return case.rest(with_unit(point.z, value))

    close = {"rtol": 1e-8, "atol": 1e-9}
    torch.testing.assert_close(unit.v, grad(after_bn)(y), **close)
    torch.testing.assert_close(unit.g, grad(plain)(point.z[:, unit.j]), **close)
    if unit.m > 32:
        return
    direction = torch.randn(unit.m, dtype=torch.float64)
    full = hessian(plain)(point.z[:, unit.j])
    torch.testing.assert_close(unit.hessian(direction), full @ direction, **close)
    h = 1e-5
    ahead, behind = (grad(after_bn)(y + s * h * direction / direction.norm()) for s in (1, -1))
    slope = (ahead - behind) / (2 * h) * direction.norm()
    bent = unit.hessian_after_bn(direction)
    torch.testing.assert_close(bent, slope, rtol=1e-4, atol=1e-4 * float(bent.abs().max()))


def test_the_setting_normalises_as_the_networks_layers_do() -> None:
    y = torch.randn(6, 3, 4, 4, dtype=torch.float64) * 3 + 1
    gamma, beta = torch.randn(2, 3, dtype=torch.float64)
    for eps in (0.0, 1e-5):
        norm = BatchNorm(3, StatisticsOptions(eps, 0.1)).double()
        norm.load_state_dict({**norm.state_dict(), "weight": gamma, "bias": beta})
        ours = normalise(y, gamma, beta, eps)
        torch.testing.assert_close(ours, norm(y).detach(), rtol=1e-12, atol=1e-12)


def test_constant_units_are_passed_over_and_spoil_nothing() -> None:
    case = random_case(0, 5)
    assert len(case.weight) > 1
    dead = replace(case, weight=case.weight.clone().index_fill_(0, torch.tensor([0]), 0.0))
    report = check_cases("dead", [dead])
    assert (report.units, report.skipped) == (len(case.weight) - 1, 1)
    assert not report.wrong


def test_a_case_is_a_function_of_seed_and_number() -> None:
    one, again, other = random_case(1, 7), random_case(1, 7), random_case(2, 7)
    assert torch.equal(one.weight, again.weight)
    assert not torch.equal(one.weight, other.weight)
    first, second = (check_cases("x", [c]) for c in (one, again))
    assert [f.plain() for f in first.findings] == [f.plain() for f in second.findings]


def test_random_cases_cover_both_signs_of_gamma_and_of_curvature() -> None:
    all_units = units()
    assert {unit.gamma > 0 for unit in all_units} == {True, False}
    assert {unit.curvature_left > 0 for unit in all_units} == {True, False}
    assert {unit.m for unit in all_units} == {3, 8, 32, 128}


def test_findings_count_violations_and_gaps() -> None:
    bound = Finding("x", "x", Form("as printed", "a", "<=", "b", True))
    assert bound.verdict == "no case"
    for left, right in ((1.0, 1.5), (1.0, 1.0), (1.2, 1.0)):
        bound.add(Sides(left, right, 2.0))
    bound.add(Sides(5.0, 0.0, 1.0, applies=False))
    assert (bound.cases, bound.against) == (3, 1)
    assert bound.violation == pytest.approx(0.1)
    assert bound.gap == pytest.approx(0.25)
    equal = Finding("x", "x", Form("ours", "a", "=", "b", False))
    equal.add(Sides(1.0, 1.0 + TOLERANCE / 2, 1.0))
    assert equal.verdict == "holds"
    equal.add(Sides(1.0, 1.5, 1.0))
    assert equal.verdict == "does not hold"
    assert not equal.wrong
    equal.add(Sides(float("nan"), 1.0, 1.0))
    assert equal.against == 2


def test_a_theorem_is_a_function_of_a_unit() -> None:
    for theorem in THEOREMS.values():
        assert isinstance(theorem, Theorem)
        assert (theorem.sides.__doc__ or "").strip()
        for unit in units(4):
            assert set(theorem.sides(unit)) <= set(theorem.forms)


def test_closed_form_of_a_quadratic_loss() -> None:
    """L = c ||z||^2 / 2 of one unit: H = c I, so both sides of 4.1 and 4.2 are known by hand."""
    x = torch.tensor([[1.0], [2.0], [6.0]], dtype=torch.float64)
    gamma, beta, c = 2.0, 0.5, 3.0
    case = Case(
        affine=lambda w: x @ w.T,
        weight=torch.ones(1, 1, dtype=torch.float64),
        rest=lambda z: c * z.square().sum() / 2,
        gamma=torch.tensor([gamma], dtype=torch.float64),
        beta=torch.tensor([beta], dtype=torch.float64),
        inputs=lambda: x,
    )
    unit = Unit(Point(case), 0)
    # g = c z = c (gamma y^ + beta): its part along 1 and y^ is all of it, so nothing is left
    assert float(unit.g.sum()) == pytest.approx(3 * c * beta)
    assert float(unit.g @ unit.yhat) == pytest.approx(3 * c * gamma)
    assert float(unit.v.norm()) == pytest.approx(0.0, abs=1e-12)
    u = torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64)
    # BN's loss is constant in y for such an L, so H^ = 0 along any direction
    assert float(u @ unit.hessian_after_bn(u)) == pytest.approx(0.0, abs=1e-12)
    torch.testing.assert_close(unit.hessian(u), c * u)


def test_an_optimum_of_the_plain_network_is_none_of_the_bn_network(report: Report) -> None:
    """Dannemann and Junike's kind of case; on random ones with two inputs or more likewise."""
    example = counterexample()
    assert example.optimum == pytest.approx((2 / 3, -1 / 3))
    assert example.plain_gradient < 1e-14
    assert example.refutes
    # by hand: y = (2, -1, 1)/3, so y^ is (4, -5, 1)/sqrt(14); t less its mean is (2, -1, -1)/3
    assert example.loss == pytest.approx((2 / 3 - 12**2 / 9 / 42) / 2)
    assert example.least < 1e-24
    premise = finding(report, "4.5", "optimum")
    several = [u for u in units() if len(u.w) > 1 and u.m >= len(u.w) + 2]
    assert 0 < premise.against == len(several) < premise.cases
    assert not premise.wrong


@pytest.mark.parametrize("batch", [8, 32])
def test_without_a_non_linearity_the_gradient_grows_as_yang_et_al_say(batch: int) -> None:
    grown = growth("linear", 10, 128, batch, networks=8)
    assert grown.predicted == (batch - 2) / (batch - 3)
    assert abs(grown.measured - grown.predicted) < 4 * grown.error
    assert grown.error < 0.05


def test_with_relu_the_growth_falls_to_the_limit_of_large_batches() -> None:
    small, large = (growth("relu", 10, 128, batch, networks=8) for batch in (8, 256))
    assert large.predicted == pytest.approx(1.467, abs=1e-3)
    assert small.measured > 1.6
    assert large.measured == pytest.approx(large.predicted, rel=0.03)


def test_the_gradient_does_not_explode_without_bn() -> None:
    """What is measured is BN's: the same network without it (He's init) keeps the gradient."""
    stream = torch.Generator().manual_seed(0)
    x = torch.randn(64, 256, generator=stream, dtype=torch.float64).requires_grad_()
    z = x
    for _ in range(6):
        weight = torch.randn(256, 256, generator=stream, dtype=torch.float64) * (2 / 256) ** 0.5
        z = (z @ weight).relu()
    away = torch.randn(64, 256, generator=stream, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((z * away).sum(), x)
    assert float(gradient.square().sum() / away.square().sum()) ** (1 / 6) == pytest.approx(
        1, abs=0.1
    )
