"""Rows added one by one, as typed columns.

The type depends on the kind of value only, never on the values: integers are int64, numbers
float64 (None is NaN), text is string, sequences of numbers are list<double>.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

INTEGERS = frozenset({"step", "layer", "unit"})
"""Columns that count: int64 whatever they are given as."""

_SCALARS = (int, float, str, bool, np.generic, type(None))


def keep(columns: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    """The number of rows in ``columns`` and a copy that later changes by the caller do not reach.

    Raises:
        ValueError: the columns are not of one length.
    """
    rows: int | None = None
    kept = {}
    for name, given in columns.items():
        value = given if isinstance(given, _SCALARS) else _copy(given)
        if not isinstance(value, _SCALARS):
            if rows is not None and len(value) != rows:
                raise ValueError(f"column {name} has {len(value)} rows, others have {rows}")
            rows = len(value)
        kept[name] = value
    return (1 if rows is None else rows), kept


def count(kept: Mapping[str, Any]) -> int:
    """The number of values in ``kept``: a measure of the memory it takes."""
    return sum(map(_size, kept.values()))


def to_arrow(added: Sequence[tuple[int, Mapping[str, Any]]]) -> pa.Table:
    """All that was `keep`-ed, one below the other, as a table sorted by step.

    Raises:
        ValueError: a column mixes kinds of value, or a counting one has a fraction.
    """
    names = list(added[0][1])
    table = pa.table({name: _column(name, added) for name in names})
    steps = table["step"].to_numpy()
    if np.any(steps[1:] < steps[:-1]):
        table = table.take(np.argsort(steps, kind="stable"))
    return table


def _size(value: Any) -> int:
    if isinstance(value, np.ndarray):
        return value.size
    return sum(map(_size, value)) if isinstance(value, list) else 1


def _copy(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [np.array(item) if isinstance(item, np.ndarray) else item for item in value]
    array = np.array(value)
    return array if array.ndim else array.item()


def _column(name: str, added: Sequence[tuple[int, Mapping[str, Any]]]) -> pa.Array:
    if _is_nested(added[0][1][name]):
        return _lists([np.asarray(row, np.float64) for _, kept in added for row in kept[name]])
    if all(rows == 1 and isinstance(kept[name], _SCALARS) for rows, kept in added):
        values = _array(name, [kept[name] for _, kept in added])
    else:
        pieces = [_array(name, _spread(kept[name], rows)) for rows, kept in added]
        if len({piece.dtype.kind == "O" for piece in pieces}) > 1:
            raise ValueError(f"column {name} mixes text and numbers")
        values = np.concatenate(pieces)
    return pa.array(values, pa.string() if values.dtype.kind == "O" else None)


def _is_nested(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim > 1
    return isinstance(value, list) and isinstance(value[0], list | tuple | np.ndarray)


def _lists(rows: list[np.ndarray[Any, np.dtype[np.float64]]]) -> pa.Array:
    offsets = np.cumsum([0, *map(len, rows)], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate(rows)))


def _spread(value: Any, rows: int) -> Any:
    return [value] * rows if isinstance(value, _SCALARS) else value


def _array(name: str, values: Any) -> np.ndarray[Any, Any]:
    """``values`` as int64, float64, bool or, for text, objects."""
    array = np.asarray(values)
    if name in INTEGERS:
        if array.dtype.kind not in "iuf" or not np.all(np.isfinite(array) & (array % 1 == 0)):
            raise ValueError(f"column {name} counts: expected whole numbers")
        return array.astype(np.int64)
    if array.dtype.kind in "UO":
        # NumPy makes text of numbers beside text, so ask the values themselves.
        if all(isinstance(item, str) for item in values):
            return np.array(values, dtype=object)
        if any(isinstance(item, str) for item in values):
            raise ValueError(f"column {name} mixes text and numbers")
        return array.astype(np.float64)
    return array if array.dtype.kind == "b" else array.astype(_WIDEST[array.dtype.kind])


_WIDEST = {"i": np.int64, "u": np.int64, "f": np.float64}
