"""Compares runs with reference runs, curve by curve: same, within the seeds' spread, or off."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from bnexp.analysis.quantities import Quantity, paper_quantities
from bnexp.analysis.scales import EXPERIMENTS
from bnexp.errors import UserError
from bnexp.runs import Run, find_runs, scale


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of ``bnexp compare``."""
    parser.add_argument("runs", type=Path, help="a folder of runs")
    parser.add_argument("reference", type=Path, help="a folder of runs, or one of such folders")


def main(arguments: argparse.Namespace) -> int:
    """Run ``bnexp compare``; returns 1 where a curve is off."""
    folder: Path = arguments.reference
    folders = sorted(path.parent for path in folder.glob("*/runs")) or [folder]
    reference = [run for each in folders for run in find_runs(each)]
    frame = pd.DataFrame(compared(find_runs(arguments.runs), reference))
    if frame.empty:
        raise UserError(f"{arguments.runs}: expected runs of settings that {folder} has")
    print(frame.to_string(index=False, float_format=lambda value: f"{value:.3g}"))
    print(", ".join(f"{count} {word}" for word, count in frame["is"].value_counts().items()))
    return int((frame["is"] == "off").any())


def compared(runs: Sequence[Run], reference: Sequence[Run]) -> list[dict[str, object]]:
    """A row per curve that both have: how it lies to the reference seeds' min to max.

    ``same``: at every step equal to a run of the same seed to 1e-9; ``within spread``: at least
    80 % of its points lie in the seeds' band, widened to both sides by half its width.
    """

    def kind(run: Run) -> tuple[object, ...]:
        return run.family, run.norm, run.lr, scale(run)

    def options_alike(one: Run, other: Run) -> bool:  # but those that only some versions wrote
        shared = {key for key in one.deciding if key.startswith("norm.")} & other.deciding.keys()
        return all(one.deciding[key] == other.deciding[key] for key in shared)

    kinds = [kind(other) for other in reference]
    quantities = paper_quantities().values()
    rows = []
    for run in sorted(runs, key=lambda run: (run.family, run.norm, run.lr, run.seed)):
        mine = kind(run)
        alike = [other for other, its in zip(reference, kinds, strict=True) if its == mine]
        alike = [other for other in alike if options_alike(run, other)]
        layers = EXPERIMENTS[run.family].ics_layers if run.family in EXPERIMENTS else ()
        for quantity in quantities:
            if quantity.table not in run.table_names():
                continue
            layered = quantity.table in ("gradient_shift", "moments")
            having = [other for other in alike if quantity.table in other.table_names()]
            for layer in layers if layered else (None,):
                rows += _row(quantity, layer, run, having)
    return rows


def _row(
    quantity: Quantity, layer: int | None, run: Run, reference: Sequence[Run]
) -> list[dict[str, object]]:
    """One row, or none where there is nothing to compare."""
    mine = quantity.trace(run, layer)
    traces = [(other, quantity.trace(other, layer)) for other in reference]
    traces = [(other, line) for other, line in traces if len(line.x)]
    if not (traces and len(mine.x)):
        return []
    values = np.stack([mine.lo, mine.hi])
    bands = [
        np.stack([np.interp(mine.x, line.x, edge) for edge in (line.lo, line.hi)])
        for _, line in traces
    ]
    same = any(
        other.seed == run.seed and np.allclose(values, band, rtol=1e-9, atol=0, equal_nan=True)
        for (other, _), band in zip(traces, bands, strict=True)
    )
    low, high = np.min(bands, axis=0), np.max(bands, axis=0)
    margin = (high - low) / 2
    inside = float(np.mean((values >= low - margin) & (values <= high + margin)))
    row = {"model": run.model, "norm": run.norm, "lr": run.lr, "seed": run.seed}
    row |= {"quantity": quantity.name, "layer": "" if layer is None else layer}
    verdict = "same" if same else "within spread" if inside >= 0.8 else "off"
    return [{**row, "reference seeds": len(bands), "inside": inside, "is": verdict}]
