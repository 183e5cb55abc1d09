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

    Each is called once before to warm up, and at least ``least`` times. Where there is a CUDA
    device its own clock is read (`device_seconds`).
    """
    for thing in things.values():
        thing()
    clock = device_seconds if torch.cuda.is_available() else host_seconds
    times: dict[str, list[float]] = {name: [] for name in things}
    gc.collect()
    gc.disable()
    begin = time.perf_counter()
    try:
        while time.perf_counter() - begin < seconds or len(next(iter(times.values()))) < least:
            for name, thing in things.items():
                times[name].append(clock(thing))
    finally:
        gc.enable()
    return {name: statistics.median(values) for name, values in times.items()}


def host_seconds(thing: Callable[[], object]) -> float:
    """Seconds that ``thing`` takes by the host's clock."""
    start = time.perf_counter()
    thing()
    return time.perf_counter() - start


def device_seconds(thing: Callable[[], object]) -> float:
    """Seconds that ``thing`` takes by the CUDA device's clock, which has no waiting host in it.

    From when the idle device is told of the start until it is done with all that ``thing`` gave it,
    and ``thing`` itself has returned: so also work on the CPU is timed.
    """
    start = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    torch.cuda.synchronize()
    start.record()
    thing()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1e3
