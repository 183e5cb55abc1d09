"""The machine's own limit: how fast it multiplies matrices, and how many products a step needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from bnexp.bench.timing import side_by_side
from bnexp.training.environment import environment

SIDE = 1024


def machine(device: torch.device) -> dict[str, Any]:
    """What the numbers were measured on."""
    return environment(device, "")


def product_rate(dtype: torch.dtype, device: torch.device) -> float:
    """Floating-point operations per second of a product of two 1024 x 1024 matrices."""
    a = torch.ones(SIDE, SIDE, dtype=dtype, device=device)
    seconds = side_by_side({"product": lambda: a @ a}, seconds=1.5)["product"]
    return float(2 * SIDE**3 / seconds)


def operations(work: Callable[[], object]) -> int:
    """Floating-point operations of the convolutions and matrix products in ``work()``."""
    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())
