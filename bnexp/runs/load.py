"""Finished and unfinished runs, as figures and claims see them."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bnexp.errors import UserError
from bnexp.runs.directory import RunDirectory
from bnexp.runs.identity import code_of, model_name
from bnexp.runs.old import present
from bnexp.runs.parts import Manifest, Part, list_parts, missing, open_part, read_part
from bnexp.runs.tables import read_table, table_names

GROUPS = ("model", "norm", "data", "optim", "probes")
NUMBERS = ("seed", "steps", "batch_size", "optim.lr", "model.width")
MAY_BE_NULL = ("batch_size", "model.width")
"""What a config must hold, where it holds it, to be read at all."""

ENDED = ("done", "diverged")
"""The states of a run that has its result."""


@dataclass(frozen=True)
class Run:
    """One run directory as it was when it was found; its tables are read when asked for.

    ``config`` is in the present spelling, whichever version wrote it.
    """

    path: Path
    id: str
    config: dict[str, Any] = field(compare=False, repr=False)
    status: dict[str, Any] = field(compare=False, repr=False)
    _tables: dict[str, pd.DataFrame] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )

    @property
    def model(self) -> str:
        """The model's name with its depth where it has one, such as ``vgg16`` or ``dln``."""
        self.option("model.name")
        return model_name(self.config)

    @property
    def family(self) -> str:
        """The model's name without its depth, such as ``vgg`` or ``dln``."""
        return str(self.option("model.name"))

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
        """The seed of every random stream that has none of its own."""
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
    def code(self) -> str | None:
        """Four hex digits that name the code that made the run; None for runs from before."""
        return code_of(self.id)

    @property
    def state(self) -> str:
        """``running``, ``done``, ``diverged``, ``failed``, ``interrupted`` or ``damaged``.

        Interrupted is what no process writes; damaged what has `problems`.
        """
        directory = RunDirectory(self.path)
        state = str(self.status.get("state", "running"))
        if state == "running" and not directory.is_locked():
            # It may have ended between being found and now.
            state = str(directory.read_status().get("state", "running"))
            state = "interrupted" if state == "running" else state
        return "damaged" if state != "running" and self.problems else state

    @property
    def problems(self) -> list[str]:
        """What is wrong with the tables by the names and sizes of their parts, in words."""
        directory, status = RunDirectory(self.path), self.status
        if status.get("state") not in ENDED:
            status = directory.read_status()
        if "tables" not in status:
            return []
        return missing(directory.tables_dir, status["tables"], status["state"] in ENDED)

    def verify(self) -> list[str]:
        """All that is wrong with the tables, in words; reads every byte of them."""
        problems = self.problems
        for name in self.table_names():
            for part in self.parts(name):
                try:
                    read_part(part)
                except UserError as error:
                    if not any(part.path.name in problem for problem in problems):
                        problems.append(str(error))
        return problems

    def option(self, key: str) -> Any:
        """The value of the dotted config ``key``; a missing one is a `UserError` naming it."""
        value: Any = self.config
        for name in key.split("."):
            if not isinstance(value, Mapping) or name not in value:
                raise UserError(f"{RunDirectory(self.path).config_file}: {key} is missing")
            value = value[name]
        return value

    def table_names(self) -> list[str]:
        """The tables that have rows, by name."""
        return table_names(RunDirectory(self.path).tables_dir, self._manifest())

    def columns(self, name: str) -> list[str]:
        """The names of the columns of table ``name``; none when there is no such table."""
        parts = self.parts(name)
        return list(open_part(parts[0].path).schema_arrow.names) if parts else []

    def parts(self, name: str) -> list[Part]:
        """The parts of table ``name`` by step."""
        return list_parts(RunDirectory(self.path).tables_dir / name, self._manifest())

    def table(
        self, name: str, columns: Collection[str] | None = None, **where: Any
    ) -> pd.DataFrame:
        """Table ``name`` by step, the caller's to change; an empty frame when there is none.

        Args:
            name: the table.
            columns: which columns, in this order; all if None.
            where: by column, the value or collection of values that rows must have; only these
                rows come to be in memory.

        Raises:
            UserError: a part is missing or damaged or lacks a column; the message names it.
        """
        if columns is None and not where:
            if name not in self._tables:
                self._tables[name] = self._read(name)
            return self._tables[name].copy()
        return self._read(name, columns, **where)

    def _read(
        self, name: str, columns: Collection[str] | None = None, **where: Any
    ) -> pd.DataFrame:
        folder, manifest = RunDirectory(self.path).tables_dir, self._manifest()
        try:
            return read_table(folder, name, manifest, columns, **where)
        except UserError:
            # It may have been resumed from an earlier checkpoint since it was found.
            if (now := RunDirectory(self.path).read_status().get("tables")) == manifest:
                raise
            return read_table(folder, name, now, columns, **where)

    def _manifest(self) -> Manifest | None:
        return self.status.get("tables")


def find_runs(root: str | Path) -> list[Run]:
    """The runs in ``root``, sorted by id. Folders of other tools are passed over.

    Args:
        root: the folder that holds ``runs/``, ``runs/`` itself, or one run directory.

    Raises:
        UserError: ``root`` is no folder, or a run's config or status is damaged or another run's.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"{root}: expected a folder of runs; there is none")
    if RunDirectory(root).config_file.is_file():
        return [_load(root)]
    folder = root / "runs" if (root / "runs").is_dir() else root
    return [_load(path) for path in sorted(folder.iterdir()) if _is_run(RunDirectory(path))]


def folders_of_runs(root: str | Path) -> list[Path]:
    """The folders right below ``root`` that hold runs of their own, as presets' folders do."""
    return sorted(path.parent for path in Path(root).glob("*/runs") if find_runs(path))


def load_runs(root: str | Path) -> dict[str, pd.DataFrame]:
    """Every table of all runs in ``root`` (see `find_runs`), by name.

    Returns:
        Per table the rows of all runs, by run and step. In front stand run, model, norm, lr, seed,
        width and data, then every key of the config by its dotted name, such as
        ``optim.weight_decay``; lists as text, texts as categories.
    """
    runs = find_runs(root)
    front = pd.DataFrame([_labels(run) for run in runs])
    keys = pd.DataFrame([_flat(run.config) for run in runs]).drop(columns="seed", errors="ignore")
    keys = keys.apply(lambda column: column.astype("category") if column.dtype == "str" else column)
    labels = pd.concat([front, keys], axis=1)
    found: dict[str, dict[int, pd.DataFrame]] = {}
    for number, run in enumerate(runs):
        for name in run.table_names():
            found.setdefault(name, {})[number] = run.table(name)
    joined = {}
    for name, tables in sorted(found.items()):
        rows = pd.concat(tables.values(), ignore_index=True)
        numbers = np.repeat(list(tables), [len(table) for table in tables.values()])
        before = labels.drop(columns=[*rows.columns], errors="ignore").iloc[numbers]
        joined[name] = pd.concat([before.reset_index(drop=True), rows], axis=1)
    return joined


def _labels(run: Run) -> dict[str, Any]:
    names = ("model", "norm", "lr", "seed", "width", "data")
    return {"run": run.id, **{name: getattr(run, name) for name in names}}


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = str(value) if isinstance(value, list) else value
    return flat


def _is_run(directory: RunDirectory) -> bool:
    """Whether a run is there. Other tools, too, have folders with a ``config.yaml``."""
    others = (directory.env_file, directory.status_file, directory.tables_dir)
    return directory.config_file.is_file() and any(path.exists() for path in others)


def _load(path: Path) -> Run:
    directory = RunDirectory(path)
    config = directory.read_config()
    for key in GROUPS:
        if not isinstance(config.get(key, {}), dict):
            raise UserError(f"{directory.config_file}: {key}: expected a mapping of options")
    for key in NUMBERS:
        group, _, name = key.rpartition(".")
        options = config.get(group, {}) if group else config
        if name not in options:
            continue
        value = options[name]
        known = isinstance(value, int | float) and math.isfinite(value)
        if not known and not (value is None and key in MAY_BE_NULL):
            raise UserError(f"{directory.config_file}: {key}: expected a number; got {value!r}")
    return Run(path, directory.id, present(config), directory.read_status())
