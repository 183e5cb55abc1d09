"""``bnexp runs``: what is there."""

from __future__ import annotations

from pathlib import Path

from bnexp.runs import find_runs


def run(root: Path) -> int:
    """Print one line per run below ``root``; returns the exit code."""
    rows = [("id", "model", "norm", "data", "lr", "seed", "state", "step")]
    for one in find_runs(root):
        step = f"{one.status.get('step', 0)}/{one.status.get('steps', one.steps)}"
        data = one.data
        lr, seed = f"{one.lr:g}", str(one.seed)
        rows.append((one.id, one.model, one.norm, data, lr, seed, one.state, step))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
    return 0
