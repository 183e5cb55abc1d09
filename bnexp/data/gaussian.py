"""The data of the deep linear network (Appendix A.1): Gaussian inputs, a random linear map."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bnexp.data.options import DataOptions
from bnexp.data.splits import Dataset, Split
from bnexp.registry import DATASETS, at_least, expect, one_of, positive
from bnexp.seeds import generator


@dataclass(frozen=True)
class GaussianOptions(DataOptions):
    """``samples`` inputs of ``d`` entries; ``A`` is the law of the entries of the d x d map A.

    ``uniform``: on [A_low, A_high). ``normal``: N(0, A_std^2).
    """

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
        expect(abs(self.A_low) < float("inf"), f"{key}.A_low", "a finite number", self.A_low)
        expect(
            self.A_low < self.A_high < float("inf"),
            f"{key}.A_high",
            f"a finite number above A_low, {self.A_low:g},",
            self.A_high,
        )
        positive(f"{key}.A_std", self.A_std)
        expect(not self.augment, f"{key}.augment", "false with data=gaussian", self.augment)


@DATASETS.register("gaussian", GaussianOptions, task="regression")
class Gaussian:
    """Inputs x and targets A x, one sample per row: inputs X, targets X A'. No test split.

    A new seed is a new X and a new A.
    """

    @staticmethod
    def load(options: GaussianOptions, seed: int) -> Dataset:
        """The draw of ``seed``."""
        X, A = draw(options, seed)
        return Dataset(options.label or "Gaussian", Split(X, X @ A.T), None, None, None, None)

    @staticmethod
    def fingerprint(options: GaussianOptions) -> str:
        """The distribution drawn from; the seed is part of the run's config."""
        if options.A == "normal":
            law = f"A_std={options.A_std!r}"
        else:
            law = f"A_low={options.A_low!r} A_high={options.A_high!r}"
        return f"gaussian-1 samples={options.samples} d={options.d} {law}"


def draw(options: GaussianOptions, seed: int) -> tuple[Tensor, Tensor]:
    """X ~ N(0, 1) of shape (samples, d), then A of shape (d, d), both float64."""
    source = generator(seed, "data")
    X = torch.randn(options.samples, options.d, dtype=torch.float64, generator=source)
    if options.A == "normal":
        shape = (options.d, options.d)
        return X, options.A_std * torch.randn(shape, dtype=torch.float64, generator=source)
    A = torch.rand(options.d, options.d, dtype=torch.float64, generator=source)
    return X, options.A_low + (options.A_high - options.A_low) * A
