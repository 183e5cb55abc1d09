"""Reads just the columns and rows that a figure needs from the tables of a run."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd

from bnexp.analysis.series import Array, Trace
from bnexp.runs import Run


def has_table(run: Run, table: str) -> bool:
    """Whether the run recorded anything in the table."""
    return table in run.table_names()


def rows(
    run: Run, table: str, columns: list[str], **where: int | str | Collection[int]
) -> pd.DataFrame:
    """The columns of the rows that satisfy `where` (a value, or a collection to be in), by step.

    Raises:
        UserError: a part is damaged or lacks a column; the message names it.
    """
    return run.table(table, columns, **where)


def floats(column: Any) -> Array:
    """A column of a table as an array of float64."""
    return np.asarray(column, dtype=np.float64)


def line(run: Run, table: str, column: str, **where: int | str) -> Trace:
    """One column against the step, as a line."""
    return band(run, table, column, column, **where)


def band(run: Run, table: str, lo: str, hi: str, **where: int | str) -> Trace:
    """Two columns against the step, as a band."""
    frame = rows(run, table, list(dict.fromkeys(["step", lo, hi])), **where)
    x, low, high = (floats(frame[name]) for name in ("step", lo, hi))
    return Trace(x, low, high, run.state == "diverged")
