"""The data of the deep linear network (Appendix A.1): Gaussian inputs, a random linear map."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bnexp.data.splits import DataOptions, Dataset, Split
from bnexp.registry import DATASETS, at_least, expect, one_of, positive
from bnexp.seeds import generator


@dataclass(frozen=True)
class GaussianOptions(DataOptions):
    """``A``: entries of the d x d map, uniform on [A_low, A_high) or normal, N(0, A_std^2)."""

    samples: int
    d: int
    A: str
    A_low: float
    A_high: float
    A_std: float

    def check(self, key: str) -> None:
        super().check(key)
        at_least(f"{key}.samples", self.samples, 1)
        at_least(f"{key}.d", self.d, 1)
        one_of(f"{key}.A", self.A, ("uniform", "normal"))
        ok = -float("inf") < self.A_low < self.A_high < float("inf")
        expect(ok, f"{key}.A_high", f"finite and above A_low, {self.A_low:g}", self.A_high)
        positive(f"{key}.A_std", self.A_std)
        expect(not self.augment, f"{key}.augment", "false with data=gaussian", self.augment)


def fingerprint(options: GaussianOptions) -> str:
    """The distribution drawn from; the seed is part of the run's config."""
    law = f"A_low={options.A_low!r} A_high={options.A_high!r}"
    law = law if options.A == "uniform" else f"A_std={options.A_std!r}"
    return f"gaussian-1 samples={options.samples} d={options.d} {law}"


@DATASETS.register("gaussian", GaussianOptions, task="regression", fingerprint=fingerprint)
def gaussian(options: GaussianOptions, seed: int) -> Dataset:
    """Inputs x and targets A x, one sample per row: X and X A'. A new seed is a new X and A."""
    X, A = draw(options, seed)
    return Dataset(options.label or "Gaussian", Split(X, X @ A.T))


def draw(options: GaussianOptions, seed: int) -> tuple[Tensor, Tensor]:
    """X ~ N(0, 1) of shape (samples, d), then A of shape (d, d), both float64."""
    source, d = generator(seed, "data"), options.d
    X = torch.randn(options.samples, d, dtype=torch.float64, generator=source)
    if options.A == "normal":
        return X, options.A_std * torch.randn(d, d, dtype=torch.float64, generator=source)
    A = torch.rand(d, d, dtype=torch.float64, generator=source)
    return X, options.A_low + (options.A_high - options.A_low) * A
