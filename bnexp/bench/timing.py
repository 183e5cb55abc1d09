"""Times that can be compared: the things compared take turns, so that noise meets them all."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping

import torch


def side_by_side(
    things: Mapping[str, Callable[[], object]], *, seconds: float = 4.0, least: int = 5
) -> dict[str, float]:
    """Median seconds of each of ``things``, which take turns for about ``seconds`` in all.

    Each is called once before to warm up, and at least ``least`` times. On a CUDA device the
    clock is read when the device is done.
    """
    for thing in things.values():
        thing()
    times: dict[str, list[float]] = {name: [] for name in things}
    gc.collect()
    gc.disable()
    begin = time.perf_counter()
    try:
        while time.perf_counter() - begin < seconds or len(next(iter(times.values()))) < least:
            for name, thing in things.items():
                _wait()
                start = time.perf_counter()
                thing()
                _wait()
                times[name].append(time.perf_counter() - start)
    finally:
        gc.enable()
    return {name: statistics.median(values) for name, values in times.items()}


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
