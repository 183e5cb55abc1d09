"""Copies of runs small enough to keep in a repository, that draw the same figures."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bnexp.errors import UserError
from bnexp.runs.directory import RunDirectory
from bnexp.runs.files import read_json
from bnexp.runs.load import Run
from bnexp.runs.tables import TableWriter, table_names

SCHEDULED = ("train",)
"""Tables of every step, of which the steps that the landscape was measured at are kept."""


@dataclass(frozen=True)
class Keep:
    """What a copy keeps of the distributions, which are what makes runs large.

    ``layers`` (all if empty) of tables ``activations`` and ``moments``, there the one unit that
    ``activations`` follows; ``steps`` evenly spaced distributions of ``samples`` values each, in
    single precision.
    """

    layers: Collection[int] = ()
    steps: int = 21
    samples: int = 256


def compact(run: Run, runs_dir: Path, keep: Keep) -> Path:
    """Copy ``run`` into ``runs_dir`` with small tables; returns where the copy lies.

    Environment, status and the tables of the landscape and the gradient shift are copied whole,
    the configuration less the places on this machine; checkpoints and logs are left out.

    Raises:
        UserError: there is something in the way, or a file of the run is damaged.
    """
    source, target = RunDirectory(run.path), RunDirectory(runs_dir / run.id)
    if target.path.exists():
        raise UserError(f"{target.path}: expected no such folder yet")
    env = read_json(source.env_file)
    config = _without_places(source.read_config())
    frames = {name: run.table(name) for name in table_names(source.tables_dir)}
    target.path.mkdir(parents=True)
    target.create(config, env)
    for file in (source.env_file, source.status_file):
        shutil.copyfile(file, target.path / file.name)
    writer = TableWriter(target.tables_dir)
    scheduled = run.table("smoothness")
    recorded = set(scheduled["step"]) if len(scheduled) else None
    for name, frame in frames.items():
        if name in SCHEDULED and recorded is not None:
            frame = frame[frame["step"].isin(recorded) | (frame["step"] == frame["step"].max())]
        elif name == "moments":
            frame = _followed(frame, run.table("activations"), keep)
        elif name == "activations":
            frame = _thinned(frame, keep)
        if len(frame):
            writer.add(name, {str(column): frame[column].to_list() for column in frame})
    writer.flush()
    return target.path


def _without_places(config: dict[str, Any]) -> dict[str, Any]:
    """The config of a copy: of folders on the machine that made it only the last name is kept."""
    kept = {**config, "data": dict(config.get("data") or {})}
    for group, key in ((kept, "out"), (kept["data"], "path"), (kept["data"], "cache")):
        if isinstance(group.get(key), str):
            group[key] = Path(group[key]).name
    return kept


def _of_layers(frame: pd.DataFrame, keep: Keep) -> pd.DataFrame:
    return frame[frame["layer"].isin(list(keep.layers))] if keep.layers else frame


def _followed(moments: pd.DataFrame, activations: pd.DataFrame, keep: Keep) -> pd.DataFrame:
    """The moments of the units that the activations follow."""
    if not len(activations):
        return _of_layers(moments, keep)
    units = activations.groupby("layer")["unit"].first()
    mine = moments["unit"] == moments["layer"].map(units)
    return _of_layers(moments[mine], keep)


def _thinned(activations: pd.DataFrame, keep: Keep) -> pd.DataFrame:
    """Evenly spaced distributions, the first ``samples`` values of each, in single precision."""
    steps = np.unique(activations["step"].to_numpy())
    places = np.unique(np.linspace(0, len(steps) - 1, keep.steps).round().astype(int))
    frame = _of_layers(activations[activations["step"].isin(steps[places])], keep)
    values = [np.float32(row[: keep.samples]).astype(np.float64) for row in frame["values"]]
    return frame.assign(values=values)
