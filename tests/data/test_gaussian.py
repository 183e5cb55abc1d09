from __future__ import annotations

import math

import pytest
import torch

from bnexp.data import Batches, fingerprint, load_dataset
from bnexp.data.gaussian import draw
from bnexp.errors import UserError

CFG = {"name": "gaussian", "samples": 1000, "d": 10, "A_std": 1.0}


@pytest.mark.parametrize("seed", [0, 1])
def test_targets_are_a_x(seed: int) -> None:
    data = load_dataset(CFG, seed)
    X, A = draw(1000, 10, 1.0, seed)
    assert torch.equal(data.train.inputs, X)
    for x, y in zip(X[:20], data.train.targets[:20], strict=True):
        torch.testing.assert_close(y, A @ x, rtol=1e-12, atol=1e-12)
    # And A can be told from the data alone: least squares leaves nothing.
    fitted = torch.linalg.lstsq(X, data.train.targets).solution.T
    torch.testing.assert_close(fitted, A, rtol=1e-10, atol=1e-10)
    assert data.test is None
    assert data.classes is None


def test_moments_of_the_draw() -> None:
    X, A = draw(4000, 50, 0.5, 3)
    n, m = X.numel(), A.numel()
    assert abs(X.mean()) < 5 / math.sqrt(n)
    assert abs(X.var() - 1) < 5 * math.sqrt(2 / n)
    assert abs(A.mean()) < 5 * 0.5 / math.sqrt(m)
    assert abs(A.var() / 0.25 - 1) < 5 * math.sqrt(2 / m)


def test_a_std_scales_the_targets_only() -> None:
    one, third = (load_dataset(CFG | {"A_std": std}, 5) for std in (1.0, 1 / 3))
    assert torch.equal(one.train.inputs, third.train.inputs)
    torch.testing.assert_close(one.train.targets, 3 * third.train.targets, rtol=1e-12, atol=1e-12)


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
    others = [CFG | change for change in ({"samples": 999}, {"d": 11}, {"A_std": 0.9})]
    assert len({fingerprint(cfg) for cfg in [CFG, *others]}) == 4
    assert fingerprint(CFG) == fingerprint(dict(CFG, label="something"))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[("samples", 0), ("samples", 1.5), ("d", None), ("d", True), ("A_std", 0)],
        *[("A_std", math.inf), ("A_std", math.nan), ("A_std", "1")],
    ],
)
def test_bad_options_are_named(key: str, value: object) -> None:
    with pytest.raises(UserError, match=rf"data\.{key}: got"):
        load_dataset(CFG | {key: value}, 0)
