"""Copies of runs small enough to keep in a repository, that draw the same figures."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bnexp.errors import UserError
from bnexp.runs.directory import RunDirectory
from bnexp.runs.files import read_json
from bnexp.runs.load import Run
from bnexp.runs.tables import TableWriter

STEPS = 21
"""So many distributions are kept, evenly spaced."""

EVEN = 201
"""Of the losses of every step so many are kept, evenly spaced, where no landscape was measured."""


def compact(run: Run, runs_dir: Path, layers: Collection[int] = (), samples: int = 256) -> Path:
    """Copy ``run`` into ``runs_dir`` with small tables; returns where the copy lies.

    Tables of the landscape are copied whole, and of every step those that it was measured at. Of
    the tables by layer, which are what makes runs large, it keeps ``layers`` (all if empty), of the
    moments the one unit that the distributions follow, and of these ``samples`` values each.
    Numbers are in single precision where that can hold them, but those of table train: two runs
    that should be one are held against each other to the last digits (figure E11). Of folders on
    this machine the config keeps the last name.

    The config comes last: cut off before it, the copy is no run yet and is made anew by the next
    call. A whole copy with the same ``layers`` and ``samples`` is left; any other is refused.
    """
    source, target = run.directory, RunDirectory(runs_dir / run.id)
    kept = {"layers": list(layers), "steps": STEPS, "samples": samples}
    if target.config_file.exists():
        if read_json(target.env_file).get("compact") == kept:
            return target.path
        raise UserError(f"{target.path}: expected no run there yet")
    env, config = read_json(source.env_file), source.read_config()
    data = config.get("data", {})
    for group, key in ((config, "out"), (data, "path"), (data, "cache")):
        if isinstance(group.get(key), str):
            group[key] = Path(group[key]).name
    frames = {name: _small(run, name, layers, samples) for name in run.table_names()}
    if target.path.exists():
        shutil.rmtree(target.path)
    writer = TableWriter(target.tables_dir, single=[name for name in frames if name != "train"])
    for name, frame in frames.items():
        writer.add(name, {str(column): frame[column].to_list() for column in frame})
    target.write_status(**{**source.read_status(), "tables": writer.flush()})
    target.create(config, {**env, "compact": kept})
    return target.path


def _small(run: Run, name: str, layers: Collection[int], samples: int) -> pd.DataFrame:
    frame: pd.DataFrame = run.table(name)
    if name == "train":
        recorded = set(run.table("smoothness", ["step"])["step"])
        if not recorded:  # and the steps after, as some of the paper's figures show
            even = np.linspace(0, frame["step"].max(), EVEN).round()
            recorded = {*even, *(even + 1)}
        return frame[frame["step"].isin([*recorded, frame["step"].max()])]
    if name not in ("activations", "moments", "gradient_shift") or "layer" not in frame:
        return frame
    there = sorted(set(frame["layer"]))
    frame = frame[frame["layer"].isin(list(layers) or there)]
    if frame.empty:
        raise UserError(
            f"--layers: expected some of {', '.join(map(str, there))}, which table {name} of "
            f"{run.id} has; got {', '.join(map(str, layers))}"
        )
    if name == "activations":
        steps = np.unique(frame["step"].to_numpy())
        places = np.linspace(0, len(steps) - 1, STEPS).round().astype(int)
        frame = frame[frame["step"].isin(steps[places])]
        values: list[Any] = [
            np.float32(row[:samples]).astype(np.float64) for row in frame["values"]
        ]
        return frame.assign(values=values)
    if name == "moments":
        followed = run.table("activations", ["layer", "unit"]).groupby("layer")["unit"].first()
        mine = frame["unit"] == frame["layer"].map(followed)
        return frame[mine] if mine.any() else frame
    return frame
