"""The distribution of one fixed unit's pre-activation per layer (Figs 1c, 2, 6, 9)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from bnexp.config.schema import at_least
from bnexp.errors import UserError
from bnexp.probes.base import LayerOptions, Options, Probe, Rows, Setting, Step, register
from bnexp.probes.units import units_of
from bnexp.seeds import generator


@dataclass(frozen=True)
class ActivationsOptions(LayerOptions):
    """``unit`` (0-based) in every layer, null for one drawn from the seed; ``samples`` kept."""

    unit: int | None
    samples: int

    def check(self, name: str, layers: int) -> None:
        super().check(name, layers)
        at_least(f"probes.{name}.samples", self.samples, 1)
        if self.unit is not None:
            at_least(f"probes.{name}.unit", self.unit, 0)


@register("activations", ActivationsOptions)
class Activations(Probe):
    """Table ``activations``: step, layer, unit, values.

    ``values`` is a sample of the pre-activation of ``unit`` over the training batch and the
    positions: at most ``samples`` of them, at the same places of the batch at every step.
    """

    options: ActivationsOptions
    passive = True

    def __init__(self, options: Options, setting: Setting) -> None:
        super().__init__(options, setting)
        self.units = {number: self._unit(number) for number in self.captures()}
        self._places: dict[tuple[int, torch.Size], Tensor] = {}

    def _unit(self, number: int) -> int:
        """The unit of layer ``number`` that is looked at."""
        if self.options.unit is None:
            return units_of(self.setting.model, number, self.setting.seed, 1)[0]
        have = self.setting.model.layers[number].units
        if self.options.unit >= have:
            raise UserError(
                f"probes.activations.unit: expected a unit that every layer measured has; "
                f"layer {number} has units 0 to {have - 1}; got {self.options.unit}"
            )
        return self.options.unit

    def captures(self) -> list[int]:
        return self.options.numbers(self.setting.model)

    def before_update(self, step: Step) -> Rows:
        kept = [
            torch.take(step.activations[number], self._where(number, step.activations[number]))
            for number in self.units
        ]
        values = torch.cat(kept).double().cpu().numpy()  # fetched from the device in one go
        ends = list(accumulate(len(one) for one in kept))
        return {
            "activations": {
                "step": [step.number] * len(kept),
                "layer": list(self.units),
                "unit": list(self.units.values()),
                "values": np.split(values, ends[:-1]),
            }
        }

    def _where(self, number: int, values: Tensor) -> Tensor:
        """The places kept of ``values``, ``(batch, units, ..)``, all of one unit, in its order."""
        key = number, values.shape
        if key not in self._places:
            batch, units, *rest = values.shape
            positions = math.prod(rest)
            stream = generator(self.setting.seed, "probes", "samples", number)
            kept = torch.randperm(batch * positions, generator=stream)[: self.options.samples]
            row = (kept // positions) * units + self.units[number]
            self._places[key] = (row * positions + kept % positions).to(values.device)
        return self._places[key]
