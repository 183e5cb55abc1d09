"""Copies runs with small tables, to keep and share, and writes a page that sums them up."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bnexp.commands.runs import runs_option
from bnexp.errors import UserError
from bnexp.registry import at_least
from bnexp.runs import Keep, Run, compact, describe, find_runs, write_atomic

WARM = 0.1
"""The share of a run that beta is not summed up over: its beginning."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of ``bnexp compact``."""
    runs_option(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder")
    parser.add_argument(
        "--layers", default="", help="whose distributions to keep: 1,11,24 (default: all)"
    )
    parser.add_argument(
        "--samples",
        type=int,
        default=256,
        metavar="N",
        help="values to keep of each distribution (default: 256)",
    )


def main(arguments: argparse.Namespace) -> int:
    """Run ``bnexp compact``; returns the exit code."""
    return run(arguments.runs, arguments.out, arguments.layers, arguments.samples)


def run(root: Path, out: Path, layers: str, samples: int) -> int:
    """Copy the runs below ``root`` to ``out`` with small tables; returns the exit code.

    Raises:
        UserError: there are no runs, some are not finished, ``out`` holds runs already, or an
            option is out of range.
    """
    at_least("--samples", samples, 1)
    runs = find_runs(root)
    keep = Keep(layers=_numbers(layers), samples=samples)
    if not runs:
        raise UserError(f"--runs {root}: expected a folder with runs; there are none")
    for one in runs:
        if one.state not in ("done", "diverged"):
            why = "; ".join([f"{one.id} is {one.state}", *one.problems])
            raise UserError(f"--runs {root}: expected finished runs; {why}")
    if (out / "runs").exists():
        raise UserError(f"--out {out}: expected a folder without runs; it has {out / 'runs'}")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".") as folder:
        half = Path(folder) / "runs"
        for one in runs:
            compact(one, half, keep)
        text = summary(find_runs(half))
        half.rename(out / "runs")  # all of them or none
    write_atomic(out / "SUMMARY.md", text)
    print(out)
    return 0


def _numbers(layers: str) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in layers.split(",") if number.strip())
    except ValueError:
        raise UserError(f"--layers: expected numbers like 1,11,24; got '{layers}'") from None


def summary(runs: Sequence[Run]) -> str:
    """What the runs ended at, over their seeds, and what they were made with, as Markdown."""
    rows = []
    grouped: dict[tuple[Any, ...], list[Run]] = {}
    for one in sorted(runs, key=lambda one: (one.seed, one.id)):
        grouped.setdefault((one.lr, one.norm, one.family, _along(one)), []).append(one)
    for (lr, norm, _, along), found in sorted(grouped.items()):
        # runs on which other tables were recorded besides are trained alike: one per seed
        mine = list({one.seed: one for one in found}.values())
        rows.append(
            [
                describe(mine[0]) + along,
                norm,
                f"{lr:g}",
                ", ".join(str(one.seed) for one in mine),
                _ended(mine),
                _spread(float(one.table("train")["loss"].iloc[0]) for one in mine),
                _spread(float(one.table("train")["loss"].iloc[-1]) for one in mine),
                _spread(_test(one) for one in mine),
                _spread(_beta(one) for one in mine),
            ]
        )
    head = [
        "runs",
        "norm",
        "lr",
        "seeds",
        "ended",
        "first loss",
        "last loss",
        "test accuracy %",
        f"median effective beta after {WARM:.0%} of the steps",
    ]
    lines = ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]]
    return "\n".join(
        [
            "# The runs, summed up",
            "",
            "Made by `bnexp compact` from the tables beside it. Where there are several seeds:",
            "the median, and the least and greatest.",
            "",
            *lines,
            "",
            "## Made with",
            "",
            *_made_with(runs),
            "",
        ]
    )


def _along(run: Run) -> str:
    """How the landscape was measured, where not along the gradient from the least usual eta."""
    probe = run.option("probes").get("landscape") or {}
    etas, usual = probe.get("etas"), run.config.get("measure", {}).get("etas")
    told = "" if etas == usual or not etas else f"; eta from {min(etas):g} lr"
    if probe.get("direction", "gradient") != "gradient":
        told += f"; {probe['direction']} directions"
    return told


def _ended(runs: Sequence[Run]) -> str:
    states = [one.state for one in runs]
    return ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))


def _test(run: Run) -> float:
    table = run.table("eval")
    return 100 * float(table["accuracy"].iloc[-1]) if len(table) else float("nan")


def _beta(run: Run) -> float:
    table = run.table("smoothness")
    if not len(table):
        return float("nan")
    return float(table.loc[table["step"] >= WARM * run.steps, "beta"].median())


def _spread(values: Iterable[float]) -> str:
    known = pd.Series(list(values), dtype=float).dropna()
    if known.empty:
        return "-"
    middle = f"{known.median():.4g}"
    return middle if len(known) == 1 else f"{middle} ({known.min():.4g} to {known.max():.4g})"


def _made_with(runs: Sequence[Run]) -> list[str]:
    """The different environments of the runs, one line each."""
    found: Counter[str] = Counter()
    for one in runs:
        env: dict[str, Any] = json.loads((one.path / "env.json").read_text(encoding="utf-8"))
        found.update({_environment(stretch) for stretch in (env, *env.get("resumed", []))})
    return [f"- {count} runs: {line}" for line, count in found.items()]


def _environment(env: dict[str, Any]) -> str:
    def told(key: str) -> str:
        return str(env.get(key, "unknown"))

    packages = ", ".join(f"{name} {version}" for name, version in env.get("packages", {}).items())
    dirty = " with changes" if env.get("git_dirty") else ""
    return (
        f"{told('device_name')} ({told('device')}, {told('threads')} of {told('cores')} cores), "
        f"{told('platform')}, Python {told('python')}, {packages}; "
        f"revision {told('git_revision')}{dirty}"
    )
