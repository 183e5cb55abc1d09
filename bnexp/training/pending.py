"""Metrics of steps made that are still on the device: to fetch them, the host must wait."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from bnexp.probes import Rows, Step
from bnexp.probes.base import to_floats


class PendingMetrics:
    """Losses, gradient norms and rows of steps since the last sync."""

    def __init__(self) -> None:
        self._steps: list[tuple[int, Tensor, Tensor]] = []
        self._rows: list[tuple[int, Rows]] = []

    def add(self, step: Step) -> None:
        """Add a step, whether or not its numbers are finite."""
        self._steps.append((step.number, step.loss, step.grad_norm))

    def add_rows(self, number: int, rows: Rows) -> None:
        """Add what step ``number`` recorded; scalar tensors in it are left where they are."""
        self._rows.append((number, rows))

    def diverged(self) -> int | None:
        """The first of the steps whose loss or gradient is not finite; all are then dropped."""
        losses = to_floats([loss for _, loss, _ in self._steps])
        norms = to_floats([norm for _, _, norm in self._steps])
        bad = [
            number
            for (number, _, _), loss, norm in zip(self._steps, losses, norms, strict=True)
            if not (math.isfinite(loss) and math.isfinite(norm))
        ]
        self._steps.clear()
        return min(bad, default=None)

    def take_rows(self, last: int | None) -> list[Rows]:
        """The rows up to step ``last`` as plain numbers; all are then dropped."""
        rows = [rows for number, rows in self._rows if last is None or number <= last]
        self._rows.clear()
        columns = [
            column for tables in rows for table in tables.values() for column in table.values()
        ]
        numbers = iter(to_floats([value for column in columns for value in _tensors(column)]))
        return [
            {
                table: {
                    name: [next(numbers) for _ in column] if _tensors(column) else column
                    for name, column in table_columns.items()
                }
                for table, table_columns in tables.items()
            }
            for tables in rows
        ]


def _tensors(column: Sequence[Any]) -> Sequence[Tensor]:
    """``column`` if it holds tensors, else nothing."""
    return column if len(column) and isinstance(column[0], Tensor) else ()
