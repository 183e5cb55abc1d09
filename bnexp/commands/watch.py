"""How far the runs in a folder are: shown anew every other second, or once where no one looks."""

from __future__ import annotations

import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from bnexp.commands.runs import found
from bnexp.runs import FINISHED, Run

HEAD = ("id", "lr", "seed", "state", "step", "steps/s", "time left", "loss")
ORDER = ("running", "interrupted", "failed", "damaged", "diverged", "done")
"""Of states: what goes on is at the top, lest it be cut off."""


def watch(root: Path, seconds: float = 2.0) -> int:
    """Show the runs in ``root`` until Ctrl-C, or once where stdout is no terminal; returns 0."""
    if not sys.stdout.isatty():
        lines = [HEAD, *map(row, ordered(found(root)))]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            print("  ".join(map(str.ljust, line, widths)).rstrip())
        return 0
    from rich.console import Console, Group
    from rich.live import Live
    from rich.table import Table

    runs, console = list[Run](), Console(highlight=False)
    with suppress(KeyboardInterrupt), Live(console=console, auto_refresh=False) as live:
        while True:
            runs = ordered(refreshed(runs, root))
            table = Table(*HEAD, box=None, title=str(root), title_justify="left")
            for run in runs[: max(1, console.height - 4)]:
                table.add_row(*row(run))
            counts = Counter(run.state for run in runs)
            total = ", ".join(f"{count} {state}" for state, count in counts.items())
            live.update(
                Group(table, f"{len(runs)} runs: {total}  (Ctrl-C ends this)"), refresh=True
            )
            time.sleep(seconds)
    return 0


def refreshed(runs: list[Run], root: Path) -> list[Run]:
    """``runs`` with what their directories say now, and those that have come since."""
    folder = root / "runs" if (root / "runs").is_dir() else root
    if not runs or len(runs) != sum(path.is_dir() for path in folder.iterdir()):
        return found(root)
    ended = {run.id for run in runs if run.status.get("state") in FINISHED}
    return [r if r.id in ended else replace(r, status=r.directory.read_status()) for r in runs]


def ordered(runs: list[Run]) -> list[Run]:
    """Those that go on first, then those that were stopped, then those that have ended."""
    return sorted(runs, key=lambda run: ORDER.index(run.state))


def row(run: Run) -> tuple[str, ...]:
    """What is shown of ``run``; the pace is that of its steps and probes so far."""
    step, steps = int(run.status.get("step", 0)), int(run.status.get("steps", run.steps))
    spent, loss = sum(run.status.get("seconds", {}).values()), run.status.get("loss")
    pace = step / spent if spent else 0.0
    left = tqdm.format_interval((steps - step) / pace) if pace and run.state == "running" else ""
    rate = f"{pace:,.0f}" if pace >= 100 else f"{pace:.3g}"
    shown = (rate if pace else "", left, "" if loss is None else f"{loss:.4g}")
    return (run.id, f"{run.lr:g}", str(run.seed), run.state, f"{step}/{steps}", *shown)
