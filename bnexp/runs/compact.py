"""Copies of runs small enough to keep in a repository, that draw the same figures."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bnexp.errors import UserError
from bnexp.runs.directory import RunDirectory
from bnexp.runs.files import plain, read_json
from bnexp.runs.load import Run
from bnexp.runs.tables import TableWriter

SCHEDULED = ("train",)
"""Tables of every step, of which the steps that the landscape was measured at are kept."""

BY_LAYER = ("activations", "moments", "gradient_shift")
"""Tables of which chosen layers can be kept."""


@dataclass(frozen=True)
class Keep:
    """What a copy keeps of the tables by layer, which are what makes runs large.

    ``layers`` (all if empty) of `BY_LAYER`; of the moments the one unit that ``activations``
    follows; ``steps`` evenly spaced distributions of ``samples`` values each, in single precision.
    """

    layers: Collection[int] = ()
    steps: int = 21
    samples: int = 256


def compact(run: Run, runs_dir: Path, keep: Keep) -> Path:
    """Copy ``run`` into ``runs_dir`` with small tables; returns where the copy lies.

    Tables of the landscape are copied whole, the configuration less the places on this machine, and
    last: cut off before it, the copy is no run yet and is made anew by the next call. A whole copy
    with the same ``keep`` is left as it is; any other is refused.
    """
    source, target = RunDirectory(run.path), RunDirectory(runs_dir / run.id)
    kept = plain(asdict(keep))
    if target.config_file.exists():
        if read_json(target.env_file).get("compact") == kept:
            return target.path
        raise UserError(f"{target.path}: expected no run there yet")
    env, config = read_json(source.env_file), _without_places(source.read_config())
    frames = {name: _small(run, name, keep) for name in run.table_names()}
    if target.path.exists():
        shutil.rmtree(target.path)
    writer = TableWriter(target.tables_dir)
    for name, frame in frames.items():
        writer.add(name, {str(column): frame[column].to_list() for column in frame})
    target.write_status(**{**source.read_status(), "tables": writer.flush()})
    target.create(config, {**env, "compact": kept})
    return target.path


def _without_places(config: dict[str, Any]) -> dict[str, Any]:
    """The config of a copy: of folders on the machine that made it only the last name is kept."""
    data = dict(config.get("data") or {})
    for group, key in ((config, "out"), (data, "path"), (data, "cache")):
        if isinstance(group.get(key), str):
            group[key] = Path(group[key]).name
    return {**config, "data": data}


def _small(run: Run, name: str, keep: Keep) -> pd.DataFrame:
    frame: pd.DataFrame = run.table(name)
    if name in SCHEDULED and (recorded := set(run.table("smoothness", ["step"])["step"])):
        return frame[frame["step"].isin([*recorded, frame["step"].max()])]
    if name not in BY_LAYER or "layer" not in frame:
        return frame
    layers = sorted(set(frame["layer"]))
    frame = frame[frame["layer"].isin(list(keep.layers) or layers)]
    if frame.empty:
        raise UserError(
            f"--layers: expected some of {', '.join(map(str, layers))}, which table {name} of "
            f"{run.id} has; got {', '.join(map(str, keep.layers))}"
        )
    if name == "activations":  # evenly spaced, shorter, and in single precision
        steps = np.unique(frame["step"].to_numpy())
        places = np.linspace(0, len(steps) - 1, keep.steps).round().astype(int)
        frame = frame[frame["step"].isin(steps[places])]
        values = [np.float32(row[: keep.samples]).astype(np.float64) for row in frame["values"]]
        return frame.assign(values=values)
    if name == "moments":
        followed = run.table("activations", ["layer", "unit"]).groupby("layer")["unit"].first()
        mine = frame["unit"] == frame["layer"].map(followed)
        return frame[mine] if mine.any() else frame
    return frame
