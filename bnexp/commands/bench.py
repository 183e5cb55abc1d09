"""``bnexp bench``: speed, as ratios measured side by side in one run."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from bnexp.bench import Row, growth, help_seconds, machine, product_rate, ratios
from bnexp.config.schema import positive
from bnexp.errors import UserError
from bnexp.runs.files import write_json

HEAD = ("setting", "what", "measured against", "ratio", "reach", "", "ms")


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
    bar = tqdm(desc="comparisons", unit="", file=sys.stderr)
    found: list[Row] = []
    for row in ratios(str(where), seconds):
        found.append(row)
        bar.update()
    points = []
    for point in growth(str(where), seconds / 4):
        points.append(point)
        bar.update()
    bar.close()
    starting = Row("-", "bnexp --help", "one second", help_seconds(), 1.0, 1.0)
    rows = [*found, starting]
    print(table(rows))
    print()
    print(grown(points))
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
            },
        )
        print(out)
    return 0


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
        lines.append((*cells, f"{1e3 * row.seconds:.2f}"))
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


def _aligned(lines: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
