"""The data of the deep linear network (Appendix A.1): Gaussian inputs, a Gaussian linear map."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from bnexp.data import options
from bnexp.data.splits import Dataset, Split
from bnexp.seeds import generator


def draw(samples: int, d: int, A_std: float, seed: int) -> tuple[Tensor, Tensor]:
    """X ~ N(0, 1) of shape (samples, d) and A ~ N(0, A_std^2) of shape (d, d), both float64."""
    source = generator(seed, "data")
    X = torch.randn(samples, d, dtype=torch.float64, generator=source)
    A = A_std * torch.randn(d, d, dtype=torch.float64, generator=source)
    return X, A


def load(cfg: Mapping[str, Any], seed: int) -> Dataset:
    """Inputs x and targets A x, one sample per row: inputs X, targets X A'. No test split.

    Reads ``samples``, ``d``, ``A_std``, ``label``. A new seed is a new X and a new A.
    """
    X, A = draw(*_sizes(cfg), seed)
    return Dataset(options.label(cfg, "Gaussian"), Split(X, X @ A.T), None, None, None, None)


def fingerprint(cfg: Mapping[str, Any]) -> str:
    """The distribution drawn from; the seed is told by the run."""
    samples, d, A_std = _sizes(cfg)
    return f"gaussian-1 samples={samples} d={d} A_std={A_std!r}"


def _sizes(cfg: Mapping[str, Any]) -> tuple[int, int, float]:
    return (
        options.positive_int(cfg, "samples"),
        options.positive_int(cfg, "d"),
        options.positive_float(cfg, "A_std"),
    )
