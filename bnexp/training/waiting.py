"""What steps leave on the device until it is fetched: to fetch it, the host must wait."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from bnexp.probes import Rows, Step
from bnexp.probes.base import fetched


class Waiting:
    """Steps made but not looked at: the loss and gradient norm of each, and the rows it gave."""

    def __init__(self) -> None:
        self._steps: list[tuple[int, Tensor, Tensor]] = []
        self._rows: list[tuple[int, Rows]] = []

    def add(self, seen: Step) -> None:
        """A step was made, whether or not its numbers are finite."""
        self._steps.append((seen.number, seen.loss, seen.grad_norm))

    def add_rows(self, number: int, rows: Rows) -> None:
        """Step ``number`` gave ``rows``; scalar tensors in them are left where they are."""
        self._rows.append((number, rows))

    def diverged(self) -> int | None:
        """The first of the steps whose loss or gradient is not finite; all are then forgotten."""
        losses = fetched([loss for _, loss, _ in self._steps])
        norms = fetched([norm for _, _, norm in self._steps])
        bad = [
            number
            for (number, _, _), loss, norm in zip(self._steps, losses, norms, strict=True)
            if not (math.isfinite(loss) and math.isfinite(norm))
        ]
        self._steps.clear()
        return min(bad, default=None)

    def take_rows(self, last: int | None) -> list[Rows]:
        """The rows as plain numbers, those of steps after ``last`` left out; all are forgotten."""
        kept = [rows for number, rows in self._rows if last is None or number <= last]
        self._rows.clear()
        columns = [column for rows in kept for table in rows.values() for column in table.values()]
        numbers = iter(fetched([value for column in columns for value in _tensors(column)]))
        return [
            {
                table: {
                    name: [next(numbers) for _ in column] if _tensors(column) else column
                    for name, column in table_columns.items()
                }
                for table, table_columns in rows.items()
            }
            for rows in kept
        ]


def _tensors(column: Sequence[Any]) -> Sequence[Tensor]:
    """``column`` if it is one of tensors, else nothing."""
    return column if len(column) and isinstance(column[0], Tensor) else ()
