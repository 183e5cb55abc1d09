"""Tables of many runs as one pandas DataFrame, joined with every setting."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bnexp.runs.load import Run, find_runs, written


def load_runs(root: str | Path, *tables: str) -> dict[str, pd.DataFrame]:
    """Tables (all if none is named) of all runs in ``root`` (see `find_runs`), by run and step.

    In front stand run, model, norm, lr, seed, width, data and code, then every key of the config by
    its dotted name, such as ``optim.weight_decay``. Numbers are numbers; texts are categories,
    which cost a byte or two a row; lists, and what is of several kinds, are texts as on the command
    line. What table and settings both have, such as ``lr``, is the table's.
    """
    runs = find_runs(root)
    there = {name for run in runs for name in run.table_names()}
    names = sorted(there & {*tables} if tables else there)
    keys = settings(runs)
    return {name: joined(runs, keys, name) for name in names}


def joined(
    runs: Sequence[Run], keys: pd.DataFrame, table: str, columns: Collection[str] | None = None
) -> pd.DataFrame:
    """A table of ``runs``, or some of its columns, behind ``keys``, which has a row per run."""
    tables = [run.table(table, columns) for run in runs]
    rows = pd.concat([some for some in tables if len(some)] or tables[:1], ignore_index=True)
    before = keys.drop(columns=[*rows.columns], errors="ignore")
    before = before.iloc[np.repeat(range(len(runs)), [*map(len, tables)])]
    return pd.concat([before.reset_index(drop=True), rows], axis=1)


def settings(runs: Sequence[Run]) -> pd.DataFrame:
    """A row per run: what it is and every key of its config, in the columns of `load_runs`."""
    return pd.DataFrame([run.settings for run in runs]).apply(_column)


def _column(column: pd.Series[Any]) -> pd.Series[Any]:
    kinds = {type(value) for value in column.dropna()} if column.dtype == "object" else set()
    if kinds == {bool}:
        return column.astype("boolean")
    if kinds <= {int, float} and pd.api.types.is_numeric_dtype(column.infer_objects()):
        return column.infer_objects()
    if kinds != {str} and kinds:
        column = column.map(written, na_action="ignore")
    return column if pd.api.types.is_numeric_dtype(column) else column.astype("category")
