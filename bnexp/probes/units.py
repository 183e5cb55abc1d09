"""Which units of a layer the activation probes record, drawn from the run's seed."""

from __future__ import annotations

import torch

from bnexp.models import Network
from bnexp.seeds import generator


def units_of(model: Network, number: int, seed: int, count: int | None = None) -> list[int]:
    """``count`` different units of layer ``number`` in the order drawn; all of them by default.

    The first is "a random activation" of the paper: the one whose distribution is kept.
    """
    stream = generator(seed, "probes", "units", number)
    order = torch.randperm(model.units(number), generator=stream).tolist()
    return [int(unit) for unit in order[:count]]
