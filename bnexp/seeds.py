"""The one place that random numbers come from.

Every stream is a pure function of the run's seed and a name: initialisation, data order, noise,
augmentation and probes never share one, and a step's numbers can be made again without having
walked through the steps before it. That is what lets a run resume bit for bit, lets the noise of a
step be replayed, and lets a probe draw without moving any other stream.
"""

from __future__ import annotations

import hashlib

import torch


def derive(seed: int, *names: str | int) -> int:
    """A 63-bit seed for the stream called ``names`` of the run with this ``seed``."""
    text = "/".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """A fresh generator on ``device`` at the start of the stream called ``names``."""
    return torch.Generator(device=device).manual_seed(derive(seed, *names))
