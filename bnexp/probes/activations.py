"""The distribution of one fixed unit's pre-activation per layer (Figs 1c, 2, 6, 9)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from bnexp.errors import UserError
from bnexp.probes.base import LayerSchedule, Probe, Rows, Schedule, Setting, Step
from bnexp.probes.units import units_of
from bnexp.registry import PROBES, at_least
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
class Activations(Probe):
    """Table ``activations``: a sample of one unit's pre-activations in each layer.

    At most ``samples`` of them, at the same places of the batch at every step.
    """

    tables = {
        "activations": {
            "step": "training step t",
            "layer": "layer, from 1",
            "unit": "unit of the layer, from 0; the same at every step",
            "values": "its pre-activations (after norm and noise, before the non-linearity) on "
            "samples of the training batch and positions",
        }
    }

    options: ActivationsOptions
    passive = True

    def __init__(self, options: Schedule, setting: Setting) -> None:
        super().__init__(options, setting)
        self.units = {number: self._unit(number) for number in self.captures()}
        self._places: dict[tuple[int, torch.Size], Tensor] = {}

    def _unit(self, number: int) -> int:
        """The unit of layer ``number`` that is recorded."""
        if self.options.unit is None:
            return units_of(self.setting.model, number, self.setting.seed, 1)[0]
        have = self.setting.model.units(number)
        if self.options.unit >= have:
            raise UserError(
                f"probes.activations.unit: expected a unit that every layer measured has; "
                f"layer {number} has units 0 to {have - 1}; got {self.options.unit}"
            )
        return self.options.unit

    def captures(self) -> list[int]:
        return self.options.numbers(self.setting.model)

    def before_update(self, step: Step) -> Rows:
        samples = [
            torch.take(step.activations[number], self._where(number, step.activations[number]))
            for number in self.units
        ]
        values = torch.cat(samples).double().cpu().numpy()  # fetched from the device in one go
        ends = list(accumulate(map(len, samples)))
        return {
            "activations": {
                "step": [step.number] * len(samples),
                "layer": list(self.units),
                "unit": list(self.units.values()),
                "values": np.split(values, ends[:-1]),
            }
        }

    def _where(self, number: int, values: Tensor) -> Tensor:
        """The places sampled from ``values``, ``(batch, units, ..)``, all of one unit."""
        key = number, values.shape
        if key not in self._places:
            batch, units, *rest = values.shape
            positions = math.prod(rest)
            stream = generator(self.setting.seed, "probes", "samples", number)
            sample = torch.randperm(batch * positions, generator=stream)[: self.options.samples]
            row = (sample // positions) * units + self.units[number]
            self._places[key] = (row * positions + sample % positions).to(values.device)
        return self._places[key]
