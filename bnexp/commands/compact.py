"""Copies runs with small tables, to keep and share, and writes a page that sums them up."""

from __future__ import annotations

import argparse
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bnexp.claims.report import markdown_table
from bnexp.commands.choose import filtered, where_option
from bnexp.commands.runs import found, runs_option
from bnexp.errors import UserError
from bnexp.registry import at_least, expect
from bnexp.runs import FINISHED, Run, compact, describe, differing, find_runs, write_atomic, written
from bnexp.runs.files import read_json

WARM = 0.1
"""The share of a run that beta is not summed up over: its beginning."""

SUMMARY = """# The runs, summed up

Made by `bnexp compact` from the tables beside it. Where there are several seeds:
the median, and the least and greatest.

{table}

## Made with

{environments}
"""
KEYS = ["runs", "norm", "lr"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of ``bnexp compact``."""
    runs_option(parser)
    where_option(parser)
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="a folder of its own")
    add("--layers", default="", help="whose distributions to keep: 1,11,24 (default: all)")
    add("--samples", type=int, default=256, metavar="N", help="of each distribution (default: 256)")


def main(arguments: argparse.Namespace) -> int:
    """Copy the runs and sum them up; returns the exit code."""
    root, out, layers = arguments.runs, arguments.out, arguments.layers
    at_least("--samples", arguments.samples, 1)
    try:
        numbers = tuple(int(number) for number in layers.split(",") if number.strip())
    except ValueError:
        raise UserError(f"--layers: expected numbers like 1,11,24; got '{layers}'") from None
    runs = filtered(found(root), arguments.where)
    expect(bool(runs), f"--runs {root}", "a folder with runs", "none")
    for run in runs:
        state = "; ".join([f"{run.id} is {run.state}", *run.problems])
        expect(run.state in FINISHED, f"--runs {root}", "finished runs", state)
    expect(out.is_dir() or not out.exists(), f"--out {out}", "a folder", "a file")
    for run in runs:
        compact(run, out / "runs", numbers, arguments.samples)
    write_atomic(out / "SUMMARY.md", summary(find_runs(out)))
    print(out)
    return 0


def summary(runs: Sequence[Run]) -> str:
    """What the runs ended at, over their seeds, and what they were made with, as Markdown."""
    # Runs on which other tables were recorded besides are trained alike: one per seed.
    groups = defaultdict[tuple[object, ...], list[tuple[Run, dict[str, Any]]]](list)
    for run, row in ((run, _row(run)) for run in runs):
        groups[tuple(row[key] for key in KEYS)].append((run, row))
    for group in groups.values():  # no sweep over anything but seeds is pooled
        for key in differing([run for run, _ in group]):
            for run, row in group:
                row["runs"] += f"; {key}={written(run.deciding.get(key))}" * (
                    not key.startswith("seed")
                )
    rows = [row for group in groups.values() for _, row in group]
    frame = pd.DataFrame(rows).sort_values("seed", kind="stable")
    frame = frame.drop_duplicates([*KEYS, "seed"], keep="last")
    ways = {"seeds": lambda seeds: ", ".join(map(str, seeds)), "ended": _counted}
    ways |= dict.fromkeys(frame.columns[5:], _spread)
    frame = frame.assign(seeds=frame["seed"])
    table = frame.groupby(KEYS).agg(ways).reset_index().sort_values(["lr", "norm", "runs"])
    table["lr"] = table["lr"].map("{:g}".format)
    envs = [read_json(run.path / "env.json") for run in runs]
    made = Counter(_environment(e) for env in envs for e in (env, *env.get("resumed", [])))
    return SUMMARY.format(
        table=markdown_table([str(name) for name in table], table.to_numpy().tolist()),
        environments="\n".join(f"- {count} runs: {line}" for line, count in made.items()),
    )


def _row(run: Run) -> dict[str, Any]:
    train, test, beta = run.table("train"), run.table("eval"), run.table("smoothness")
    late = beta[beta["step"] >= WARM * run.steps]["beta"].median() if len(beta) else math.nan
    first, last = train["loss"].iloc[[0, -1]] if len(train) else (math.nan, math.nan)
    return {
        "runs": describe(run) + _along(run),
        "norm": run.norm,
        "lr": run.lr,
        "seed": run.seed,
        "ended": run.state,
        "first loss": first,
        "last loss": last,
        "test accuracy %": 100 * test["accuracy"].iloc[-1] if len(test) else math.nan,
        f"median effective beta after {WARM:.0%} of the steps": late,
    }


def _along(run: Run) -> str:
    """How the landscape was measured: the least eta, and the direction where not the gradient."""
    probe = run.option("probes").get("landscape") or {}
    etas, direction = probe.get("etas"), probe.get("direction", "gradient")
    words = f"; eta from {min(etas):g} lr" if etas else ""
    return words if direction == "gradient" else f"{words}; {direction} directions"


def _counted(states: pd.Series) -> str:
    return ", ".join(f"{count} {state}" for state, count in sorted(Counter(states).items()))


def _spread(values: pd.Series) -> str:
    known = values.dropna()
    if known.empty:
        return "-"
    ends = f" ({known.min():.4g} to {known.max():.4g})" if len(known) > 1 else ""
    return f"{known.median():.4g}{ends}"


def _environment(env: dict[str, Any]) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in env.get("packages", {}).items())
    keys = ("device_name", "device", "threads", "cores", "platform", "python", "git_revision")
    name, device, threads, cores, platform, python, revision = (env.get(k, "unknown") for k in keys)
    return (
        f"{name} ({device}, {threads} of {cores} cores), {platform}, Python {python}, {packages}; "
        f"revision {revision}{' with changes' if env.get('git_dirty') else ''}"
    )
