"""``bnexp bench``: speed, as ratios measured side by side in one run."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from tqdm import tqdm

from bnexp.bench import (
    Row,
    filled,
    growth,
    help_seconds,
    machine,
    many_seeds,
    memory,
    product_rate,
    ratios,
    tables,
    trials,
)
from bnexp.config.schema import positive
from bnexp.errors import UserError
from bnexp.runs.files import write_atomic, write_json
from bnexp.training.memory import keep_freed_memory

T = TypeVar("T")

HEAD = ("setting", "what", "measured against", "ratio", "reach", "", "ms or MB")


def run(out: Path | None, *, device: str, threads: int | None, seconds: float) -> int:
    """Time everything, print the table, write it to ``out`` as JSON; returns the exit code.

    Raises:
        UserError: the device is not here, or an option is out of range; nothing was written.
    """
    positive("--seconds", seconds)
    if threads is not None:
        positive("--threads", threads)
        torch.set_num_threads(threads)
    where = _device(device)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
    keep_freed_memory()  # as every run does
    name = str(where)
    with tqdm(desc="comparisons", unit="", file=sys.stderr) as bar:
        rows = _counted(ratios(name, seconds), bar)
        rows += _counted(tables(name, seconds), bar)
        rows += _counted(memory(name), bar)
        if where.type == "cpu":
            rows += _counted(many_seeds(seconds / 2), bar)
        points = _counted(growth(name, seconds / 4), bar)
        tried = _counted(trials(name, seconds / 3), bar)
    rows.append(Row("-", "bnexp --help", "one second", help_seconds(), 1.0, 1.0))
    print(table(rows))
    print()
    print(grown(points))
    print()
    print(tries(tried))
    if out is not None:
        write_json(
            out,
            {
                "machine": machine(where),
                "products_per_second": {
                    str(dtype).removeprefix("torch."): product_rate(dtype, where)
                    for dtype in (torch.float32, torch.float64)
                },
                "rows": [as_json(row) for row in rows],
                "growth": points,
                "trials": tried,
            },
        )
        print(out)
    return 0


def fill(document: Path) -> int:
    """Make the tables in ``document`` from what the bench wrote; returns the exit code.

    Raises:
        UserError: the document, or what one of its tables is made from, is not there.
    """
    try:
        before = document.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"--document: expected a file to fill in; {error}") from error
    write_atomic(document, filled(before, document.parent))
    print(document)
    return 0


def _counted(found: Iterator[T], bar: tqdm[Any]) -> list[T]:
    """All of ``found``, each told to ``bar`` as it comes."""
    got = []
    for one in found:
        got.append(one)
        bar.update()
    return got


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name != "cpu" and not (name == "cuda" and torch.cuda.is_available()):
        raise UserError(f"--device: expected auto, cpu or cuda, and one that is here; got '{name}'")
    return torch.device(name)


def as_json(row: Row) -> dict[str, Any]:
    """All there is to say of one comparison."""
    return {
        "setting": row.setting,
        "what": row.what,
        "against": row.against,
        "seconds": row.seconds,
        "against_seconds": row.against_seconds,
        "share": row.share,
        "unit": row.unit,
        "ratio": row.ratio,
        "reach": row.reach,
        "reached": row.reached,
    }


def table(rows: Sequence[Row]) -> str:
    """The comparisons, one line each."""
    lines = [HEAD]
    for row in rows:
        reach = "-" if row.reach is None else f"<= {row.reach:g}"
        mark = {True: "yes", False: "NO", None: ""}[row.reached]
        cells = (row.setting, row.what, row.against, f"{row.ratio:.3f}", reach, mark)
        scale = 1e-6 if row.unit == "bytes" else 1e3
        lines.append((*cells, f"{scale * row.seconds:.2f}"))
    return _aligned(lines)


def grown(points: Sequence[dict[str, Any]]) -> str:
    """How cost grows: each quantity's three points and their times over the first."""
    lines: list[tuple[str, ...]] = [("how cost grows", "at", "times the first")]
    for name in dict.fromkeys(str(point["of"]) for point in points):
        mine = [point for point in points if point["of"] == name]
        at = ", ".join(f"{point['at']:g}" for point in mine)
        times = ", ".join(f"{point['seconds'] / mine[0]['seconds']:.2f}" for point in mine)
        lines.append((name, at, times))
    return _aligned(lines)


def tries(tried: Sequence[dict[str, Any]]) -> str:
    """What was tried, one line each."""
    lines: list[tuple[str, ...]] = [("setting", "tried", "measured against", "ratio", "kept")]
    for trial in tried:
        kept = "yes" if trial["kept"] else "no"
        names = (trial["setting"], trial["what"], trial["against"])
        lines.append((*names, f"{trial['ratio']:.3f}", kept))
    return _aligned(lines)


def _aligned(lines: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
