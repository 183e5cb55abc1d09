"""The largest eigenvalue of the Hessian: its eigensolver, warm starts and what is not finite."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor

from bnexp.objective import Objective
from bnexp.probes.sharpness import BASIS, Eigenpair, largest_eigenvalue
from tests import reference
from tests.helpers import (
    Draws,
    measured,
    network,
    probe,
    theta_of,
    trainer,
    twin,
)
from tests.probes.second_order import CUSP, FLAT, bare, row, tiny
from tests.probes.test_curvature import EXACT


def test_of_a_residual_network_it_is_the_references_by_arpack() -> None:
    model, batch = network("resnet", "bn"), Draws("resnet").at(0)
    net, theta = twin(model, "resnet", "bn", batch.inputs, 0), theta_of(model)
    loss = reference.objective(net, "cross_entropy", *batch, 0.1)
    size = len(reference.flat(theta))
    matrix = LinearOperator(
        (size, size), dtype=float, matvec=lambda v: reference.hvp(loss, theta, torch.tensor(v))
    )
    (largest,) = eigsh(matrix, 1, which="LA", tol=1e-5, return_eigenvectors=False)
    objective = Objective("cross_entropy", 0.1)
    found = row("sharpness", model, Draws("resnet"), objective, tolerance=1e-5, max_iterations=200)
    assert found["converged"]
    assert found["sharpness"] == pytest.approx(largest, rel=1e-4)


def test_a_hessian_that_is_not_finite_gives_nan_and_does_not_stop_the_run() -> None:
    model, batches = bare(0.0)
    made = trainer(model, batches, probe("sharpness", **EXACT), objective=CUSP, lr=0.1)
    found = measured(made, 2)["sharpness"]
    assert math.isnan(found["sharpness"][0])
    assert math.isnan(found["sharpness_scaled"][0])
    assert math.isnan(found["residual"][0])
    assert found["converged"] == [False, True], "the weights have moved off 0"
    assert found["sharpness"][1] > 0


def test_a_flat_loss_has_sharpness_0() -> None:
    found = row("sharpness", *bare(0.0), FLAT)
    assert (found["sharpness"], found["residual"], found["converged"]) == (0.0, 0.0, True)


def test_too_few_iterations_are_said_not_to_have_converged() -> None:
    found = row("sharpness", *tiny("vgg", "bn"), Objective("cross_entropy"), max_iterations=3)
    assert (found["iterations"], found["converged"]) == (3, False)
    assert found["residual"] > 1e-3


def test_a_measurement_depends_on_the_ones_before_by_the_state_alone() -> None:
    objective, options = Objective("half_sum_squares"), probe("sharpness", max_iterations=3)
    model, batches = tiny("dln", "bn")
    made = trainer(model, batches, options, objective=objective, lr=1e-3)
    assert made.probes[0].state() == {}
    measured(made, 2)
    state = {name: value.clone() for name, value in made.probes[0].state().items()}
    other = trainer(model, batches, options, objective=objective, lr=1e-3, steps=2)
    made.steps = 2  # so that the last step makes no update: measured again and again
    expected = measured(made, 1, first=2)
    other.probes[0].load_state(state)
    assert measured(other, 1, first=2) == expected
    other.probes[0].load_state({})
    assert measured(other, 1, first=2) != expected
    other.probes[0].load_state(state)
    assert measured(other, 1, first=2) == expected


# The eigensolver


def symmetric(values: Tensor, seed: int = 0) -> Tensor:
    """A dense symmetric matrix with these eigenvalues."""
    stream = torch.Generator().manual_seed(seed)
    random = torch.randn(len(values), len(values), generator=stream, dtype=values.dtype)
    turn, _ = torch.linalg.qr(random)
    return turn @ torch.diag(values) @ turn.T


def solve(
    matrix: Tensor, start: Tensor | None = None, tolerance: float = 1e-10, at_most: int = 1000
) -> Eigenpair:
    if start is None:
        stream = torch.Generator().manual_seed(7)
        start = torch.randn(len(matrix), generator=stream, dtype=matrix.dtype)
    return largest_eigenvalue(
        lambda v: matrix @ v, start, tolerance=tolerance, at_least=1, at_most=at_most
    )


SPECTRA: dict[str, Callable[[int], Tensor]] = {
    "even": lambda n: torch.linspace(0, 1, n),
    "crowded at the top": lambda n: 1 - torch.linspace(0, 1, n) ** 2,
    "the largest in size is negative": lambda n: torch.linspace(-50, 1, n),
    "all negative": lambda n: torch.linspace(-3, -1, n),
    "over many orders": lambda n: torch.logspace(-8, 6, n),
    "repeated": lambda n: torch.ones(n) * (torch.arange(n) % 3),
}


@pytest.mark.parametrize("size", [1, 2, 5, BASIS, BASIS + 1, 200])
@pytest.mark.parametrize("name", SPECTRA)
def test_finds_the_largest_of_any_spectrum(size: int, name: str) -> None:
    """Also where it takes several times the room of the basis."""
    values = SPECTRA[name](size).double()
    matrix = symmetric(values)
    found = solve(matrix)
    assert found.converged
    assert found.value == pytest.approx(float(values.max()), rel=1e-8, abs=1e-12)
    error = matrix @ found.vector - found.value * found.vector
    assert float(found.vector.norm()) == pytest.approx(1)
    assert float(error.norm()) <= 1e-9 * float(values.abs().max())


def test_the_residual_is_what_it_says_and_bounds_the_error() -> None:
    matrix = symmetric(torch.linspace(0, 1, 100).double() ** 3)
    for at_most in (3, 10, 23, 24, 25, 32):
        found = solve(matrix, at_most=at_most)
        error = float((matrix @ found.vector - found.value * found.vector).norm())
        assert found.products == at_most
        assert not found.converged
        assert found.residual == pytest.approx(error / found.value, rel=1e-6)
        nearest = (torch.linalg.eigvalsh(matrix) - found.value).abs().min()
        assert float(nearest) <= error * (1 + 1e-6)


def test_in_single_precision_it_comes_close_to_rounding() -> None:
    values = torch.linspace(-2, 5, 300).double()
    found = solve(symmetric(values).float(), tolerance=1e-5)
    assert found.converged
    assert found.value == pytest.approx(5, rel=1e-5)


def test_a_warm_start_finds_an_eigenvalue_that_has_overtaken_the_old_one() -> None:
    """The old eigenvector still is one exactly; what is new came in with the random part."""
    values = torch.cat([torch.linspace(0, 1, 98), torch.tensor([2.0, 2.5])]).double()
    matrix = symmetric(values)
    _, vectors = torch.linalg.eigh(matrix)
    new = torch.randn(100, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    start = vectors[:, -2] + 0.1 * new / new.norm()
    assert solve(matrix, start).value == pytest.approx(2.5, rel=1e-9)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_product_that_is_not_finite_ends_it(bad: float) -> None:
    matrix = torch.eye(5, dtype=torch.float64)
    matrix[0, 0] = bad
    found = solve(matrix)
    assert math.isnan(found.value)
    assert math.isnan(found.residual)
    assert (found.products, found.converged) == (1, False)
