"""Finished and unfinished runs, as figures and claims see them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import pandas as pd

from bnexp.errors import UserError
from bnexp.runs.directory import RunDirectory
from bnexp.runs.identity import canonical
from bnexp.runs.tables import read_table, table_names

GROUPS = ("model", "norm", "data", "optim", "probes")
NUMBERS = ("seed", "steps", "batch_size", "optim.lr", "model.width")
MAY_BE_NULL = ("batch_size", "model.width")
"""What a config must hold, where it holds it, to be read at all."""


@dataclass(frozen=True)
class Run:
    """One run directory as it was when it was found; its tables are read when asked for."""

    path: Path
    id: str
    config: dict[str, Any] = field(compare=False, repr=False)
    status: dict[str, Any] = field(compare=False, repr=False)
    _tables: dict[str, pd.DataFrame] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )

    @property
    def model(self) -> str:
        """The model's name, such as ``vgg16``."""
        return str(self.option("model.name"))

    @property
    def family(self) -> str:
        """``vgg`` or ``dln``: which of the paper's two experiments it belongs to."""
        return str(self.option("model.family"))

    @property
    def norm(self) -> str:
        """The normalisation's name, such as ``noisy_bn``."""
        return str(self.option("norm.name"))

    @property
    def lr(self) -> float:
        """The learning rate."""
        return float(self.option("optim.lr"))

    @property
    def seed(self) -> int:
        """The seed of every random stream."""
        return int(self.option("seed"))

    @property
    def steps(self) -> int:
        """The number of training steps asked for."""
        return int(self.option("steps"))

    @property
    def width(self) -> float:
        """The model's width as a multiple of the paper's; NaN where it has none."""
        width = self.option("model").get("width")
        return float("nan") if width is None else float(width)

    @property
    def data(self) -> str:
        """What to call the data when speaking to people."""
        return str(self.config.get("data", {}).get("label") or self.option("data.name"))

    @property
    def state(self) -> str:
        """``running``, ``done``, ``diverged``, ``failed``; ``interrupted`` when nobody runs it."""
        directory = RunDirectory(self.path)
        state = str(self.status.get("state", "running"))
        if state != "running" or directory.is_locked():
            return state
        # It may have ended between being found and now.
        state = str(directory.read_status().get("state", "running"))
        return "interrupted" if state == "running" else state

    def option(self, key: str) -> Any:
        """The value of the dotted config ``key``; a missing one is a `UserError` naming it."""
        value: Any = self.config
        for name in key.split("."):
            if not isinstance(value, Mapping) or name not in value:
                raise UserError(f"{RunDirectory(self.path).config_file}: {key} is missing")
            value = value[name]
        return value

    def table(self, name: str) -> pd.DataFrame:
        """Table ``name`` by step, the caller's to change; an empty frame when there is none."""
        if name not in self._tables:
            self._tables[name] = read_table(RunDirectory(self.path).tables_dir, name)
        return self._tables[name].copy()


def find_runs(root: Path) -> list[Run]:
    """The runs in ``root``, sorted by id. Folders of other tools are passed over.

    Args:
        root: the folder that holds ``runs/``, ``runs/`` itself, or one run directory.

    Raises:
        UserError: ``root`` is no folder, or a run's config or status is damaged.
    """
    if not root.is_dir():
        raise UserError(f"{root}: expected a folder of runs; there is none")
    if RunDirectory(root).config_file.is_file():
        return [_load(root)]
    folder = root / "runs" if (root / "runs").is_dir() else root
    return [_load(path) for path in sorted(folder.iterdir()) if _is_run(RunDirectory(path))]


def folders_of_runs(root: Path) -> list[Path]:
    """The folders right below ``root`` that hold runs of their own, as presets' folders do."""
    return sorted(path.parent for path in root.glob("*/runs") if find_runs(path))


def load_runs(root: Path) -> dict[str, pd.DataFrame]:
    """Every table of all runs in ``root`` (see `find_runs`), by name.

    Returns:
        Per table the rows of all runs, by run and step, with the columns run, model, norm, lr,
        seed, width and data in front.
    """
    frames: dict[str, list[pd.DataFrame]] = {}
    for run in find_runs(root):
        for name in table_names(RunDirectory(run.path).tables_dir):
            rows = read_table(RunDirectory(run.path).tables_dir, name)
            front = pd.DataFrame(_labels(run), index=rows.index)
            frames.setdefault(name, []).append(pd.concat([front, rows], axis=1))
    return {name: pd.concat(rows, ignore_index=True) for name, rows in sorted(frames.items())}


def scale(run: Run) -> dict[str, Any]:
    """What two runs must share to be drawn together.

    It is what decides a run's numbers less what figures vary (norm, lr, seed). The data count by
    their label: where they lie does not matter.
    """
    shared = canonical(run.config)
    for key in ("norm", "seed"):
        shared.pop(key, None)
    shared["optim"] = {k: v for k, v in shared.get("optim", {}).items() if k != "lr"}
    shared["data"] = {**shared.get("data", {}), "label": run.data}
    return shared


def describe(run: Run) -> str:
    """A run's `scale` for people, such as ``VGG-16 ×1/8, digits, batch 128, 400 steps``."""
    size = run.option("batch_size")
    batch = "full batch" if size is None else f"batch {size:,}"
    return f"{_describe_model(run)}, {run.data}, {batch}, {run.steps:,} steps"


def _describe_model(run: Run) -> str:
    if run.family == "dln":
        return f"DLN {run.option('model.k')}×{run.option('model.d')}"
    name = run.model
    if run.family == "vgg":
        name = f"VGG-{name.removeprefix('vgg')}"
    # No width (NaN) and the paper's own need no words.
    return name if math.isnan(run.width) or run.width == 1 else f"{name} ×{_ratio(run.width)}"


def _ratio(value: float) -> str:
    fraction = Fraction(value).limit_denominator(64)
    return str(fraction) if float(fraction) == value else f"{value:g}"


def _labels(run: Run) -> dict[str, Any]:
    names = ("model", "norm", "lr", "seed", "width", "data")
    return {"run": run.id, **{name: getattr(run, name) for name in names}}


def _is_run(directory: RunDirectory) -> bool:
    """Whether a run is there. Other tools, too, have folders with a ``config.yaml``."""
    others = (directory.env_file, directory.status_file, directory.tables_dir)
    return directory.config_file.is_file() and any(path.exists() for path in others)


def _load(path: Path) -> Run:
    directory = RunDirectory(path)
    run = Run(path, path.resolve().name, directory.read_config(), directory.read_status())
    for key in GROUPS:
        if not isinstance(run.config.get(key, {}), dict):
            raise UserError(f"{directory.config_file}: {key}: expected a mapping of options")
    for key in NUMBERS:
        group, _, name = key.rpartition(".")
        options = run.config.get(group, {}) if group else run.config
        if name not in options:
            continue
        value = options[name]
        known = isinstance(value, int | float) and math.isfinite(value)
        if not known and not (value is None and key in MAY_BE_NULL):
            raise UserError(f"{directory.config_file}: {key}: expected a number; got {value!r}")
    return run
