"""Makes the runs that figures need and that are missing, draws the figures, judges the claims."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from bnexp.claims import all_claims
from bnexp.claims.report import closing
from bnexp.commands import claims, figures
from bnexp.commands.sweep import Planned, make, planned
from bnexp.commands.train import split
from bnexp.config.compose import parse, quoted
from bnexp.config.expand import recipe_requests
from bnexp.errors import UserError
from bnexp.figures import figure
from bnexp.registry import load_plugins, one_of
from bnexp.runs import find_runs
from bnexp.training.build import estimate
from bnexp.training.run import FINISHED

OWN = ("preset=", "figures=", "out=")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of ``bnexp reproduce``."""
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help="preset=quick|cpu|paper, figures=all|1,4,.., out=DIR, and what bnexp train takes",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say which runs there would be")
    parser.add_argument("--format", default="png,pdf", help="of the figures (default: png,pdf)")
    parser.add_argument("--no-paper", action="store_true", help="leave the paper's own curves out")


def main(arguments: argparse.Namespace) -> int:
    """Run ``bnexp reproduce``; returns the exit code."""
    given = dict(a.partition("=")[::2] for a in arguments.overrides if a.startswith(OWN))
    launcher, rest = split([a for a in arguments.overrides if not a.startswith(OWN)])
    preset, wanted = given.get("preset", "quick"), given.get("figures", "all")
    one_of("preset", preset, ("quick", "cpu", "paper"))
    values = {o.key_or_group: o.value() for o in parse(rest)}
    plugins = values.get("plugins")
    load_plugins(map(str, plugins) if isinstance(plugins, list) else ())
    ids = figures.chosen([] if wanted == "all" else wanted.strip("[]").split(","))
    figures.formats_of(arguments.format)
    out = Path(given.get("out") or f"outputs/{preset}").expanduser()
    runs = needed(ids, preset, out, rest)
    configs = [run.job.config for run in runs]
    norms = list(dict.fromkeys(c.norm.name for c in configs)) if "norm" in values else []
    lrs = list(dict.fromkeys(c.optim.lr for c in configs)) if "optim.lr" in values else []
    check_drawn(ids, runs)
    todo = [run for run in runs if run.job.state() not in FINISHED]
    print(f"{len(runs)} runs, {len(todo)} to be made:", file=sys.stderr)
    for run in runs:
        config, state = run.job.config, run.job.state() or "to be made"
        what = f"{config.model.name:6} {config.norm.name:10} lr {config.optim.lr:<6g}"
        print(f"  {run.job.id:28} {what} seed {config.run.seed}  {state}", file=sys.stderr)
    at_once, launching, each = arrangement(todo, launcher)
    if arguments.dry_run:
        bar = tqdm(todo, desc="timing a few passes", unit="run", leave=False, file=sys.stderr)
        configs_on = ((run.job.config, run.job.device) for run in bar)
        seconds = estimate(configs_on, 1 if each else None) / at_once
        time = f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.0f} hours"
        print(f"about {time}, {at_once} at a time (evaluation not counted)", file=sys.stderr)
        return 0
    code, paths = make([Planned((*run.overrides, *each), run.job) for run in runs], launching)
    if code > 1:
        return code
    mine, there = {path.name for path in paths}, find_runs(out)
    figures.draw(
        ids,
        [run for run in there if run.path.name in mine],
        out / "figures",
        arguments.format,
        paper=not arguments.no_paper,
        norms=norms,
        lrs=lrs,
    )
    judgements = claims.judge(list(all_claims()), there, out)
    claims.write(judgements, out / "claims")
    print(*closing(judgements, out / "claims" / "claims.md"), sep="\n", file=sys.stderr)
    print(out)
    return code


def needed(ids: Sequence[str], preset: str, out: Path, overrides: Sequence[str]) -> list[Planned]:
    """The different runs that the figures ``ids`` need; a run that two figures need is one run."""
    recipes = dict.fromkeys(name for number in ids for name in figure(number).recipes)
    common = [f"preset={preset}", f"out={quoted(str(out))}", *overrides]
    runs = planned(recipe_requests(recipes, common))
    return sorted(runs, key=lambda run: run.job.config.model.task == "regression")


def check_drawn(ids: Sequence[str], runs: Sequence[Planned]) -> None:
    """Raise, before hours of training, where a figure would find none of its runs in ``runs``."""
    families = {run.job.config.model.name for run in runs}
    for number in ids:
        if not any(need.family in families for need in figure(number).needs if not need.optional):
            raise UserError(
                f"figures: figure {number} draws none of the networks asked for, "
                f"{', '.join(sorted(families))}; train these with bnexp train -m"
            )


def arrangement(
    todo: Sequence[Planned], launcher: Sequence[str]
) -> tuple[int, Sequence[str], Sequence[str]]:
    """How many runs to make side by side, by which overrides for Hydra and for each run."""
    cores = min(len(os.sched_getaffinity(0)), len(todo))
    on_cpu = all(run.job.device.type == "cpu" for run in todo)
    if any(o.startswith("hydra/launcher") for o in launcher) or not on_cpu:
        return 1, launcher, ()
    each = ("threads=1",) if all(run.job.config.run.threads is None for run in todo) else ()
    if cores < 2:
        return 1, launcher, each
    joblib = ("hydra/launcher=joblib", f"hydra.launcher.n_jobs={cores}")
    return cores, (*joblib, "hydra.launcher.batch_size=1", *launcher), each
