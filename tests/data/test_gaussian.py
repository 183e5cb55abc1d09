from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from bnexp.data import Batches, fingerprint, load_dataset
from bnexp.data.gaussian import GaussianOptions
from bnexp.data.gaussian import draw as draw_options
from bnexp.errors import UserError
from bnexp.registry import bind
from bnexp.seeds import generator
from tests.data.conftest import defaults

CFG = defaults("gaussian", d=10)


def draw(seed: int, **changes: object) -> tuple[torch.Tensor, torch.Tensor]:
    return draw_options(bind(GaussianOptions, CFG | changes, "data"), seed)


@pytest.mark.parametrize("law", ["uniform", "normal"])
@pytest.mark.parametrize("seed", [0, 1])
def test_targets_are_a_x(seed: int, law: str) -> None:
    data = load_dataset(CFG | {"A": law}, seed)
    X, A = draw(seed, A=law)
    assert torch.equal(data.train.inputs, X)
    for x, y in zip(X[:20], data.train.targets[:20], strict=True):
        torch.testing.assert_close(y, A @ x, rtol=1e-12, atol=1e-12)
    # And A can be told from the data alone: least squares leaves nothing.
    fitted = torch.linalg.lstsq(X, data.train.targets).solution.T
    torch.testing.assert_close(fitted, A, rtol=1e-10, atol=1e-10)
    assert data.test is None
    assert data.classes is None


@pytest.mark.parametrize(
    ("options", "mean", "var", "fourth"),
    [
        ({"A": "normal", "A_std": 0.5}, 0, 0.25, 3),
        ({"A": "uniform"}, 0.5, 1 / 12, 1.8),
        ({"A": "uniform", "A_low": -1.0, "A_high": 3.0}, 1, 16 / 12, 1.8),
    ],
)
def test_moments_of_the_draw(options: Any, mean: float, var: float, fourth: float) -> None:
    X, A = draw(3, samples=4000, d=50, **options)
    n, m = X.numel(), A.numel()
    assert abs(X.mean()) < 5 / math.sqrt(n)
    assert abs(X.var() - 1) < 5 * math.sqrt(2 / n)
    assert abs(A.mean() - mean) < 5 * math.sqrt(var / m)
    assert abs(A.var() / var - 1) < 5 * math.sqrt((fourth - 1) / m)
    assert abs(((A - mean) ** 4).mean() / var**2 - fourth) < 0.6


def test_x_is_drawn_before_a_and_normal_a_follows_in_the_stream() -> None:
    source = generator(5, "data")
    X, A = (torch.randn(n, 10, dtype=torch.float64, generator=source) for n in (1000, 10))
    drawn = draw(5, A="normal", A_std=0.3)
    assert torch.equal(drawn[0], X)
    assert torch.equal(drawn[1], 0.3 * A)
    assert torch.equal(draw(5)[0], X)


def test_each_seed_has_data_of_its_own() -> None:
    drawn = [load_dataset(CFG, seed).train.inputs for seed in (0, 1, 2)]
    assert torch.equal(drawn[0], load_dataset(CFG, 0).train.inputs)
    assert not any(torch.equal(a, b) for a, b in ((drawn[0], drawn[1]), (drawn[1], drawn[2])))


def test_full_batch_is_everything_in_order_and_unchanged() -> None:
    data = load_dataset(CFG, 0)
    batches = Batches(data, None, 0, "cpu", torch.float64)
    batch = batches.at(7)
    assert torch.equal(batch.inputs, data.train.inputs)
    assert torch.equal(batch.targets, data.train.targets)
    assert torch.equal(batch.index, torch.arange(1000))
    assert batches.at(0) is batch
    single = Batches(data, None, 0, "cpu", torch.float32).at(0)
    assert single.inputs.dtype == single.targets.dtype == torch.float32


def test_fingerprint_tells_options_apart() -> None:
    normal = CFG | {"A": "normal"}
    changes = [{"samples": 999}, {"d": 11}, {"A_low": -1.0}, {"A_high": 2.0}]
    others = [CFG | change for change in changes]
    assert len({fingerprint(cfg) for cfg in [CFG, *others, normal, normal | {"A_std": 2.0}]}) == 7
    assert fingerprint(CFG) == fingerprint(CFG | {"label": "something", "A_std": 2.0})
    assert fingerprint(normal) == "gaussian-1 samples=1000 d=10 A_std=1.0"  # in ids of old runs


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[("samples", 0), ("samples", 1.5), ("d", None), ("d", 0), ("A_std", 0)],
        *[("A_std", math.inf), ("A_std", math.nan), ("A_std", "x"), ("A", "cauchy")],
        *[("A_low", 1.0), ("A_low", -math.inf), ("A_high", 0.0), ("A_high", math.nan)],
        *[("augment", True), ("label", "a\nb"), ("label", "a\x1b[31m"), ("label", "x" * 101)],
    ],
)
def test_bad_options_are_named(key: str, value: object) -> None:
    name = "A_(low|high)" if key in ("A_low", "A_high") else key
    with pytest.raises(UserError, match=rf"data\.{name}: expected .*got"):
        load_dataset(CFG | {key: value}, 0)
