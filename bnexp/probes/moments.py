"""Mean and variance of every unit's pre-activation: the distributional shift (Fig 8)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from bnexp.probes.base import LayerSchedule, Probe, Rows, Schedule, Setting, Step
from bnexp.probes.units import units_of
from bnexp.registry import PROBES, expect

PARTS = 2


@dataclass(frozen=True)
class MomentsOptions(LayerSchedule):
    """``units``: all, or how many of each layer; ``successive``: also at the step after each."""

    units: Any
    successive: bool

    def check(self, key: str) -> None:
        super().check(key)
        ok = self.units == "all" or (type(self.units) is int and self.units >= 1)
        expect(ok, f"{key}.units", "all or a positive number", self.units)


@PROBES.register("moments", MomentsOptions)
class Moments(Probe):
    """Table ``moments``: of pre-activations, after norm and noise, before the non-linearity.

    The unit of table ``activations`` is always among them when it is drawn from the seed.
    """

    tables = {
        "moments": {
            "step": "training step t",
            "layer": "layer, from 1",
            "unit": "unit of the layer, from 0",
            "mean": "mean of its pre-activation over the training batch and the positions",
            "var": "biased variance of the same",
        }
    }

    options: MomentsOptions
    passive = True

    def __init__(self, options: Schedule, setting: Setting) -> None:
        super().__init__(options, setting)
        count = None if self.options.units == "all" else int(self.options.units)
        self.units = {
            number: sorted(units_of(setting.model, number, setting.seed, count))
            for number in self.captures()
        }
        self._layers = [number for number, chosen in self.units.items() for _ in chosen]
        self._units = [unit for chosen in self.units.values() for unit in chosen]
        self._chosen = None if count is None else self._places()

    def _places(self) -> list[int]:
        """Where the units are among those of all layers measured."""
        places, before = [], 0
        for number, chosen in self.units.items():
            places += [before + unit for unit in chosen]
            before += self.setting.model.units(number)
        return places

    def captures(self) -> list[int]:
        return self.options.numbers(self.setting.model)

    def due(self, step: int) -> bool:
        return super().due(step) or (self.options.successive and step > 0 and super().due(step - 1))

    def before_update(self, step: Step) -> Rows:
        moments = moments_of(step.activations[number] for number in self.units)
        if self._chosen is not None:
            moments = moments[:, self._chosen]
        mean, var = moments.double().tolist()
        return {
            "moments": {
                "step": [step.number] * len(self._units),
                "layer": self._layers,
                "unit": self._units,
                "mean": mean,
                "var": var,
            }
        }


def moments_of(activations: Iterable[Tensor]) -> Tensor:
    """Mean and biased variance of all units of all layers, ``(2, units)``.

    Layers without positions, ``(batch, units)``, are small: they are laid side by side.
    """
    moments = []
    for flat, group in groupby(activations, lambda values: values.dim() == 2):
        several = list(group)
        if flat:
            by_unit = several[0].stride(0) == 1  # as they lie in memory, or it takes long
            several = [torch.cat([v.T for v in several]).T if by_unit else torch.cat(several, 1)]
        moments += [torch.stack(mean_and_variance(values)) for values in several]
    return torch.cat(moments, 1)


def mean_and_variance(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of each unit, ``(units,)`` each, over all dimensions but the second.

    As columns of a matrix, which is many times faster than ``torch.var_mean`` over the dimensions
    of a channels_last tensor; the mean is subtracted first, so nothing cancels.
    """
    columns = values.movedim(1, -1).reshape(-1, values.shape[1])
    mean = _mean(columns)
    return mean, _mean((columns - mean).square_())


def _mean(columns: Tensor) -> Tensor:
    """The mean of each column. By parts, as no other way are several threads at work on few."""
    rows, count = columns.shape
    if rows % PARTS:
        return columns.mean(0)
    return columns.view(PARTS, -1, count).mean(1).mean(0)
