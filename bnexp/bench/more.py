"""What measuring costs besides time on the device: tables and memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count, islice
from pathlib import Path
from tempfile import TemporaryDirectory

from bnexp.bench.comparisons import SCHEDULE, SETTINGS, Bench, Row, make_trainer
from bnexp.bench.memory import peak
from bnexp.bench.timing import side_by_side
from bnexp.probes import Rows
from bnexp.runs import TableWriter

MEASURED = 20
"""So many measured steps lie between two checkpoints, at which tables are written."""


def tables(device: str, seconds: float) -> Iterator[Row]:
    """Adding all probes' rows to the tables and writing them, over the steps meanwhile."""
    for setting, overrides in SETTINGS.items():
        bench = Bench(make_trainer(*overrides, "norm=bn", f"device={device}"))
        rows: list[Rows] = [
            bench.measure(name)() for name in bench.probes if name not in ("train", "eval")
        ]
        with TemporaryDirectory() as folder:
            write = _writing(TableWriter(Path(folder)), rows)
            found = side_by_side({"write": write, "step": bench.step()}, seconds=seconds / 2)
        share = float(MEASURED * SCHEDULE)
        what = f"writing tables, every {SCHEDULE} steps"
        yield Row(f"{setting} bn", what, "the steps", found["write"], found["step"], 0.01, share)


def _writing(writer: TableWriter, rows: Sequence[Rows]) -> Callable[[], None]:
    """Adds ``rows`` of so many measured steps, always later ones, and writes them."""
    steps = count()

    def work() -> None:
        for number in islice(steps, MEASURED):
            for found in rows:
                for table, columns in found.items():
                    writer.add(table, {**columns, "step": [number] * len(columns["step"])})
        writer.flush()

    return work


def memory(device: str) -> Iterator[Row]:
    """The greatest memory that training needs with all probes, over that without."""
    for setting, overrides in SETTINGS.items():
        for norm in ("none", "bn"):
            where, asked = f"{setting} {norm}", (*overrides, f"norm={norm}", f"device={device}")
            (most, before), (bare, bare_before) = (peak(asked, probes) for probes in (True, False))
            what, against = "peak memory, all probes", "without"
            yield Row(where, what, against, float(most), float(bare), 2.0, unit="bytes")
            what = "of it for the steps"
            more, less = float(most - before), float(max(1, bare - bare_before))
            yield Row(where, what, against, more, less, None, unit="bytes")
