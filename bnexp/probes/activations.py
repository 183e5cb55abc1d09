"""Pre-activations, after norm and noise, before the non-linearity: the distribution of one fixed
unit per layer (Figs 1c, 2, 6, 9), and mean and variance of every unit (Fig 8)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bnexp.errors import UserError
from bnexp.models import Network
from bnexp.probes.base import LayerProbe, LayerSchedule, Rows, Setting, Step
from bnexp.registry import PROBES, at_least, expect
from bnexp.seeds import generator


@dataclass(frozen=True)
class ActivationsOptions(LayerSchedule):
    """``unit`` (0-based) of every layer, null for one drawn from the seed; ``samples`` recorded."""

    unit: int | None
    samples: int

    def check(self, key: str) -> None:
        super().check(key)
        at_least(f"{key}.samples", self.samples, 1)
        if self.unit is not None:
            at_least(f"{key}.unit", self.unit, 0)


@PROBES.register("activations", ActivationsOptions)
class Activations(LayerProbe):
    """Table ``activations``: ``samples`` at most, at the same places of the batch at every step."""

    tables = {
        "activations": {
            "step": "training step t",
            "layer": "layer, from 1",
            "unit": "unit of the layer, from 0; the same at every step",
            "values": "its pre-activations at samples of the training batch and positions",
        }
    }

    options: ActivationsOptions
    passive = True

    def __init__(self, options: ActivationsOptions, setting: Setting) -> None:
        super().__init__(options, setting)
        self.units = [self._unit(number) for number in self.numbers]
        self._places: dict[tuple[int, torch.Size], Tensor] = {}

    def _unit(self, number: int) -> int:
        if self.options.unit is None:
            return units_of(self.setting.model, number, self.setting.seed, 1)[0]
        have = self.setting.model.units(number)
        if self.options.unit >= have:
            raise UserError(
                f"probes.activations.unit: expected a unit that every layer measured has; "
                f"layer {number} has units 0 to {have - 1}; got {self.options.unit}"
            )
        return self.options.unit

    def before_update(self, step: Step) -> Rows:
        samples = []
        for number, unit in zip(self.numbers, self.units, strict=True):
            whole = step.activations[number]
            samples.append(torch.take(whole, self._where(number, unit, whole)))
        values = torch.cat(samples).double().cpu().numpy()  # fetched from the device in one go
        ends = np.cumsum([len(sample) for sample in samples])
        return self.rows(step, self.numbers, self.units, np.split(values, ends[:-1]))

    def _where(self, number: int, unit: int, values: Tensor) -> Tensor:
        """The places sampled from ``values``, ``(batch, units, ..)``, all of one unit."""
        key = number, values.shape
        if key not in self._places:
            batch, units, *rest = values.shape
            positions = math.prod(rest)
            stream = generator(self.setting.seed, "probes", "samples", number)
            sample = torch.randperm(batch * positions, generator=stream)[: self.options.samples]
            row = (sample // positions) * units + unit
            self._places[key] = (row * positions + sample % positions).to(values.device)
        return self._places[key]


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
class Moments(LayerProbe):
    """Table ``moments``; the unit of table ``activations`` is among them if drawn from the seed."""

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

    def __init__(self, options: MomentsOptions, setting: Setting) -> None:
        super().__init__(options, setting)
        count = None if options.units == "all" else int(options.units)
        self._layers: list[int] = []
        self._units: list[int] = []
        self._places: list[int] = []
        """Of each unit recorded: its layer, its number there and that among all units."""
        before = 0
        for number in self.numbers:
            units = sorted(units_of(setting.model, number, setting.seed, count))
            self._layers += [number] * len(units)
            self._units += units
            self._places += [before + unit for unit in units]
            before += setting.model.units(number)

    def due(self, step: int) -> bool:
        return super().due(step) or (self.options.successive and step > 0 and super().due(step - 1))

    def before_update(self, step: Step) -> Rows:
        moments = moments_of(step.activations[number] for number in self.numbers)
        mean, var = moments[:, self._places].double().tolist()
        return self.rows(step, self._layers, self._units, mean, var)


def moments_of(activations: Iterable[Tensor]) -> Tensor:
    """Mean and biased variance of all units of all layers, ``(2, units)``.

    Over all dimensions but the second, as columns of a matrix, which is many times faster than
    ``torch.var_mean`` over those of a channels_last tensor; the mean is subtracted first, so
    nothing cancels.
    """
    moments = []
    for values in activations:
        columns = values.movedim(1, -1).reshape(-1, values.shape[1])
        mean = columns.mean(0)
        moments.append(torch.stack([mean, (columns - mean).square_().mean(0)]))
    return torch.cat(moments, 1)


def units_of(model: Network, number: int, seed: int, count: int | None = None) -> list[int]:
    """``count`` different units of layer ``number`` in the order drawn; all of them by default.

    The first is "a random activation" of the paper: the one whose distribution is kept.
    """
    stream = generator(seed, "probes", "units", number)
    order = torch.randperm(model.units(number), generator=stream).tolist()
    return [int(unit) for unit in order[:count]]
