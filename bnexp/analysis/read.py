"""Reads just the columns and rows that a figure needs from the tables of a run."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from bnexp.analysis.series import Array, Trace
from bnexp.errors import UserError
from bnexp.runs import Run, RunDirectory
from bnexp.runs.parts import Part, list_parts, open_part

_BATCH = 1 << 17
_BATCH_OF_LISTS = 1 << 11  # rows that hold a whole distribution each


def has_table(run: Run, table: str) -> bool:
    """Whether the run recorded anything in the table."""
    return bool(_parts(run, table))


def columns(run: Run, table: str) -> list[str]:
    """The names of the table's columns; none where nothing was recorded."""
    parts = _parts(run, table)
    if not parts:
        return []
    with open_part(parts[0].path) as file:
        return [str(name) for name in file.schema_arrow.names]


def rows(
    run: Run, table: str, columns: list[str], **where: int | str | Collection[int]
) -> pd.DataFrame:
    """The columns of the rows that satisfy `where` (a value, or a collection to be in), by step.

    Tables of all units at every step do not fit into memory: they are read a batch at a time, and
    what lies outside the steps asked for is not read where the order of steps tells.

    Raises:
        UserError: a part is damaged or lacks a column; the message names it.
    """
    names = list(dict.fromkeys(["step", *columns, *where]))
    wanted = _steps(where.get("step"))
    batches: list[pa.RecordBatch] = []
    for part in _parts(run, table):
        if _may_hold(part, wanted):
            batches.extend(batch.select(columns) for batch in _matching(part, names, where))
    if not batches:
        return pd.DataFrame({name: pd.Series(dtype=np.float64) for name in columns})
    # Permissive: whole numbers in one part and fractions in the next are numbers.
    joined = pa.concat_tables(
        [pa.Table.from_batches([batch]) for batch in batches], promote_options="permissive"
    )
    frame: pd.DataFrame = joined.to_pandas()
    if frame["step"].is_monotonic_increasing:
        return frame
    return frame.sort_values("step", kind="stable", ignore_index=True)


def steps(run: Run, table: str) -> Array:
    """The steps recorded in the table, each once, in order."""
    return np.unique(rows(run, table, ["step"])["step"].to_numpy(dtype=np.float64))


def line(run: Run, table: str, column: str, **where: int | str) -> Trace:
    """One column against the step, as a line."""
    return band(run, table, column, column, **where)


def band(run: Run, table: str, lo: str, hi: str, **where: int | str) -> Trace:
    """Two columns against the step, as a band."""
    frame = rows(run, table, list(dict.fromkeys(["step", lo, hi])), **where)
    x, low, high = (frame[name].to_numpy(dtype=np.float64) for name in ("step", lo, hi))
    return Trace(x, low, high, run.state == "diverged")


def _parts(run: Run, table: str) -> list[Part]:
    return list_parts(RunDirectory(run.path).tables_dir / table)


def _steps(wanted: Any) -> list[int] | None:
    """The steps that a condition names; None for all."""
    if wanted is None:
        return None
    return [wanted] if isinstance(wanted, int) else list(wanted)


def _may_hold(part: Part, steps: list[int] | None) -> bool:
    return steps is None or any(part.first <= step <= part.last for step in steps)


def _matching(part: Part, names: list[str], where: dict[str, Any]) -> Iterator[pa.RecordBatch]:
    wanted = _steps(where.get("step"))
    last = part.last if wanted is None else max((s for s in wanted if s <= part.last), default=-1)
    try:
        with open_part(part.path) as file:
            nested = any(pa.types.is_list(file.schema_arrow.field(name).type) for name in names)
            size = _BATCH_OF_LISTS if nested else _BATCH
            for batch in file.iter_batches(size, columns=names, use_threads=False):
                past = len(batch) and batch["step"][-1].as_py() > last
                batch = _filtered(batch, where)
                if len(batch):
                    yield batch
                if past:
                    return
    except (pa.ArrowException, OSError, KeyError) as error:
        reason = str(error).split("\n", 1)[0][:120]
        raise UserError(
            f"{part.path}: expected readable Parquet with columns {', '.join(names)} ({reason})"
        ) from error


def _filtered(batch: pa.RecordBatch, where: dict[str, Any]) -> pa.RecordBatch:
    """The rows that satisfy all of `where`; each condition looks only at what the last one left."""
    for name, value in where.items():
        column = batch[name].to_numpy(zero_copy_only=False)
        wanted = [value] if isinstance(value, int | str) else list(value)
        matching = np.flatnonzero(np.logical_or.reduce([column == item for item in wanted]))
        batch = batch.take(pa.array(matching))
    return batch
