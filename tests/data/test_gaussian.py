from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from bnexp.data import fingerprint, load_dataset
from bnexp.data.gaussian import GaussianOptions
from bnexp.data.gaussian import draw as draw_options
from bnexp.errors import UserError
from bnexp.registry import bind
from bnexp.seeds import generator
from tests.data.conftest import defaults

CFG = defaults("gaussian", d=10)


def draw(seed: int, **changes: object) -> tuple[torch.Tensor, torch.Tensor]:
    return draw_options(bind(GaussianOptions, CFG | changes, "data"), seed)


def test_targets_are_a_x() -> None:
    data, (X, A) = load_dataset(CFG, 1), draw(1)
    assert torch.equal(data.train.inputs, X)
    for x, y in zip(X[:20], data.train.targets[:20], strict=True):
        torch.testing.assert_close(y, A @ x, rtol=1e-12, atol=1e-12)
    assert (data.test, data.classes) == (None, None)


@pytest.mark.parametrize(
    ("options", "mean", "var", "fourth"),
    [
        ({"A": "normal", "A_std": 0.5}, 0, 0.25, 3),
        ({"A": "uniform", "A_low": -1.0, "A_high": 3.0}, 1, 16 / 12, 1.8),
    ],
)
def test_moments_of_the_draw(options: Any, mean: float, var: float, fourth: float) -> None:
    X, A = draw(3, samples=4000, d=50, **options)
    assert abs(X.mean()) < 5 / math.sqrt(X.numel())
    assert abs(X.var() - 1) < 5 * math.sqrt(2 / X.numel())
    assert abs(A.mean() - mean) < 5 * math.sqrt(var / A.numel())
    assert abs(A.var() / var - 1) < 5 * math.sqrt((fourth - 1) / A.numel())
    assert abs(((A - mean) ** 4).mean() / var**2 - fourth) < 0.6


def test_x_is_drawn_before_a_and_normal_a_follows_in_the_stream() -> None:
    source = generator(5, "data")
    X, A = (torch.randn(n, 10, dtype=torch.float64, generator=source) for n in (1000, 10))
    drawn = draw(5, A="normal", A_std=0.3)
    assert torch.equal(drawn[0], X)
    assert torch.equal(drawn[1], 0.3 * A)
    assert torch.equal(draw(5)[0], X)
    assert not torch.equal(draw(6)[0], X)


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
        *[("samples", 0), ("samples", 1.5), ("d", None), ("d", 0), ("A", "cauchy")],
        *[("A_std", 0), ("A_std", math.inf), ("A_std", math.nan), ("A_std", "x")],
        *[("A_high", 0.0), ("A_high", math.nan), ("A_high", math.inf)],
        *[
            ("augment", True),
            ("label", "a\nb"),
            ("label", "a\x1b[31m"),
            ("label", "<b>"),
            ("label", "x" * 101),
        ],
    ],
)
def test_bad_options_are_named(key: str, value: object) -> None:
    with pytest.raises(UserError, match=rf"data\.{key}: expected .*got"):
        load_dataset(CFG | {key: value}, 0)
