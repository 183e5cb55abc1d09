"""Compares runs with reference runs, curve by curve: same, within the seeds' spread, or off."""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from bnexp.analysis.quantities import Quantity, paper_quantities
from bnexp.analysis.scales import EXPERIMENTS
from bnexp.errors import UserError
from bnexp.runs import Run, find_runs, scale

Key = tuple[str, str, float]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of ``bnexp compare``."""
    parser.add_argument("runs", type=Path, help="a folder of runs")
    parser.add_argument("reference", type=Path, help="a folder of runs, or one of such folders")


def main(arguments: argparse.Namespace) -> int:
    """Run ``bnexp compare``; returns 1 where a curve is off."""
    rows = compared(find_runs(arguments.runs), references(arguments.reference))
    if not rows:
        raise UserError(
            f"{arguments.runs}: expected runs of settings that {arguments.reference} has"
        )
    frame = pd.DataFrame(rows)
    print(frame.to_string(index=False, float_format=lambda value: f"{value:.3g}"))
    print(", ".join(f"{count} {word}" for word, count in frame["is"].value_counts().items()))
    return int((frame["is"] == "off").any())


def references(folder: Path) -> list[Run]:
    """The runs in ``folder`` or in the folders of results below it."""
    folders = sorted(path.parent for path in folder.glob("*/runs")) or [folder]
    return [run for each in folders for run in find_runs(each)]


def compared(runs: Sequence[Run], reference: Sequence[Run]) -> list[dict[str, object]]:
    """A row per curve that both have: how it lies to the reference seeds' min to max.

    ``same``: at every step equal to a run of the same seed to 1e-9; ``within spread``: at least
    80 % of its points lie in the seeds' band, widened to both sides by half its width.
    """
    ours, theirs = _grouped(runs), _grouped(reference)
    rows: list[dict[str, object] | None] = []
    for key in sorted(ours.keys() & theirs.keys()):
        alike = [run for run in theirs[key] if scale(run) == scale(ours[key][0])]
        layers = EXPERIMENTS[key[0]].ics_layers if key[0] in EXPERIMENTS else ()
        for quantity in paper_quantities().values():
            layered = quantity.table in ("gradient_shift", "moments")
            for layer in layers if layered else (None,):
                rows += [_row(quantity, layer, run, alike) for run in ours[key] if alike]
    return [row for row in rows if row is not None]


def _grouped(runs: Sequence[Run]) -> dict[Key, list[Run]]:
    groups: defaultdict[Key, list[Run]] = defaultdict(list)
    for run in runs:
        groups[run.family, run.norm, run.lr].append(run)
    return groups


def _row(
    quantity: Quantity, layer: int | None, run: Run, reference: Sequence[Run]
) -> dict[str, object] | None:
    having = [other for other in reference if quantity.table in other.table_names()]
    if quantity.table not in run.table_names() or not having:
        return None
    mine = quantity.trace(run, layer)
    if not len(mine.x):
        return None
    values = np.stack([mine.lo, mine.hi])
    band = []
    same = False
    for other in having:
        line = quantity.trace(other, layer)
        if len(line.x):
            band.append([np.interp(mine.x, line.x, edge) for edge in (line.lo, line.hi)])
            equal = np.allclose(values, band[-1], rtol=1e-9, atol=0, equal_nan=True)
            same |= equal and other.seed == run.seed
    low, high = np.min(band, axis=0), np.max(band, axis=0)
    margin = (high - low) / 2
    inside = float(np.mean((values >= low - margin) & (values <= high + margin)))
    return {
        "model": run.model,
        "norm": run.norm,
        "lr": run.lr,
        "seed": run.seed,
        "quantity": quantity.name,
        "layer": "" if layer is None else layer,
        "reference seeds": len(having),
        "inside": inside,
        "is": "same" if same else "within spread" if inside >= 0.8 else "off",
    }
